"""`amqtask multi` up to the point where it would start something: what it checks, shows and refuses."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import sys
from pathlib import Path

import pytest

from amqtask.cli.main import cli
from amqtask.cli.multi import Progress, _start_code, _stop_code
from amqtask.cli.support import run
from amqtask.clock import SYSTEM
from amqtask.node.multi.plan import PathUnusable, PlannedNode, make_folders
from amqtask.node.multi.start import Started, tail
from amqtask.node.multi.stop import Stopped, Stopper
from amqtask.node.pidfile import PidFile
from amqtask.pool.names import NodeName

HOST = socket.gethostname()


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def amqtask(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = run(cli, shlex.split(line))
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    "line",
    [
        "-A proj multi show w1 -l INFO",
        "multi -A proj show w1 -l INFO",
        "multi show w1 -A proj -l INFO",
        "multi show -l INFO -Aproj w1",
        "-A other multi show w1 -l INFO --app=proj",
        "multi show w1 -l INFO --app:w1=proj -A other",
    ],
)
def test_s54_the_app_stands_before_or_after_multi(
    line: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, _ = amqtask(f"{line} --json", capsys)
    assert code == 0
    (node,) = json.loads(out)["nodes"]
    folder = tmp_path / "amqtask"
    command = node["command"]
    assert command[:4] == [sys.executable, "-P", "-m", "amqtask"]
    assert command[4:6] == ["worker", f"--hostname=w1@{HOST}"]
    assert sorted(command[6:]) == [
        "--app=proj",
        f"--logfile={folder}/w1.log",
        "--loglevel=INFO",
        f"--pidfile={folder}/w1.pid",
    ]
    assert node["state"] == "down"


def test_s54_show_prints_commands_that_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = amqtask("--debug multi show 2 -c:2 4 --logfile='/tmp/a b/%n%I.log'", capsys)
    assert code == 0
    commands = [shlex.split(line) for line in out.splitlines() if " -m amqtask " in line]
    assert [command[command.index("amqtask") + 1] for command in commands] == ["--debug", "--debug"]
    assert [command[-1] for command in commands] == [
        "--logfile=/tmp/a b/amqtask1.log",
        "--logfile=/tmp/a b/amqtask2.log",
    ]
    assert "--concurrency=4" in commands[1]
    assert "--concurrency=4" not in commands[0]


def test_s54_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert amqtask("multi names 2", capsys) == (0, f"amqtask1@{HOST}\namqtask2@{HOST}\n", "")
    assert json.loads(amqtask("multi names w1@a --json", capsys)[1]) == {"names": ["w1@a"]}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("w1 w2 -c:2 zero", "-c:2 zero: 'zero' is not a valid integer"),
        ("w1 w2 -c:2 0", "-c:2 0: 0 is not in the range"),
        ("w1 w2 -L:2 loud", "-L:2 loud: 'loud' is not one of"),
        ("w1 w2 -P:2 magic", "-P:2 magic: 'magic' is not 'prefork'"),
        ("w1 w2 -Q:2 amq.x", "-Q:2 amq.x: .*keeps names that begin with"),
        ("w1 w2 -Q:2 ' '", "-Q:2 .*names no queue"),
        ("w1 w2 --config:2 /nowhere/x.toml", "--config:2: there is no file '/nowhere/x.toml'"),
        ("w1 w2 --detach", "there is no option '--detach'"),
        ("w1 w2 --timeout=soon", "--timeout: 'soon' is no number of seconds"),
        ("w1 w2 --timeout=-1", "--timeout: "),
        ("w1 w2 --timeout=nan", "--timeout: "),
        ("3 -c:worker2 4", "-c:worker2: no node is called 'worker2'"),
        ("w1/x", "node 'w1/x'"),
        ("", "name the nodes"),
    ],
)
def test_c22_nothing_starts_when_anything_is_wrong(
    line: str, complaint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("amqtask.node.multi.start.spawn", lambda *_, **__: pytest.fail("something was started"))
    code, out, err = amqtask(f"multi start {line}", capsys)
    assert code == 2
    assert out == ""
    assert err.startswith("amqtask: ")
    assert err.count("\n") == 1
    assert re.search(complaint, err), err
    assert not (tmp_path / "amqtask").exists()


def test_c22_the_command_line_knows_the_kinds_of_pools() -> None:
    from amqtask.cli.worker import KINDS
    from amqtask.pool import boot

    assert boot.KINDS == KINDS


def test_s54_help_shows_the_workers_options(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = amqtask("multi start --help", capsys)
    assert code == 0
    assert "--concurrency" in out
    assert "--timeout SECONDS" in out
    assert "--hostname" not in out


# -- files -------------------------------------------------------------------------------------------------------------


def node(folder: Path) -> PlannedNode:
    return PlannedNode(NodeName("w1", "h", 1), (), folder / "run" / "w1.pid", folder / "log" / "w1.log")


def test_s43_missing_folders_are_made(tmp_path: Path) -> None:
    make_folders([node(tmp_path)])
    assert (tmp_path / "run").is_dir()
    assert (tmp_path / "log").is_dir()


@pytest.mark.parametrize("content", [b"", b"123\n", b"99999999\n"])
def test_s43_a_pid_file_left_behind_is_no_obstacle(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run").mkdir()
    node(tmp_path).pidfile.write_bytes(content)
    make_folders([node(tmp_path)])
    assert node(tmp_path).pidfile.read_bytes() == content


def test_s43_a_file_that_is_no_pid_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    node(tmp_path).pidfile.write_text("root:x:0:0:root:/root:/bin/bash\n")
    with pytest.raises(PathUnusable, match="is no pid file"):
        make_folders([node(tmp_path)])


def test_s43_a_folder_in_the_way_is_an_error(tmp_path: Path) -> None:
    node(tmp_path).logfile.mkdir(parents=True)
    with pytest.raises(PathUnusable, match=r"w1\.log is a folder"):
        make_folders([node(tmp_path)])
    (tmp_path / "file").touch()
    with pytest.raises(PathUnusable, match="Not a directory"):
        make_folders([node(tmp_path / "file")])


def test_s54_the_tail_of_a_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("old\n" + "".join(f"line {number}\n" for number in range(40)))
    assert tail(path, 4).splitlines() == [f"line {number}" for number in range(25, 40)]
    assert tail(path, path.stat().st_size) == ""
    assert tail(tmp_path / "none", 0) == ""


def test_k20_a_node_of_somebody_else_is_not_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    mine = node(tmp_path)
    make_folders([mine])
    pidfile = PidFile(str(mine.pidfile))
    pidfile.take()
    stopper = Stopper(clock=SYSTEM, watch=lambda *_: None)
    monkeypatch.setattr("signal.pidfd_send_signal", refuse)
    assert stopper.stop([mine], wait_s=5) == [Stopped(mine, "not permitted", os.getpid())]
    pidfile.release()
    assert stopper.stop([mine], wait_s=5) == [Stopped(mine, "not running", None)]
    mine.pidfile.touch()
    monkeypatch.setattr(Path, "open", refuse)
    assert stopper.stop([mine], wait_s=5) == [Stopped(mine, "not permitted", None)]


# -- exit codes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ([("ready", None), ("ready", None)], 0),
        ([("ready", None), ("failed", 78)], 78),
        ([("taken", None), ("failed", 2)], 2),
        ([("failed", -9)], 1),
        ([("failed", 0)], 1),
        ([("taken", None), ("starting", None)], 73),
        ([("ready", None), ("starting", None)], 75),
    ],
)
def test_k20_exit_code_of_start(ends: list[tuple[str, int | None]], code: int) -> None:
    results = [Started(node(Path("/x")), state, 1, 0.0, "", exit_code) for state, exit_code in ends]
    assert _start_code(results) == code


@pytest.mark.parametrize(
    ("states", "wait", "code"),
    [
        (["stopped", "not running"], True, 0),
        (["stopping"], False, 0),
        (["stopped", "stopping"], True, 75),
        (["died", "stopped"], True, 1),
        (["not permitted", "stopping"], True, 77),
    ],
)
def test_k20_exit_code_of_stop(states: list[str], wait: bool, code: int) -> None:
    assert _stop_code([Stopped(node(Path("/x")), state, 1) for state in states], wait=wait) == code


def test_s54_no_progress_line_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("starting", 3)
    progress.show([], {"w1": "importing"})
    progress.close()
    assert capsys.readouterr() == ("", "")
