"""taskiq on aio-pika as its users run it, on a classic queue like everybody else (its default is a quorum queue)."""

from __future__ import annotations

import asyncio
import os

from taskiq_aio_pika import AioPikaBroker
from taskiq_aio_pika.queue import Queue, QueueType

from benchmarks.record import Tally

QUEUE = os.environ["BENCH_QUEUE"]
tally = Tally(os.environ.get("BENCH_TALLY"))
broker = AioPikaBroker(os.environ["BENCH_BROKER"]).with_queue(Queue(name=QUEUE, type=QueueType.CLASSIC))
_loop = asyncio.new_event_loop()
_started = False


@broker.task(task_name="bench.noop")
async def noop() -> None:
    """Do nothing but count, so that it can be proven to have run."""
    tally.hit()


def _run(work: object) -> object:
    global _started
    if not _started:
        _started = True
        _loop.run_until_complete(broker.startup())
    return _loop.run_until_complete(work)  # type: ignore[arg-type]


async def _one() -> str:
    return str((await noop.kiq()).task_id)


async def _many(count: int) -> None:
    for done in range(0, count, 250):
        await asyncio.gather(*(noop.kiq() for _ in range(min(250, count - done))))


def send_one() -> str:
    """Send one task and return its id once the broker has it."""
    return str(_run(_one()))


def send_bulk(count: int) -> None:
    """Send many tasks, 250 at a time, each waiting for its own confirm."""
    _run(_many(count))


def close() -> None:
    """Let go of the connection."""
    _run(broker.shutdown())
