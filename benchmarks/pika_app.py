"""A bare confirmed publish with pika's BlockingConnection: the yardstick for one confirmed send.

It publishes the very message that amqtask sends (`BENCH_TEMPLATE`, captured off the wire before), so that the broker
and the network do the same work for both.
"""

from __future__ import annotations

import base64
import json
import os
import uuid

import pika

QUEUE = os.environ["BENCH_QUEUE"]
_template = json.loads(os.environ["BENCH_TEMPLATE"])
_body: bytes = base64.b64decode(_template["body"])
_properties = pika.BasicProperties()
_properties.decode(base64.b64decode(_template["properties"]))
_connection = pika.BlockingConnection(pika.URLParameters(os.environ["BENCH_BROKER"]))
_channel = _connection.channel()
_channel.confirm_delivery()


def send_one() -> str:
    """Publish one message and return its id once the broker has it."""
    fresh = str(uuid.uuid4())
    _properties.correlation_id = fresh
    _channel.basic_publish("", QUEUE, _body, _properties, mandatory=True)
    return fresh


def send_bulk(count: int) -> None:
    """Publish many, each waiting for its own confirm."""
    for _ in range(count):
        send_one()


def close() -> None:
    """Let go of the connection."""
    _connection.close()
