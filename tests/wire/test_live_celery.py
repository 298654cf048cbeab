"""Celery's own programs on the other side of a broker: they run what we send, and we understand what they send."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from amqtask import App
from amqtask.tasks.default import DEFAULT
from amqtask.wire.task import parse_task
from tests.support.checker import RecordedRun, read_runs
from tests.support.raw import Raw, drain
from tests.support.record import FOLDER_VARIABLE
from tests.support.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
NOTE = "celery_program.note"


def environment(url: str, **more: str) -> dict[str, str]:
    return {**os.environ, "CELERY_TEST_BROKER": url, "PYTHONPATH": str(ROOT), **more}


@pytest.fixture
def app(vhost_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """A producer that has no task code and no configuration file."""
    monkeypatch.chdir(tmp_path)
    before = DEFAULT._app
    with App("producer", broker=vhost_url) as made:
        yield made
    DEFAULT._app = before


@pytest.fixture
def celery_worker(vhost_url: str, sandbox: Sandbox, record_folder: Path, tmp_path: Path) -> Iterator[None]:
    """A Celery worker on the queues `celery` and `named`, consuming before the test begins."""
    command = [sys.executable, "-m", "celery", "-A", "tests.wire.celery_program", "worker", "-P", "solo"]
    command += ["-Q", "celery,named", "--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "warning"]
    log = (tmp_path / "celery.log").open("wb")
    worker = sandbox.spawn(
        command,
        env=environment(vhost_url, **{FOLDER_VARIABLE: str(record_folder)}),
        cwd=tmp_path,
        stderr=log,
        stdout=log,
    )
    with Raw(vhost_url) as raw:
        wait_for(lambda: raw.exists("named") and raw.declare_queue("named", passive=True)[1] == 1)
    yield
    sandbox.terminate(worker)
    log.close()


def wait_for(met: Callable[[], bool], *, timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not met():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.05)


def runs_of(folder: Path, count: int) -> dict[str, RecordedRun]:
    wait_for(lambda: len(read_runs(folder)) >= count)
    runs = read_runs(folder)
    assert len(runs) == count
    return {run.task_id: run for run in runs}


@pytest.mark.usefixtures("celery_worker")
def test_s30_an_unmodified_celery_worker_runs_what_we_send(app: App, record_folder: Path) -> None:
    calls = [
        app.signature(NOTE, (number,), {"queue": queue}, queue=queue)
        for number in range(150)
        for queue in ("celery", "named")
    ]
    results = app.send_many(calls)
    runs = runs_of(record_folder, len(calls))
    for call, result in zip(calls, results, strict=True):
        more = runs[result.id].more
        assert (more["args"], more["kwargs"]) == (repr(call.args), repr(dict(call.kwargs)))
        assert more["queue"] == call.options["queue"]


@pytest.mark.usefixtures("celery_worker")
def test_s27_every_option_reaches_a_celery_worker(app: App, record_folder: Path) -> None:
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    values = (expires, Decimal("1.50"), uuid.UUID(int=5), b"\xff", "žluť", None, [1.5, {"a": True}])
    plain = app.send_task(NOTE, values, {"ключ": "значение"})
    full = app.send_task(
        NOTE,
        compression="gzip",
        expires=expires,
        headers={"tenant": "north", "nested": {"list": [1, None]}},
        ignore_result=True,
        parent_id="up",
        priority=7,
        queue="named",
        root_id="root",
        shadow="shown",
    )
    packed = app.send_task(NOTE, ("text " * 500,), compression="bzip2")
    runs = runs_of(record_folder, 3)
    assert runs[plain.id].more["args"] == repr(values)
    assert runs[plain.id].more["kwargs"] == repr({"ключ": "значение"})
    assert runs[packed.id].more["args"] == repr(("text " * 500,))
    more = runs[full.id].more
    assert (more["shadow"], more["root_id"], more["parent_id"]) == ("shown", "root", "up")
    assert (more["priority"], more["queue"], more["ignore_result"]) == (7, "named", True)
    assert more["headers"] == {"tenant": "north", "nested": {"list": [1, None]}}
    assert more["expires"] == expires.isoformat()


@pytest.mark.usefixtures("celery_worker")
def test_s25_a_celery_worker_does_not_start_what_has_expired(app: App, record_folder: Path) -> None:
    app.send_task(NOTE, (1,), expires=datetime.now(UTC) - timedelta(seconds=1))
    last = app.send_task(NOTE, (2,))
    assert list(runs_of(record_folder, 1)) == [last.id]


def test_s30_what_an_unmodified_celery_program_sends_is_understood(
    vhost_url: str, record_folder: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.wire.celery_program", "50"],
        env=environment(vhost_url, **{FOLDER_VARIABLE: str(record_folder)}),
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=60,
    )
    sent = done.stdout.decode().split()
    understood = []
    for queue in ("celery", "named"):
        for message in drain(vhost_url, queue):
            call = parse_task(message.properties, message.body)
            assert (call.name, call.kwargs) == (NOTE, {"queue": queue})
            understood.append(call.id)
    assert sorted(understood) == sorted(sent)


def test_s01_s30_tasks_sent_by_name_lie_in_the_queue_as_they_were_given(app: App, vhost_url: str) -> None:
    with Raw(vhost_url) as raw:
        raw.declare_queue("named")
        results = [app.send_task("somewhere.add", (number, "b"), {"k": number}, queue="named") for number in range(100)]
        messages = {message.correlation_id: message for message in raw.drain("named")}
    assert len(messages) == 100
    for number, result in enumerate(results):
        message = messages[result.id]
        call = parse_task(message.properties, message.body)
        assert (call.id, call.name, call.args, call.kwargs) == (
            result.id,
            "somewhere.add",
            [number, "b"],
            {"k": number},
        )
        assert message.headers["task"] == "somewhere.add"  # as pika decodes them
        assert message.fields["delivery_mode"] == 2
