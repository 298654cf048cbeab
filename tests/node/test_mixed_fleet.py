"""A fleet of both kinds: genuine Celery and amqtask send to each other's workers, over the same queues."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from amqtask import App
from tests.node.scenes import wait_ids, wait_until
from tests.support.checker import assert_clean, ids_of, read_runs, tally
from tests.support.raw import Raw
from tests.support.sandbox import Sandbox
from tests.support.worker import ROOT, StartWorker

COUNT = 10_000
QUEUES = ("celery", "reports")


@pytest.fixture
def environ(vhost_url: str, record_folder: Path) -> Mapping[str, str]:
    """What Celery's processes are started with."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "AMQTASK_BROKER__URL": vhost_url, "AMQTASK_TEST_COUNT": str(COUNT)}


@pytest.fixture
def celery_worker(sandbox: Sandbox, environ: Mapping[str, str], tmp_path: Path, raw: Raw) -> Iterator[None]:
    """An unmodified Celery worker on both queues."""
    command = [sys.executable, "-m", "celery", "-A", "tests.support.apps.celery_recorded", "worker", "-c", "2"]
    command += ["-Q", ",".join(QUEUES), "--without-gossip", "--without-mingle", "-l", "warning"]
    with (tmp_path / "celery.log").open("wb") as log:
        process = sandbox.spawn(command, env=environ, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT)
    wait_until(lambda: all(map(raw.exists, QUEUES)), "Celery declared no queues")
    time.sleep(1.0)
    yield
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        sandbox.kill(process)


def sent_by_celery(environ: Mapping[str, str]) -> list[str]:
    """Have an unmodified Celery program send; gives the ids it got."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.apps.celery_recorded", *QUEUES],
        env=dict(environ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.split()


def sent_by_us(url: str) -> list[str]:
    """Send by name, in bulk."""
    with App("sender", broker=url) as app:
        calls = [app.signature("rec.noop", [number], queue=QUEUES[number % 2]) for number in range(COUNT)]
        return [result.id for result in app.send_many(calls)]


def test_s30_a_celery_program_sends_10000_tasks_to_our_worker_and_each_runs_once(
    start_worker: StartWorker, raw: Raw, record_folder: Path, environ: Mapping[str, str]
) -> None:
    start_worker("-Q", ",".join(QUEUES), "-c", "2")
    ids = sent_by_celery(environ)
    assert len(set(ids)) == COUNT
    wait_ids(record_folder, ids, timeout_s=120)
    dead = [letter for queue in QUEUES for letter in raw.drain(f"{queue}.dlq")]
    assert_clean(tally(record_folder, accepted=ids, dead=ids_of(dead)))


def test_s30_we_send_10000_tasks_to_a_celery_worker_and_each_runs_once(
    celery_worker: None, raw: Raw, record_folder: Path, vhost_url: str
) -> None:
    ids = sent_by_us(vhost_url)
    assert len(set(ids)) == COUNT
    wait_ids(record_folder, ids, timeout_s=120)
    assert_clean(tally(record_folder, accepted=ids))


def test_s01_both_kinds_of_workers_share_queues_that_both_kinds_of_programs_send_to(
    celery_worker: None,
    start_worker: StartWorker,
    raw: Raw,
    record_folder: Path,
    environ: Mapping[str, str],
    vhost_url: str,
) -> None:
    start_worker("-Q", ",".join(QUEUES), "-c", "2")
    ids = [*sent_by_celery(environ), *sent_by_us(vhost_url)]
    wait_ids(record_folder, ids, timeout_s=120)
    assert_clean(tally(record_folder, accepted=ids))
    by_celery = sum(1 for run in read_runs(record_folder) if run.more.get("by") == "celery")
    assert 0 < by_celery < len(ids), f"Celery ran {by_celery} of {len(ids)}"
