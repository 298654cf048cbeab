"""What a node survives, counted from outside: kills of executors and of the node, cut links, stuck processes."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.conftest import ProxyTo
from tests.node.scenes import Q, alive, send, wait_ids, wait_runs, wait_until
from tests.support.checker import assert_clean, ids_of, read_runs, tally
from tests.support.rabbit import Rabbit
from tests.support.raw import Raw
from tests.support.worker import StartWorker

KILLS = 30
TASKS = 10_000


def frozen_in_a_task(folder: Path, pid: int) -> bool:
    """Stop an executor and look into its record: true, and it stays stopped, when a task of it has begun and not ended.

    Otherwise it goes on. Without the look, a busy machine has many kills hit the moments between two tasks.
    """
    os.kill(pid, signal.SIGSTOP)
    lines = b"".join(path.read_bytes() for path in folder.glob(f"{pid}-*.record")).splitlines()
    if lines and b'"start"' in lines[-1]:
        return True
    os.kill(pid, signal.SIGCONT)
    return False


def test_k11_thirty_killed_executors_lose_nothing_and_cost_one_extra_run_each_at_most(
    start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    worker = start_worker("-Q", Q, "-c", "4")
    ids = send(raw, "rec.sleep", 0.002, count=TASKS)
    killed: list[int] = []
    rng = random.Random(7)
    while len(killed) < KILLS:
        time.sleep(0.1)
        victim = rng.choice(worker.executors() or [0])
        if victim and victim not in killed and (len(killed) >= 26 or frozen_in_a_task(record_folder, victim)):
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)
    wait_ids(record_folder, ids, timeout_s=120)
    assert worker.stop() == 0
    counted = tally(record_folder, accepted=ids, dead=ids_of(raw.drain(f"{Q}.dlq")), remaining=ids_of(raw.drain(Q)))
    inside = {run.pid for run in counted.cut_runs}
    assert len(inside & set(killed)) >= 24, f"only {len(inside)} of {KILLS} kills hit a running task"
    assert_clean(counted, max_extra_runs=KILLS, max_runs_of_one=3)
    # Neighbours untouched: whoever ran more than once ran in a process that was killed.
    assert set(counted.repeated) <= {run.task_id for run in read_runs(record_folder) if run.pid in killed}


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_k11_a_node_that_ends_in_the_middle_loses_nothing(
    start_worker: StartWorker, raw: Raw, record_folder: Path, how: str
) -> None:
    first = start_worker("-Q", Q, "-c", "2")
    ids = send(raw, "rec.noop", count=3000)
    wait_runs(record_folder, 500)
    if how == "SIGTERM":
        assert first.stop() == 0
    else:
        first.kill()
    start_worker("-Q", Q, "-c", "2")
    wait_ids(record_folder, ids, timeout_s=60)
    raw.wait_count(Q, 0)
    counted = tally(record_folder, accepted=ids, dead=ids_of(raw.drain(f"{Q}.dlq")))
    # A killed node's running tasks run again, and so may those whose acknowledgement was under way.
    assert_clean(counted, max_extra_runs=0 if how == "SIGTERM" else 600, max_runs_of_one=2)


def test_pain6_a_cut_link_does_not_run_a_task_twice_where_its_execution_lives_on(
    broker: Rabbit, vhost: str, proxy_to: ProxyTo, start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    proxy = proxy_to(broker.port)
    worker = start_worker("-Q", Q, "-c", "4", url=broker.url(vhost, port=proxy.port))
    ids = send(raw, "rec.sleep", 0.7, count=24)
    for _ in range(5):
        time.sleep(0.6)
        proxy.cut()
    wait_ids(record_folder, ids)
    raw.wait_count(Q, 0)
    wait_until(lambda: raw.count(Q) == 0, "the queue is not empty")
    assert worker.stop() == 0
    assert_clean(tally(record_folder, accepted=ids, dead=ids_of(raw.drain(f"{Q}.dlq"))), max_extra_runs=0)


def test_pain1_a_node_consumes_again_after_every_cut(
    broker: Rabbit, vhost: str, proxy_to: ProxyTo, start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    proxy = proxy_to(broker.port)
    start_worker("-Q", Q, "-c", "2", url=broker.url(vhost, port=proxy.port))
    rng = random.Random(3)
    ids: list[str] = []
    for _ in range(20):
        ids += send(raw, "rec.noop", count=20)
        time.sleep(rng.random() * 0.2)
        proxy.cut_after(rng.randrange(1, 4000), direction=rng.choice(("up", "down")))
        time.sleep(0.05)
        proxy.cut()
    wait_ids(record_folder, ids, timeout_s=60)
    wait_until(lambda: raw.count(Q) == 0, "the queue is not empty")
    assert_clean(tally(record_folder, accepted=ids), max_extra_runs=400)


def test_pain20_short_tasks_do_not_wait_behind_a_long_one(
    start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    start_worker("-Q", Q, "-c", "1")
    start_worker("-Q", Q, "-c", "1")
    started = time.monotonic()
    send(raw, "rec.sleep", 60)
    short = send(raw, "rec.sleep", 1.0, count=9)
    wait_ids(record_folder, short, timeout_s=20)
    assert time.monotonic() - started < 12


def test_pain20_nor_after_the_pool_has_learnt_that_tasks_are_short(
    start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    start_worker("-Q", Q, "-c", "1")
    start_worker("-Q", Q, "-c", "1")
    wait_ids(record_folder, send(raw, "rec.noop", count=2000), timeout_s=60)
    started = time.monotonic()
    send(raw, "rec.sleep", 60)
    short = send(raw, "rec.sleep", 1.0, count=9)
    wait_ids(record_folder, short, timeout_s=20)
    assert time.monotonic() - started < 12


def test_pain21_a_stopped_executor_does_not_hold_what_it_has_not_started(
    start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    worker = start_worker("-Q", Q, "-c", "2")
    wait_ids(record_folder, send(raw, "rec.noop", count=200))
    stopped = worker.executors()[0]
    os.kill(stopped, signal.SIGSTOP)
    ids = send(raw, "rec.noop", count=200)
    wait_ids(record_folder, ids, timeout_s=20)
    wait_until(lambda: not alive(stopped), "the stopped executor was not replaced", timeout_s=20)
    wait_until(lambda: len(worker.executors()) == 2, "it has no successor")


def test_the_template_may_die_at_any_time(start_worker: StartWorker, raw: Raw, record_folder: Path) -> None:
    worker = start_worker("-Q", Q, "-c", "2")
    before = set(worker.executors())
    os.kill(worker.template(), signal.SIGKILL)
    ids = send(raw, "rec.noop", count=50)
    wait_ids(record_folder, ids)
    assert set(worker.executors()) == before
    os.kill(min(before), signal.SIGKILL)
    wait_until(lambda: len(worker.executors()) == 2 and set(worker.executors()) != before, "no new executor")
    wait_ids(record_folder, send(raw, "rec.noop", count=50))
    assert_clean(tally(record_folder, accepted=[run.task_id for run in read_runs(record_folder)]))
