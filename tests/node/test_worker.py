"""A node from outside: what it runs, what it gives up, and what it leaves in the broker."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.node.scenes import Q, alive, send, wait_ids, wait_runs, wait_until
from tests.support.checker import assert_clean, ids_of, read_runs, tally
from tests.support.messages import Outgoing, nested, properties, task_message, year_60000
from tests.support.raw import Raw
from tests.support.worker import StartWorker


def test_s01_tasks_run_and_the_queue_is_empty_afterwards(
    start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    worker = start_worker("-Q", Q, "-c", "2")
    ids = send(raw, "rec.noop", count=500)
    wait_runs(record_folder, 500)
    assert worker.stop() == 0
    assert raw.count(Q) == 0
    assert_clean(tally(record_folder, accepted=ids, dead=ids_of(raw.drain(f"{Q}.dlq"))))


def test_k14_failures_go_to_the_dead_letter_queue_with_reason_attempt_and_traceback(
    start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    start_worker("-Q", Q, "-c", "1")
    (failed,) = send(raw, "rec.fail", "no such customer")
    (unknown,) = send(raw, "rec.nop")
    (rejected,) = send(raw, "rec.reject", False)
    (wrong,) = send(raw, "rec.sleep", 1, 2, 3)
    (expired,) = send(raw, "rec.noop", expires="2020-01-01T00:00:00+00:00")
    raw.wait_count(f"{Q}.dlq", 5)
    letters = {str(letter.correlation_id): letter.headers for letter in raw.drain(f"{Q}.dlq")}
    assert {task_id: headers["amqtask-reason"] for task_id, headers in letters.items()} == {
        failed: "failed",
        unknown: "not_registered",
        rejected: "rejected",
        wrong: "bad_arguments",
        expired: "expired",
    }
    assert letters[failed]["amqtask-error"] == "ValueError: no such customer"
    assert "in fail" in str(letters[failed]["amqtask-traceback"])
    assert letters[failed]["amqtask-attempt"] == 1
    assert letters[failed]["amqtask-queue"] == Q
    assert "rec.noop" in str(letters[unknown]["amqtask-error"])
    assert letters[expired]["amqtask-attempt"] == 0
    assert raw.count(Q) == 0


def test_b26_what_cannot_be_understood_is_one_dead_letter_each_and_the_node_goes_on(
    start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    worker = start_worker("-Q", Q, "-c", "1")
    hostile = {
        "year 60000": task_message("rec.noop", queue=Q, odd=year_60000()),
        "600 deep": task_message("rec.noop", queue=Q, odd=nested(600)),
        "no id": task_message("rec.noop", queue=Q, id=None),
        "no content type": Outgoing(Q, b"[[], {}, null]", properties(headers={"task": "rec.noop", "id": "x"})),
        "not json": Outgoing(
            Q, b"{", properties(content_type="application/json", headers={"task": "rec.noop", "id": "y"})
        ),
        "pickle": Outgoing(
            Q,
            b"\x80\x04.",
            properties(content_type="application/x-python-serialize", headers={"task": "rec.noop", "id": "z"}),
        ),
        "nothing at all": Outgoing(Q, b"", properties()),
    }
    raw.publish_many(hostile.values())
    raw.wait_count(f"{Q}.dlq", len(hostile))
    (good,) = send(raw, "rec.noop")
    wait_runs(record_folder, 1)
    assert worker.process.poll() is None
    letters = raw.drain(f"{Q}.dlq")
    assert len(letters) == len(hostile)
    reasons = sorted(str(letter.headers["amqtask-reason"]) for letter in letters)
    assert reasons == sorted(
        ["bad_headers", "bad_headers", "no_id", "no_content_type", "bad_body", "content_refused", "no_task_name"]
    )
    assert [run.task_id for run in read_runs(record_folder)] == [good]


def test_k11_a_task_that_kills_its_process_is_dead_lettered_after_three_crashes_and_nobody_else_is(
    start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    start_worker("-Q", Q, "-c", "2")
    before = send(raw, "rec.noop", count=50)
    (poison,) = send(raw, "rec.die")
    after = send(raw, "rec.noop", count=50)
    raw.wait_count(f"{Q}.dlq", 1)
    wait_runs(record_folder, 100)
    (letter,) = raw.drain(f"{Q}.dlq")
    assert letter.correlation_id == poison
    assert letter.headers["amqtask-reason"] == "worker_lost"
    assert letter.headers["amqtask-attempt"] == 3
    counted = tally(record_folder, accepted=[*before, poison, *after], dead=[poison])
    assert_clean(counted, dead=[poison], max_extra_runs=2, max_runs_of_one=3)


@pytest.mark.parametrize("how", ["sys.exit", "KeyboardInterrupt", "os._exit"])
def test_k11_every_way_to_leave_is_accounted_for(
    start_worker: StartWorker, raw: Raw, record_folder: Path, how: str
) -> None:
    start_worker("-Q", Q, "-c", "1")
    send(raw, "rec.leave", how)
    (good,) = send(raw, "rec.noop")
    raw.wait_count(f"{Q}.dlq", 1)
    wait_runs(record_folder, 1)
    (letter,) = raw.drain(f"{Q}.dlq")
    assert letter.headers["amqtask-reason"] == ("worker_lost" if how == "os._exit" else "failed")
    wait_ids(record_folder, [good])


def test_k22_sigterm_gives_back_what_has_not_started_and_finishes_what_has(
    start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    worker = start_worker("-Q", Q, "-c", "2")
    ids = send(raw, "rec.sleep", 1.0, count=6)
    wait_runs(record_folder, 2, ended=False)
    assert worker.stop() == 0
    runs = read_runs(record_folder)
    assert len(runs) == 2
    assert not any(run.cut for run in runs)
    assert raw.count(Q) == 4
    left = ids_of(raw.drain(Q))
    assert sorted([*left, *(run.task_id for run in runs)]) == sorted(ids)


def test_k22_what_outlasts_the_drain_time_is_given_back_and_the_exit_code_is_0(
    start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    worker = start_worker("-Q", Q, "-c", "1", env={"AMQTASK_WORKER__DRAIN_S": "0.5"})
    (task_id,) = send(raw, "rec.sleep", 60)
    wait_runs(record_folder, 1, ended=False)
    started = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - started < 5
    assert ids_of(raw.drain(Q)) == [task_id]
    assert "node.cut_running_tasks" in worker.log()


def test_k22_a_second_sigterm_does_not_wait(start_worker: StartWorker, raw: Raw, record_folder: Path) -> None:
    worker = start_worker("-Q", Q, "-c", "1")
    (task_id,) = send(raw, "rec.sleep", 60)
    wait_runs(record_folder, 1, ended=False)
    worker.signal(signal.SIGTERM)
    time.sleep(0.3)
    started = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - started < 5
    assert ids_of(raw.drain(Q)) == [task_id]


def test_k11_a_killed_node_takes_its_processes_along_and_loses_nothing(
    start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    first = start_worker("-Q", Q, "-c", "2")
    ids = send(raw, "rec.sleep", 0.5, count=8)
    wait_runs(record_folder, 2, ended=False)
    left_behind = [*first.executors(), first.template()]
    first.kill()
    wait_until(lambda: not any(map(alive, left_behind)), "its processes did not end", timeout_s=2)
    start_worker("-Q", Q, "-c", "2")
    wait_runs(record_folder, 8)
    raw.wait_count(Q, 0)
    assert_clean(tally(record_folder, accepted=ids), max_extra_runs=2, max_runs_of_one=2)


def test_big_bodies_arrive_whole(start_worker: StartWorker, raw: Raw, record_folder: Path) -> None:
    start_worker("-Q", Q, "-c", "1")
    send(raw, "rec.big", "x" * 3_000_000, argsrepr="...")
    wait_runs(record_folder, 1)
    assert raw.count(f"{Q}.dlq") == 0


def test_k11_early_acknowledgement_never_runs_a_task_twice(
    start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    worker = start_worker("-Q", Q, "-c", "1")
    send(raw, "rec.early", 5)
    wait_runs(record_folder, 1, ended=False)
    raw.wait_count(Q, 0)
    os.kill(worker.executors()[0], signal.SIGKILL)
    (good,) = send(raw, "rec.noop")
    wait_ids(record_folder, [good])
    assert len(read_runs(record_folder)) == 2
    assert "task.lost" in worker.log()
