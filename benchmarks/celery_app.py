"""Celery as its users run it: prefork, JSON, late acks, confirmed publishes; all else as it comes."""

from __future__ import annotations

import os
import time

from celery import Celery

from benchmarks.record import Tally, append

QUEUE = os.environ["BENCH_QUEUE"]
tally = Tally(os.environ.get("BENCH_TALLY"))
app = Celery("benchmarks", broker=os.environ["BENCH_BROKER"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    task_default_queue=QUEUE,
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
)


@app.task(name="bench.noop")
def noop() -> None:
    """Do nothing but count, so that it can be proven to have run."""
    tally.hit()


@app.task(name="bench.nap")
def nap(seconds: float, path: str) -> None:
    """Sleep, then note the end of it in a file."""
    time.sleep(seconds)
    append(path, f"{seconds} {time.time()}")


def send_one() -> str:
    """Send one task and return its id once the broker has it."""
    return str(noop.delay().id)


def send_bulk(count: int) -> None:
    """Send many tasks; Celery has no call for that, each waits for its own confirm."""
    for _ in range(count):
        noop.delay()


def send_nap(seconds: float, path: str) -> None:
    """Send one task that takes time."""
    nap.delay(seconds, path)


def close() -> None:
    """Let go of the connections."""
    app.close()
