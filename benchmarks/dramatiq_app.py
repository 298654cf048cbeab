"""Dramatiq as its users run it, with confirmed publishes (`confirm_delivery`, which it leaves off by default)."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from benchmarks.record import Tally

QUEUE = os.environ["BENCH_QUEUE"]
tally = Tally(os.environ.get("BENCH_TALLY"))
broker = RabbitmqBroker(url=os.environ["BENCH_BROKER"], confirm_delivery=True)
dramatiq.set_broker(broker)


@dramatiq.actor(actor_name="noop", queue_name=QUEUE)
def noop() -> None:
    """Do nothing but count, so that it can be proven to have run."""
    tally.hit()


def send_one() -> str:
    """Send one task and return its id once the broker has it."""
    return str(noop.send().message_id)


def send_bulk(count: int) -> None:
    """Send many tasks; Dramatiq has no call for that, each waits for its own confirm."""
    for _ in range(count):
        noop.send()


def close() -> None:
    """Let go of the connection."""
    broker.close()
