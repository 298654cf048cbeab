"""What a node survives at unlucky moments: deaths before anybody could know the dead, links cut between two frames."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.conftest import ProxyTo
from tests.node.scenes import Q, alive, send, wait_ids, wait_until
from tests.support.rabbit import Rabbit
from tests.support.raw import Raw
from tests.support.worker import StartWorker


def test_pain21_a_pool_of_short_tasks_outlives_the_deaths_of_its_idle_executors(
    start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    worker = start_worker("-Q", Q, "-c", "1")
    wait_ids(record_folder, send(raw, "rec.noop", count=300))
    (first,) = worker.executors()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: worker.executors() not in ([], [first]), "no new executor")
    time.sleep(0.1)
    os.kill(worker.executors()[0], signal.SIGKILL)  # it has run nothing, so the next one is made after a pause
    ids = send(raw, "rec.noop", count=5)
    wait_ids(record_folder, ids)
    assert worker.stop() == 0


def test_pain1_executors_that_die_at_birth_leave_no_slot_empty(
    start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    worker = start_worker("-Q", Q, "-c", "2")
    template = worker.template()
    for _ in range(6):
        old = {*worker.executors(), template}
        os.kill(min(old - {template}), signal.SIGKILL)
        newborn = _first(lambda old=old: [pid for pid in _children(worker.pid) if pid not in old])  # type: ignore[misc]
        for pid in newborn:
            _kill(pid)  # most of them before the node has heard that they exist
        wait_until(lambda: len(worker.executors()) == 2, "a slot stays empty", timeout_s=15)
        # A task each, or the pauses between them would grow as for an app that cannot start.
        wait_ids(record_folder, send(raw, "rec.sleep", 0.1, count=4))
    assert worker.stop() == 0


def test_pain21_a_template_that_dies_with_requests_waiting_is_replaced(
    start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    worker = start_worker("-Q", Q, "-c", "3")
    template = worker.template()
    os.kill(template, signal.SIGSTOP)
    for executor in worker.executors():
        os.kill(executor, signal.SIGKILL)
    time.sleep(0.4)
    os.kill(template, signal.SIGKILL)
    wait_until(lambda: not alive(template), "it lives")
    wait_until(lambda: len(worker.executors()) == 3, "no new executors")
    wait_ids(record_folder, send(raw, "rec.noop", count=20))
    assert worker.stop() == 0


def test_pain1_a_link_that_is_cut_between_any_two_frames_of_a_new_session_ends_no_node(
    broker: Rabbit, vhost: str, proxy_to: ProxyTo, start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    proxy = proxy_to(broker.port)
    url = broker.url(vhost, port=proxy.port)
    worker = start_worker("-Q", Q, "-c", "1", url=url, env={"AMQTASK_BROKER__RECONNECT_MAX_S": "0.05"})
    # From the end of the handshake over the declarations to the consumers: a session's first frames.
    for count in range(440, 900, 20):
        cut = proxy.cut_after(count, direction="up")
        proxy.cut()
        assert cut.wait(5)
    wait_ids(record_folder, send(raw, "rec.noop", count=10))
    wait_until(lambda: raw.declare_queue(Q, passive=True)[1] == 1, "not one consumer")
    assert worker.stop() == 0


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _first(found: Callable[[], list[int]]) -> list[int]:
    """What is found first, looking without a pause, for at most 2 s."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        if pids := found():
            return pids
    return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        assert not alive(pid)
