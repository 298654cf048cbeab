"""How a node starts, and how it refuses to: by exit code, with one clear text, and nothing created."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.node.scenes import wait_until
from tests.support.raw import Raw
from tests.support.worker import StartWorker, Worker, WorkerFailed


def ended(worker: Worker, timeout_s: float = 15) -> int:
    """The exit code of a node that ends by itself."""
    try:
        return worker.process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"it did not end\n{worker.log()}") from None


def test_pain15_a_queue_that_nobody_declared_names_the_nearest_and_creates_nothing(
    start_worker: StartWorker, raw: Raw, tmp_path: Path
) -> None:
    config = tmp_path / "amqtask.toml"
    config.write_text("[queues.reports]\n")
    worker = start_worker("--config", str(config), "-Q", "reprots", ready=False)
    assert ended(worker) == 2
    assert "'reports'" in worker.log()
    assert "Traceback" not in worker.log()
    assert not raw.exists("reprots")
    assert not raw.exists("reports")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("-P", "prefrok"), "prefork"),
        (("-c", "0"), "-c"),
        (("--queues", " , "), "-Q"),
        (("--loglevel", "loud"), "loglevel"),
    ],
)
def test_s42_a_wrong_option_is_refused_before_anything_starts(
    start_worker: StartWorker, arguments: tuple[str, ...], text: str
) -> None:
    worker = start_worker(*arguments, ready=False)
    assert ended(worker) == 2
    assert text in worker.log()
    assert "Traceback" not in worker.log()


def test_an_app_whose_import_fails_ends_the_node_with_78_and_shows_why(
    start_worker: StartWorker, tmp_path: Path
) -> None:
    (tmp_path / "broken_app.py").write_text("import nothing_of_that_name\n")
    worker = start_worker(app="broken_app", ready=False)
    assert ended(worker) == 78
    assert "nothing_of_that_name" in worker.log()


def test_an_app_whose_import_hangs_ends_the_node_with_78(start_worker: StartWorker, tmp_path: Path) -> None:
    (tmp_path / "slow_app.py").write_text("import time\ntime.sleep(600)\n")
    started = time.monotonic()
    worker = start_worker(app="slow_app", ready=False, env={"AMQTASK_WORKER__BOOT_TIMEOUT_S": "1.5"})
    assert ended(worker) == 78
    assert time.monotonic() - started < 10
    assert "worker.boot_timeout_s" in worker.log()


def test_c01_an_app_that_does_not_exist_lists_what_was_tried(start_worker: StartWorker) -> None:
    worker = start_worker(app="nowhere.tasks", ready=False)
    assert ended(worker) == 2
    assert "nowhere.tasks" in worker.log()


def test_k23_ready_is_said_when_every_queue_is_consumed_and_not_before(start_worker: StartWorker, raw: Raw) -> None:
    raw.declare_queue("here")
    verify = {"AMQTASK_TOPOLOGY__MODE": "verify"}
    worker = start_worker("-Q", "here,missing", ready=False, env=verify)
    wait_until(lambda: "consumer.lost" in worker.log(), "nothing is said of the missing queue")
    with pytest.raises(WorkerFailed, match="did not say READY"):
        worker.wait_ready(1.0)
    assert not raw.exists("missing")
    raw.declare_queue("missing")
    worker.wait_ready(10)


def test_pain15_a_conflict_is_explained_and_the_other_queues_run(
    start_worker: StartWorker, raw: Raw, tmp_path: Path
) -> None:
    raw.declare_queue("clash", arguments={"x-max-length": 5})
    config = tmp_path / "amqtask.toml"
    config.write_text("[queues.clash]\nmax_length = 7\n[queues.work]\n")
    worker = start_worker("--config", str(config), ready=False)
    wait_until(lambda: "topology.refused" in worker.log(), "the conflict is not logged")
    assert "x-max-length" in worker.log()
    assert "5" in worker.log()
    wait_until(lambda: raw.exists("work"), "the other queue was not declared")


def test_a_node_starts_before_its_broker(own_broker, start_worker: StartWorker) -> None:  # type: ignore[no-untyped-def]
    broker = own_broker()
    broker.stop()
    worker = start_worker("-Q", "work", url=broker.url(), ready=False)
    wait_until(lambda: "connection.failed" in worker.log(), "it does not try")
    broker.start()
    worker.wait_ready(30)


def test_a_node_that_never_connected_stops_at_once(own_broker, start_worker: StartWorker) -> None:  # type: ignore[no-untyped-def]
    broker = own_broker()
    broker.stop()
    worker = start_worker("-Q", "work", url=broker.url(), ready=False)
    wait_until(lambda: "connection.failed" in worker.log(), "it does not try")
    started = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - started < 5


def test_s43_paths_name_the_node_and_a_foreign_file_is_left_alone(start_worker: StartWorker, tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("not a pid")
    refused = start_worker("-Q", "work", "--pidfile", str(precious), name="other", ready=False)
    assert ended(refused) == 73
    assert precious.read_text() == "not a pid"
    worker = start_worker("-Q", "work", "--pidfile", str(tmp_path / "%n.%h.pid"), name="images")
    assert (tmp_path / "images.test.pid").read_text() == f"{worker.pid}\n"
    taken = start_worker("-Q", "work", "--pidfile", str(tmp_path / "images.test.pid"), name="second", ready=False)
    assert ended(taken) == 73
    assert worker.stop() == 0
    assert not (tmp_path / "images.test.pid").exists()


def test_k02_an_argument_that_this_broker_would_ignore_is_said(
    start_worker: StartWorker, broker_version: str, tmp_path: Path
) -> None:
    config = tmp_path / "amqtask.toml"
    config.write_text("[queues.work]\nconsumer_timeout_s = 60\n")
    worker = start_worker("--config", str(config), ready=False)
    if broker_version == "3.10":
        wait_until(lambda: "topology.unsupported" in worker.log(), "nothing is said")
        assert "x-consumer-timeout" in worker.log()
    elif broker_version == "4.0":
        worker.wait_ready()
        assert "topology.unsupported" not in worker.log()
    else:
        wait_until(lambda: "topology.refused" in worker.log(), "nothing is said")
