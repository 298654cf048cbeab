"""A node at its edges, from outside: hostile texts, missing queues, closed streams, signals at every moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.node.scenes import Q, send, wait_runs, wait_until
from tests.support.checker import ids_of, read_runs
from tests.support.raw import Raw
from tests.support.sandbox import Sandbox
from tests.support.worker import ROOT, StartWorker

HOSTILE = "tests.support.apps.hostile:app"


def test_pain27_no_text_of_a_task_or_sender_ends_the_node(start_worker: StartWorker, raw: Raw) -> None:
    worker = start_worker("-Q", Q, "-c", "1", app=HOSTILE)
    expected = {
        "hostile.surrogate": ("failed", "FileNotFoundError: caf\\udce9.txt"),
        "hostile.emoji": ("failed", "ValueError: \U0001f600"),
        "hostile.reject": ("rejected", "<str() raised RuntimeError>"),
        "hostile." + "x" * 60_000: ("not_registered", "no task named 'hostile.xxx"),
    }
    for name in expected:
        send(raw, name)
    send(raw, "hostile.fork")
    send(raw, "hostile.ok")
    raw.wait_count(f"{Q}.dlq", len(expected))
    letters = {str(letter.headers["task"]): letter.headers for letter in raw.drain(f"{Q}.dlq")}
    for name, (reason, error) in expected.items():
        assert letters[name]["amqtask-reason"] == reason
        assert str(letters[name]["amqtask-error"]).startswith(error)
        assert letters[name]["amqtask-attempt"] == (0 if reason == "not_registered" else 1)
    assert worker.stop() == 0
    assert raw.count(Q) == 0
    assert "executor.died" not in worker.log()


def test_k22_a_dead_letter_that_nobody_takes_does_not_keep_the_node(start_worker: StartWorker, raw: Raw) -> None:
    raw.declare_queue(Q)
    settings = {"AMQTASK_TOPOLOGY__MODE": "off", "AMQTASK_WORKER__DRAIN_S": "0.5"}
    worker = start_worker("-Q", Q, "-c", "1", app=HOSTILE, env=settings)
    (failed,) = send(raw, "hostile.surrogate")
    wait_until(lambda: "dead_letter.unroutable" in worker.log(), "the dead letter was not tried")
    started = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - started < 4
    assert ids_of(raw.drain(Q)) == [failed]


def test_k14_queues_that_are_deleted_while_the_node_runs_are_declared_again(
    start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    worker = start_worker("-Q", Q, "-c", "1")
    raw.delete_queue(f"{Q}.dlq")
    send(raw, "rec.fail")
    wait_until(lambda: raw.exists(f"{Q}.dlq") and raw.count(f"{Q}.dlq") == 1, "the dead letter is nowhere")
    raw.delete_queue(Q)
    wait_until(lambda: raw.exists(Q) and raw.declare_queue(Q, passive=True)[1] == 1, "nobody consumes")
    send(raw, "rec.noop")
    wait_runs(record_folder, 2)
    assert worker.process.poll() is None


def test_k07_queues_that_share_a_slot_share_it_evenly(start_worker: StartWorker, raw: Raw, record_folder: Path) -> None:
    queues = ["a", "b", "c"]
    for queue in queues:
        raw.declare_queue(queue)
        send(raw, "rec.sleep", 0.2, queue=queue, count=20)
    start_worker("-Q", ",".join(queues), "-c", "1")
    wait_runs(record_folder, 24)  # enough that who was first by chance does not decide
    left = Counter({queue: raw.count(queue) for queue in queues})
    assert max(left.values()) - min(left.values()) <= 6, left


@pytest.mark.parametrize("after_s", [0.4, 1.0])
def test_k22_sigterm_while_the_app_is_imported_ends_the_node_at_once(start_worker: StartWorker, after_s: float) -> None:
    worker = start_worker("-Q", Q, app=HOSTILE, env={"AMQTASK_TEST_IMPORT_S": "30"}, ready=False)
    wait_until(lambda: bool(_children(worker.pid)), "no template")
    time.sleep(after_s)
    template = _children(worker.pid)
    started = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - started < 2
    wait_until(lambda: not any(map(os.path.exists, (f"/proc/{pid}" for pid in template))), "the template lives")


def test_k22_sigterm_while_no_broker_answers_ends_the_node_at_once(start_worker: StartWorker) -> None:
    worker = start_worker("-Q", Q, url="amqp://guest:guest@127.0.0.1:1//", ready=False)
    wait_until(lambda: "connection.failed" in worker.log(), "it did not try")
    started = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_a_node_without_standard_streams_works_and_stops(
    sandbox: Sandbox, tmp_path: Path, vhost_url: str, raw: Raw, record_folder: Path, closed: str
) -> None:
    raw.declare_queue(Q)
    command = f"exec {sys.executable} -m amqtask worker -A tests.support.apps.recorded:app -Q {Q} -c 1 -f log {closed}"
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "AMQTASK_BROKER__URL": vhost_url}
    process = sandbox.spawn(["sh", "-c", command], env=environ, cwd=tmp_path, stdout=subprocess.DEVNULL)
    send(raw, "rec.noop", count=5)
    send(raw, "rec.die")
    wait_runs(record_folder, 5)
    raw.wait_count(f"{Q}.dlq", 1)
    assert sandbox.terminate(process) == 0
    log = (tmp_path / "log").read_text()
    assert "executor.died" in log
    assert "Traceback" not in log


def test_a_hang_up_opens_the_log_anew_and_without_a_log_file_stops_the_node(
    start_worker: StartWorker, tmp_path: Path, raw: Raw, record_folder: Path
) -> None:
    path = tmp_path / "node.log"
    logging = start_worker("-Q", Q, "-c", "1", "-f", str(path))
    path.rename(tmp_path / "node.log.1")
    logging.signal(signal.SIGHUP)
    wait_until(lambda: path.exists() and "log.reopened" in path.read_text(), "the log was not opened anew")
    assert logging.stop() == 0
    assert "node.stopped" in path.read_text()

    hung_up = start_worker("-Q", Q, "-c", "1")
    send(raw, "rec.sleep", 0.5)
    wait_runs(record_folder, 1, ended=False)
    hung_up.signal(signal.SIGHUP)
    assert hung_up.process.wait(10) == 0
    assert not any(run.cut for run in read_runs(record_folder))


def test_too_few_open_files_are_an_error_that_says_so(sandbox: Sandbox, tmp_path: Path, vhost_url: str) -> None:
    command = f"ulimit -n 50; exec {sys.executable} -m amqtask worker -A {HOSTILE} -c 40 2> {tmp_path}/err"
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "AMQTASK_BROKER__URL": vhost_url}
    process = sandbox.spawn(["sh", "-c", command], env=environ, cwd=tmp_path)
    assert process.wait(30) == 2
    assert "40 executors take 144 open files; the limit here is 50" in (tmp_path / "err").read_text()


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
