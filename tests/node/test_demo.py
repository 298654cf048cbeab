"""The demo as a person runs it: its table and exit code, and that nothing of it is left, however it ends."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from examples.file_index import planted

ROOT = Path(__file__).parents[2]

# Runs a command and becomes the parent of whatever the command leaves behind: prints the command's pid, its status, and
# then the command line of each process that is still there 15 s after its end.
WATCHER = r"""
import ctypes, os, subprocess, sys, time
ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
child = subprocess.Popen(sys.argv[1:])
print(child.pid, flush=True)
print("status", child.wait(), flush=True)

def left():
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = open(f"/proc/{name}/stat").read().rpartition(")")[2].split()
            if int(stat[1]) == os.getpid() and stat[0] != "Z":
                yield name, open(f"/proc/{name}/cmdline", "rb").read().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            pass

end = time.monotonic() + 15
while list(left()) and time.monotonic() < end:
    time.sleep(0.1)
for name, command in left():
    print("left", name, command, flush=True)
    os.kill(int(name), 9)
"""


class Demo:
    """A running demo: `pid` of its process, `output` so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._process = process
        self._lines = process.stdout
        self.pid = int(self._lines.readline())
        self.output = ""

    def wait_for(self, text: str) -> None:
        """Read its output up to a line with `text`."""
        while text not in self.output:
            line = self._lines.readline()
            assert line, f"no {text!r} in:\n{self.output}"
            self.output += line

    def end(self) -> int:
        """Wait for its end; gives its exit status. All that it started must be gone."""
        self.output += self._lines.read()
        self._process.wait(60)
        assert "\nleft " not in self.output, self.output
        status = re.search(r"^status (-?\d+)$", self.output, re.MULTILINE)
        assert status, self.output
        return int(status[1])


Start = Callable[..., Demo]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the demo on a folder; its index is `index.sqlite3`, its temporary files are in `tmp`."""
    with running(tmp_path) as begin:
        yield begin


@contextmanager
def running(tmp_path: Path) -> Iterator[Start]:
    """See `start`."""
    started: list[subprocess.Popen[str]] = []
    (tmp_path / "tmp").mkdir()

    def begin(folder: Path) -> Demo:
        demo = [sys.executable, "-m", "examples.file_index", str(folder), "--index", str(tmp_path / "index.sqlite3")]
        process = subprocess.Popen(
            [sys.executable, "-c", WATCHER, *demo],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(tmp_path / "tmp"), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return Demo(process)

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture
def slow_folder(tmp_path: Path) -> Path:
    """Files that take the pools many seconds."""
    folder = tmp_path / "slow"
    folder.mkdir()
    (folder / "long.txt").write_text("words and words and words\n" * 200_000)
    for number in range(1000):
        (folder / f"copy-{number}.txt").symlink_to("long.txt")
    return folder


def test_k01_s39_the_demo_accounts_for_every_file(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(40):
        (folder / f"note-{number}.txt").write_text("three words here\n")
        (folder / f"picture-{number}.png").write_bytes(planted.png())
        (folder / f"pack-{number}.zip").write_bytes(planted.archive())
        (folder / f"thing-{number}").write_bytes(os.urandom(20))
    (folder / "odd \udce9 name.md".encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")).touch()

    demo = start(folder)
    assert demo.end() == 0, demo.output

    table = {line.split()[0]: line.split()[1:5] for line in demo.output.splitlines() if line.count("  ") >= 7}
    assert table["queue"][:4] == ["sent", "done", "failed", "dead"]
    assert table["text"][:2] == ["44", "41"]
    assert table["image"][:2] == ["43", "40"]
    assert table["archive"][:2] == ["45", "40"]
    assert table["other"] == ["40", "40", "0", "0"]
    assert table["all"] == ["172", "161", "11", "11"]
    assert "172 sent = 161 done + 11 dead" in demo.output
    assert "not UTF-8" in demo.output
    assert "truncated png" in demo.output
    with sqlite3.connect(tmp_path / "index.sqlite3") as index:
        assert index.execute("SELECT count(*), sum(words) FROM files").fetchone() == (161, 120)
    index.close()
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("at", "number", "status"),
    [
        ("starting RabbitMQ", signal.SIGINT, 130),
        ("indexing:", signal.SIGINT, 130),
        ("indexing:", signal.SIGTERM, 128 + signal.SIGTERM),
        ("indexing:", signal.SIGKILL, -signal.SIGKILL),
    ],
    ids=["ctrl-c while it starts", "ctrl-c", "terminated", "killed"],
)
def test_the_demo_leaves_nothing_behind(
    start: Start, slow_folder: Path, tmp_path: Path, at: str, number: signal.Signals, status: int
) -> None:
    demo = start(slow_folder)
    demo.wait_for(at)
    time.sleep(0.5)
    os.kill(demo.pid, number)
    assert demo.end() == status, demo.output
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_demo_fails_when_its_worker_dies(start: Start, slow_folder: Path, tmp_path: Path) -> None:
    demo = start(slow_folder)
    demo.wait_for("indexing:")
    os.kill(worker_of(tmp_path / "index.sqlite3"), signal.SIGKILL)
    assert demo.end() == 1
    assert "the worker ended by itself" in demo.output


def worker_of(index: Path) -> int:
    """The pid of the node that writes to an index: the leader of its session."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            environ = Path(f"/proc/{name}/environ").read_bytes()
            command = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if f"FILE_INDEX_DB={index}".encode() in environ.split(b"\0") and b"worker" in command:
            return os.getsid(int(name))
    raise AssertionError("no worker runs")
