"""The app that amqtask's own figures are taken with: default settings, a no-op task, a task that takes time."""

from __future__ import annotations

import os
import time

from amqtask.app import App
from benchmarks.record import Tally, append

app = App("benchmarks", broker=os.environ["BENCH_BROKER"])
QUEUE = os.environ["BENCH_QUEUE"]
tally = Tally(os.environ.get("BENCH_TALLY"))


@app.task(name="bench.noop", queue=QUEUE)
def noop() -> None:
    """Do nothing but count, so that it can be proven to have run."""
    tally.hit()


@app.task(name="bench.nap", queue=QUEUE)
def nap(seconds: float, path: str) -> None:
    """Sleep, then note the end of it in a file."""
    time.sleep(seconds)
    append(path, f"{seconds} {time.time()}")


def send_one() -> str:
    """Send one task and return its id once the broker has it."""
    return str(noop.delay().id)


def send_bulk(count: int) -> None:
    """Send many tasks the fastest documented way; all confirmed on return."""
    app.send_many([noop.s() for _ in range(count)])


def send_nap(seconds: float, path: str) -> None:
    """Send one task that takes time."""
    nap.delay(seconds, path)


def close() -> None:
    """Let go of the connection."""
    app.close()
