"""The units of deploy/systemd in a real systemd, on a real broker: what is counted is counted outside the product."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ProxyTo
from tests.docs.snippets import snippets
from tests.support.checker import assert_clean, ids_of, read_runs, tally
from tests.support.messages import task_message
from tests.support.rabbit import Rabbit
from tests.support.raw import Raw
from tests.support.sandbox import Sandbox
from tests.support.systemd import ROOT, SystemdBox

UNITS = ROOT / "deploy" / "systemd"
PAGE = ROOT / "docs" / "how-to" / "systemd.md"  # its commands install the units
UNIT = "amqtask-worker@w1.service"
DROP_INS = f"/etc/systemd/system/{UNIT}.d"
RECORDS = "/srv/records"
Q = "work"

# Freezes hand-over after five tasks, in the first node that runs with it: a stand-in for a bug that no test has found.
WEDGE = """
import os, sys
if "worker" in sys.orig_argv:
    try:
        os.close(os.open("/srv/records/wedged", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        pass
    else:
        from amqtask.pool.pool import Pool
        dispatch = Pool.dispatch
        def wedged(pool):
            if pool.ended < 5:
                dispatch(pool)
        Pool.dispatch = wedged
"""


class Service:
    """The unit in the container, with the app and broker that /etc/amqtask/amqtask.toml names."""

    def __init__(self, box: SystemdBox, records: Path) -> None:
        self.box = box
        self.records = records

    def configure(self, url: str, *, app: str = "tests.support.apps.recorded:app", more: str = "") -> None:
        """Write the configuration, and the environment that only tests need."""
        config = f'app = "{app}"\n[broker]\nurl = "{url}"\n[worker]\nqueues = ["{Q}"]\nconcurrency = 2\n'
        self.box.write("/etc/amqtask/amqtask.toml", config)
        environment = f"PYTHONPATH={ROOT}\nAMQTASK_TEST_RECORD={RECORDS}\n{more}"
        self.box.write("/etc/amqtask/amqtask.env", environment)

    def drop_in(self, text: str) -> None:
        """Change the unit for this test."""
        self.box.write(f"{DROP_INS}/test.conf", text)
        self.box.run("systemctl", "daemon-reload")

    def start(self) -> None:
        """Returns when systemd has heard READY."""
        self.box.run("systemctl", "start", UNIT)

    def stop(self) -> float:
        """Gives how many seconds it took."""
        began = time.monotonic()
        self.box.run("systemctl", "stop", UNIT)
        return time.monotonic() - began

    def show(self, name: str) -> str:
        return self.box.show(UNIT, name)

    def wait_restarted(self, times: int) -> None:
        """Wait until systemd has restarted it that many times and it is ready."""

        def ready() -> bool:
            return self.show("NRestarts") == str(times) and self.show("ActiveState") == "active"

        self.box.wait_for(f"restart {times} of {UNIT}", ready, 30, unit=UNIT)

    def wait_runs(self, count: int, *, ended: bool) -> None:
        def enough() -> bool:
            return sum(not (ended and run.cut) for run in read_runs(self.records)) >= count

        self.box.wait_for(f"{count} runs", enough, 30, unit=UNIT)

    def journal(self) -> str:
        return self.box.journal(UNIT)


@pytest.fixture(scope="module")
def records(sandbox: Sandbox) -> Path:
    """The folder that tasks in the container write their records to."""
    folder = sandbox.folder("systemd-records")
    folder.chmod(0o777)
    return folder


@pytest.fixture(scope="module")
def box(sandbox: Sandbox, records: Path) -> Iterator[SystemdBox]:
    """A systemd with our units and their user."""
    box = SystemdBox(sandbox)
    box.share(records, RECORDS)
    try:
        box.start()
        for snippet in snippets(PAGE):
            if "install" in snippet.words:
                box.run("sh", "-euc", f"cd {ROOT}\n{snippet.text}")
        yield box
    finally:
        box.remove()


@pytest.fixture
def service(box: SystemdBox, records: Path, vhost_url: str) -> Iterator[Service]:
    """The unit, stopped, with nothing left of the test before."""
    for path in records.iterdir():
        path.unlink()
    service = Service(box, records)
    service.configure(vhost_url)
    service.drop_in("")
    yield service
    box.run("systemctl", "kill", "--signal=KILL", UNIT, check=False)
    box.run("systemctl", "stop", UNIT, check=False)
    box.run("systemctl", "reset-failed", UNIT, check=False)


@pytest.fixture
def raw(vhost_url: str) -> Iterator[Raw]:
    with Raw(vhost_url) as connection:
        yield connection


def send(raw: Raw, name: str, *args: object, count: int) -> list[str]:
    ids = [f"{name}-{number}" for number in range(count)]
    raw.publish_many(task_message(name, args, queue=Q, task_id=task_id) for task_id in ids)
    return ids


def test_k23_the_units_have_nothing_that_systemd_complains_about(box: SystemdBox) -> None:
    done = box.run(
        "systemd-analyze", "verify", f"/etc/systemd/system/{UNIT}", "/etc/systemd/system/amqtask.target", check=False
    )
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "amqtask" in line]
    assert ours == []
    assert done.returncode == 0, done.stderr


def test_k23_stop_time_is_above_the_drain_and_start_time_above_the_import(box: SystemdBox) -> None:
    from amqtask.settings.models import WorkerSettings

    unit = (UNITS / "amqtask-worker@.service").read_text()
    defaults = WorkerSettings()

    def seconds(key: str) -> int:
        return int(re.findall(rf"^{key}=(\d+)$", unit, re.M)[0])

    assert seconds("TimeoutStopSec") >= defaults.drain_s + 20
    assert seconds("TimeoutStartSec") >= defaults.boot_timeout_s + 30
    assert box.show(UNIT, "KillMode") == "mixed"
    assert box.show(UNIT, "OOMPolicy") == "continue"
    assert box.show(UNIT, "RestartPreventExitStatus") == "2 73 77 78"


def test_k23_started_means_that_queues_are_consumed(
    service: Service, raw: Raw, broker: Rabbit, vhost: str, proxy_to: ProxyTo
) -> None:
    proxy = proxy_to(broker.port)
    proxy.refuse()
    service.configure(broker.url(vhost, port=proxy.port))
    service.box.run("systemctl", "start", "--no-block", UNIT)
    service.box.wait_for("a first try", lambda: "not connected" in service.show("StatusText"), unit=UNIT)
    assert service.show("ActiveState") == "activating"
    proxy.accept()
    service.start()
    assert raw.declare_queue(Q, passive=True)[1] == 1  # its consumers
    assert service.show("StatusText") == "1 queues, 2 slots"
    assert service.show("User") == "amqtask"
    service.stop()
    assert service.show("Result") == "success"


def test_k23_k22_stop_lets_running_tasks_end_and_loses_nothing(service: Service, raw: Raw) -> None:
    service.drop_in("[Service]\nTimeoutStopSec=0.5\n")  # while tasks run, the node asks for more
    service.start()
    ids = send(raw, "rec.sleep", 2.0, count=6)
    service.wait_runs(2, ended=False)
    took_s = service.stop()
    assert took_s > 0.8
    assert (service.show("Result"), service.show("ExecMainStatus")) == ("success", "0")
    runs = read_runs(service.records)
    assert len(runs) == 2
    assert not any(run.cut for run in runs)
    raw.wait_count(Q, 4)
    service.start()
    service.wait_runs(6, ended=True)
    raw.wait_count(Q, 0)
    service.stop()
    assert raw.count(Q) == 0
    assert_clean(tally(service.records, accepted=ids, dead=ids_of(raw.drain(f"{Q}.dlq"))))


def test_k23_a_killed_node_is_restarted_and_loses_nothing(service: Service, raw: Raw) -> None:
    service.start()
    ids = send(raw, "rec.sleep", 0.3, count=20)
    service.wait_runs(3, ended=False)
    service.box.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", UNIT)
    service.wait_restarted(1)
    service.wait_runs(20, ended=True)
    raw.wait_count(Q, 0)
    service.stop()
    assert raw.count(Q) == 0
    # Each of the two slots may have been cut in a task.
    counted = tally(service.records, accepted=ids, dead=ids_of(raw.drain(f"{Q}.dlq")))
    assert_clean(counted, max_extra_runs=2, max_runs_of_one=2)


def test_k23_c22_a_wedged_hand_over_is_restarted_by_the_watchdog_and_loses_nothing(
    service: Service, raw: Raw, vhost_url: str
) -> None:
    service.box.write("/srv/wedge/sitecustomize.py", WEDGE)
    service.drop_in("[Service]\nWatchdogSec=4\nRestartSec=0.2\n")
    service.configure(vhost_url, more=f"PYTHONPATH=/srv/wedge:{ROOT}\n")
    service.start()
    ids = send(raw, "rec.noop", count=50)
    service.wait_runs(5, ended=True)
    service.wait_restarted(1)
    journal = service.journal()
    assert "Watchdog timeout" in journal
    assert "Fatal Python error: Aborted" in journal  # and where it was, for whoever looks for the reason
    service.wait_runs(50, ended=True)
    raw.wait_count(Q, 0)
    service.stop()
    assert raw.count(Q) == 0
    counted = tally(service.records, accepted=ids, dead=ids_of(raw.drain(f"{Q}.dlq")))
    assert_clean(counted, max_extra_runs=20, max_runs_of_one=2)


def test_k23_an_app_that_cannot_be_imported_is_not_restarted(service: Service, vhost_url: str) -> None:
    service.box.write("/srv/amqtask/broken.py", "raise RuntimeError('no such database')\n")
    service.configure(vhost_url, app="broken")
    done = service.box.run("systemctl", "start", UNIT, check=False)
    assert done.returncode != 0
    assert (service.show("ActiveState"), service.show("SubState")) == ("failed", "failed")
    assert (service.show("ExecMainStatus"), service.show("NRestarts")) == ("78", "0")
    assert "RuntimeError: no such database" in service.journal()


def test_k23_the_target_starts_and_stops_all_enabled_nodes(service: Service, raw: Raw) -> None:
    other = "amqtask-worker@w2.service"
    service.box.write("/etc/amqtask/w2.env", "WORKER_OPTIONS=-Q images -c 1\n")
    try:
        service.box.run("systemctl", "enable", UNIT, other)
        service.box.run("systemctl", "start", "amqtask.target")
        service.box.wait_for("w2", lambda: service.box.show(other, "ActiveState") == "active", unit=other)
        service.box.wait_for("w1", lambda: service.show("ActiveState") == "active", unit=UNIT)
        assert raw.declare_queue("images", passive=True)[1] == 1
        assert service.box.show(other, "StatusText") == "1 queues, 1 slots"
        service.box.run("systemctl", "stop", "amqtask.target")
        service.box.wait_for("w1", lambda: service.show("ActiveState") == "inactive", unit=UNIT)
        service.box.wait_for("w2", lambda: service.box.show(other, "ActiveState") == "inactive", unit=other)
    finally:
        service.box.run("systemctl", "disable", UNIT, other)
