"""Frames, byte for byte as pika writes them."""

from __future__ import annotations

import pytest
from pika import BasicProperties, frame, spec

from amqtask.errors import Fate, MessageTooLarge, TaskError
from amqtask.wire import content, frames
from amqtask.wire.message import Properties

FRAME_MAX = 131072


def by_pika(body: bytes, *, channel: int, mandatory: bool) -> bytes:
    method = spec.Basic.Publish(exchange="files", routing_key="file.text.md", mandatory=mandatory)
    properties = BasicProperties(content_type="t", delivery_mode=2, correlation_id="id", headers={"a": 1})
    pieces = [frame.Method(channel, method).marshal(), frame.Header(channel, len(body), properties).marshal()]
    step = FRAME_MAX - 8
    pieces += [frame.Body(channel, body[i : i + step]).marshal() for i in range(0, len(body), step)]
    return b"".join(pieces)


PROPERTIES = content.encode_properties(Properties(content_type="t", correlation_id="id"), {"a": 1})


@pytest.mark.parametrize("size", [0, 1, FRAME_MAX - 9, FRAME_MAX - 8, FRAME_MAX - 7, 3 * FRAME_MAX])
@pytest.mark.parametrize("mandatory", [True, False])
def test_publish_is_what_pika_writes(size: int, mandatory: bool) -> None:
    body = b"b" * size
    ours = frames.publish(
        7, "files", "file.text.md", mandatory=mandatory, properties=PROPERTIES, body=body, frame_max=FRAME_MAX
    )
    assert ours == by_pika(body, channel=7, mandatory=mandatory)


def test_no_frame_limit_is_one_body_frame() -> None:
    ours = frames.publish(1, "", "q", mandatory=True, properties=PROPERTIES, body=b"b" * 300_000, frame_max=0)
    assert ours.endswith(frame.Body(1, b"b" * 300_000).marshal())


def test_k09_headers_that_fit_in_no_frame_are_refused_before_a_byte_is_sent() -> None:
    properties = content.encode_properties(Properties(), {"big": "x" * 5000})
    with pytest.raises(MessageTooLarge) as caught:
        frames.publish(1, "", "q", mandatory=True, properties=properties, body=b"", frame_max=4096)
    assert caught.value.fate is Fate.NOT_SENT


def test_names_over_255_bytes_are_task_errors() -> None:
    for exchange, key in (("x" * 256, ""), ("", "é" * 128)):
        with pytest.raises(TaskError):
            frames.publish(1, exchange, key, mandatory=True, properties=PROPERTIES, body=b"", frame_max=0)


@pytest.mark.parametrize("flag", [True, False])
def test_settling_is_what_pika_writes(flag: bool) -> None:
    tag = 1 << 40
    assert frames.ack(3, tag, flag) == frame.Method(3, spec.Basic.Ack(tag, flag)).marshal()
    assert frames.reject(3, tag, flag) == frame.Method(3, spec.Basic.Reject(tag, flag)).marshal()
    for multiple in (True, False):
        assert frames.nack(3, tag, multiple, flag) == frame.Method(3, spec.Basic.Nack(tag, multiple, flag)).marshal()
