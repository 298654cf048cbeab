"""Several pools in one node: none of them waits for another."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from tests.node.scenes import send, wait_ids
from tests.support.checker import read_runs
from tests.support.raw import Raw
from tests.support.worker import StartWorker

TWO_POOLS = """
[queues.bulk]
[queues.mail]

[pools.bulk]
queues = ["bulk"]
concurrency = 1

[pools.mail]
queues = ["mail"]
concurrency = 1
"""


def latencies(raw: Raw, folder: Path, count: int) -> list[float]:
    """Seconds from the send of a task to its start, one task at a time."""
    found = []
    for _ in range(count):
        sent = time.time()
        (task_id,) = send(raw, "rec.noop", queue="mail")
        wait_ids(folder, [task_id])
        found += [run.started - sent for run in read_runs(folder) if run.task_id == task_id]
        time.sleep(0.02)
    return found


def test_k07_a_flooded_pool_does_not_delay_another(
    start_worker: StartWorker, raw: Raw, record_folder: Path, tmp_path: Path
) -> None:
    config = tmp_path / "amqtask.toml"
    config.write_text(TWO_POOLS)
    start_worker("--config", str(config))
    before = latencies(raw, record_folder, 20)
    send(raw, "rec.sleep", 0.01, queue="bulk", count=3000)
    during = latencies(raw, record_folder, 20)
    assert raw.count("bulk") > 0, "the flood was over before the measurement"
    # Seconds, not a ratio: both are a few milliseconds, and the machine is noisy. A shared slot or a shared buffer
    # would cost the 30 s that the flood takes.
    assert statistics.median(during) < statistics.median(before) + 0.1
    assert max(during) < 1.0


def test_k07_long_tasks_of_one_queue_do_not_hold_messages_of_another_in_the_same_pool(
    start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    start_worker("-Q", "a,b", "-c", "1")
    start_worker("-Q", "a,b", "-c", "1")
    send(raw, "rec.sleep", 60, queue="a")
    time.sleep(0.5)
    started = time.monotonic()
    wait_ids(record_folder, send(raw, "rec.sleep", 0.2, queue="b", count=10), timeout_s=20)
    assert time.monotonic() - started < 8
