"""`amqtask multi` as a user runs it: real nodes in the background on a real broker, told apart by their pid files."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from amqtask.node.pidfile import holder
from tests.support.checker import assert_clean, read_runs, tally
from tests.support.messages import task_message
from tests.support.raw import Raw
from tests.support.reaper import alive
from tests.support.sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[2]
APP = "tests.support.apps.recorded:app"


@dataclass
class Multi:
    """Runs `amqtask multi` in a folder of its own; `nodes` are the pids of all that it started."""

    sandbox: Sandbox
    folder: Path
    url: str
    nodes: list[int] = field(default_factory=list)

    def command(self, action: str, *words: str, app: str = APP) -> list[str]:
        """The command line; every node's files lie in the folder."""
        paths = [f"--pidfile={self.folder}/run/%n.pid", f"--logfile={self.folder}/log/%n%I.log"]
        return [sys.executable, "-m", "amqtask", "-A", app, "multi", action, *paths, *words]

    def environ(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), "AMQTASK_BROKER__URL": self.url}

    def run(self, action: str, *words: str, app: str = APP) -> tuple[int, dict[str, Any], str]:
        """Run it with --json. Gives exit code, the nodes by their short names, and stderr."""
        done = subprocess.run(
            self.command(action, *words, "--json", app=app),
            env=self.environ(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        nodes = json.loads(done.stdout)["nodes"] if done.stdout else []
        if action == "start":
            self.own(nodes)
        return done.returncode, {str(node["node"]).partition("@")[0]: node for node in nodes}, done.stderr

    def own(self, nodes: Sequence[dict[str, Any]]) -> None:
        """However the test ends, the nodes end with it."""
        for node in nodes:
            if node["state"] in ("ready", "starting"):
                self.nodes.append(node["pid"])
                self.sandbox.own(node["pid"])

    def pidfile(self, name: str) -> Path:
        return self.folder / "run" / f"{name}.pid"

    def log(self, name: str) -> str:
        return (self.folder / "log" / f"{name}.log").read_text()


@pytest.fixture
def multi(sandbox: Sandbox, tmp_path: Path, vhost_url: str, record_folder: Path) -> Iterator[Multi]:
    """`amqtask multi` with the recorded tasks on this test's own virtual host."""
    made = Multi(sandbox, tmp_path, vhost_url)
    yield made
    for pid in made.nodes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        sandbox.release(pid)


def wait_for(what: str, true: Any, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.05)


def send(raw: Raw, queue: str, name: str, *args: object, count: int) -> list[str]:
    ids = [f"{queue}-{name}-{number}" for number in range(count)]
    raw.publish_many(task_message(name, args, queue=queue, task_id=task_id) for task_id in ids)
    return ids


def test_s54_s43_k20_nodes_start_work_show_and_stop_when_their_tasks_are_done(
    multi: Multi, raw: Raw, record_folder: Path
) -> None:
    words = ("3", "-Q:1-2", "images", "-Q", "default", "-c", "1", "-L:3", "debug")
    code, nodes, err = multi.run("start", *words)
    assert code == 0, err
    assert [node["state"] for node in nodes.values()] == ["ready"] * 3
    assert list(nodes) == ["amqtask1", "amqtask2", "amqtask3"]
    for name, node in nodes.items():
        pid = node["pid"]
        assert holder(str(multi.pidfile(name))) == pid
        assert os.getsid(pid) == pid  # a session of its own: no terminal's end reaches it
        assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
        assert os.readlink(f"/proc/{pid}/fd/1") == os.readlink(f"/proc/{pid}/fd/2") == node["logfile"]
        assert "node.ready" in multi.log(name)
        assert node["text"] == "1 queues, 1 slots"
    assert "consumer.up" in multi.log("amqtask3")
    assert "consumer.up" not in multi.log("amqtask1")
    code, shown, _ = multi.run("show", *words)
    assert code == 0
    assert {name: (node["state"], node["pid"]) for name, node in shown.items()} == {
        name: ("running", node["pid"]) for name, node in nodes.items()
    }

    # A name that is taken refuses, and harms nobody.
    code, again, _ = multi.run("start", *words)
    assert code == 73
    assert {name: (node["state"], node["pid"]) for name, node in again.items()} == {
        name: ("taken", node["pid"]) for name, node in nodes.items()
    }

    ids = send(raw, "images", "rec.sleep", 1.0, count=2) + send(raw, "default", "rec.sleep", 1.0, count=1)
    wait_for("three running tasks", lambda: len(read_runs(record_folder)) == 3)
    code, stopped, err = multi.run("stopwait", *words)
    assert code == 0, err
    assert [(node["state"], node["took_s"] > 0.2) for node in stopped.values()] == [("stopped", True)] * 3
    assert_clean(tally(record_folder, accepted=ids))
    for name, node in nodes.items():
        assert not multi.pidfile(name).exists()
        assert not alive(node["pid"])
    assert [node["state"] for node in multi.run("show", *words)[1].values()] == ["down"] * 3
    code, stopped, _ = multi.run("stopwait", *words)
    assert code == 0
    assert [node["state"] for node in stopped.values()] == ["not running"] * 3


def test_s43_pid_files_of_the_dead_and_of_others_are_told_apart_by_the_lock(multi: Multi, raw: Raw) -> None:
    code, nodes, err = multi.run("start", "w1", "-Q", "a", "-c", "1")
    assert code == 0, err
    os.kill(nodes["w1"]["pid"], signal.SIGKILL)
    wait_for("the lock is gone", lambda: holder(str(multi.pidfile("w1"))) is None)
    assert multi.pidfile("w1").exists()
    # Another process has the number by now: it is neither taken for the node nor signalled.
    with subprocess.Popen(["sleep", "60"]) as stranger:
        multi.pidfile("w1").write_text(f"{stranger.pid}\n")
        assert multi.run("show", "w1")[1]["w1"]["state"] == "down"
        code, stopped, _ = multi.run("stopwait", "w1")
        assert (code, stopped["w1"]["state"]) == (0, "not running")
        assert stranger.poll() is None
        stranger.kill()
    code, nodes, err = multi.run("start", "w1", "-Q", "a", "-c", "1")
    assert (code, nodes["w1"]["state"]) == (0, "ready"), err
    multi.pidfile("w2").write_text("# notes, and no number\n")
    code, nodes, err = multi.run("start", "w2", "-Q", "a")
    assert code == 73
    assert "is no pid file" in err
    assert multi.pidfile("w2").read_text() == "# notes, and no number\n"
    assert multi.run("stop", "w1")[1]["w1"]["state"] == "stopping"
    wait_for("w1 stops", lambda: not multi.pidfile("w1").exists())


def test_c22_a_node_that_ends_early_is_told_with_what_it_wrote_and_the_others_run(multi: Multi) -> None:
    (multi.folder / "broken.py").write_text("raise RuntimeError('no such database')\n")
    config = multi.folder / "wrong.toml"
    config.write_text("[worker]\ndrain = 3\n")
    code, nodes, _ = multi.run(
        "start", "w1", "w2", "w3", "-Q", "a", "-c", "1", "-A:2", "broken", "--config:3", str(config)
    )
    assert code == 78
    assert {name: (node["state"], node["exit_code"]) for name, node in nodes.items()} == {
        "w1": ("ready", None),
        "w2": ("failed", 78),
        "w3": ("failed", 2),
    }
    assert "RuntimeError: no such database" in nodes["w2"]["text"]
    assert "worker.drain" in nodes["w3"]["text"]
    assert not multi.pidfile("w2").exists()
    assert multi.run("stopwait", "w1", "w2", "w3")[0] == 0


def test_k20_a_node_that_cannot_reach_its_broker_is_left_running_and_told(multi: Multi, sandbox: Sandbox) -> None:
    multi.url = f"amqp://guest:guest@127.0.0.1:{sandbox.port()}//"
    code, nodes, err = multi.run("start", "w1", "-Q", "a", "-c", "1", "--timeout", "3")
    assert code == 75
    assert nodes["w1"]["state"] == "starting"
    assert "not connected" in nodes["w1"]["text"], err
    assert holder(str(multi.pidfile("w1"))) == nodes["w1"]["pid"]
    code, stopped, _ = multi.run("stopwait", "w1")
    assert (code, stopped["w1"]["state"]) == (0, "stopped")


def test_s54_a_terminal_sees_progress_and_a_table(multi: Multi) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        multi.command("start", "w1", "-Q", "a", "-c", "1"),
        env=multi.environ(),
        cwd=multi.folder,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        timeout=60,
    )
    os.close(theirs)
    seen = os.read(ours, 65536).decode()
    os.close(ours)
    pid = holder(str(multi.pidfile("w1")))
    assert pid is not None
    multi.own([{"state": "ready", "pid": pid}])
    assert done.returncode == 0
    assert "starting 0/1 after 0 s: w1" in seen
    assert done.stdout.splitlines()[0].split() == ["NODE", "STATE", "PID", "TOOK"]
    assert "ready" in done.stdout.splitlines()[1]
