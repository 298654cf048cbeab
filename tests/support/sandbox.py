"""What a test session owns on this machine, process groups, folders and ports, given back however the session ends.

Used from the session's main thread. A second process (`reaper`) does the cleaning when the session was killed; when it
ends normally, `close` does.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from tests.support import reaper

# Below the kernel's range for outgoing connections: a client that keeps trying a closed port inside that range can be
# given the same port as its own end, and is then connected to itself.
PORTS = range(20000, 30000)


class Sandbox:
    """Owns process groups, folders and ports. A context manager; everything is gone after `close`."""

    def __init__(self) -> None:
        self._held: list[socket.socket] = []
        self._folders: list[Path] = []
        self._groups: dict[int, str | None] = {}
        self._spawned: dict[int, subprocess.Popen[bytes]] = {}
        self._pid = os.getpid()
        self._reaper = subprocess.Popen(
            [sys.executable, "-S", "-E", reaper.__file__, str(self._pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def port(self) -> int:
        """A free loopback port that no other test session on this machine is given until this one ends."""
        for number in random.sample(PORTS, 200):
            # An abstract unix socket is a lock that the kernel drops with its holder.
            lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                lock.bind(f"\0amqtask-test-port-{number}")
                with socket.socket() as probe:
                    probe.bind(("", number))
            except OSError:
                lock.close()
                continue
            self._held.append(lock)
            return number
        raise RuntimeError(f"no free port between {PORTS.start} and {PORTS.stop}")

    def folder(self, name: str, *, parent: Path | None = None) -> Path:
        """A new folder, removed at the end of the session."""
        path = Path(tempfile.mkdtemp(prefix=f"amqtask-{name}-", dir=parent))
        self._folders.append(path)
        self._tell(f"folder {path}")
        return path

    def spawn(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdout: IO[bytes] | int | None = None,
        stderr: IO[bytes] | int | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a program in a session and process group of its own, with nothing on its standard input."""
        process = subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        self.own(process.pid)
        self._spawned[process.pid] = process
        return process

    def own(self, pid: int) -> None:
        """Take charge of the process group that `pid` leads: it is killed when the session ends."""
        self._groups[pid] = reaper.born_at(pid)
        self._tell(f"group {pid} {self._groups[pid]}")

    def release(self, pid: int) -> None:
        """Forget a process group, because it has ended or its life is somebody else's now."""
        self._groups.pop(pid, None)
        self._spawned.pop(pid, None)
        self._tell(f"release {pid}")

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL a spawned program with its whole process group, and wait until it is gone."""
        reaper.kill_group(process.pid, self._groups.get(process.pid))
        process.wait()
        self.release(process.pid)

    def terminate(self, process: subprocess.Popen[bytes], *, timeout_s: float = 10) -> int:
        """SIGTERM the program alone, wait, SIGKILL what is left of its group. Gives its exit status."""
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill(process)
        return process.returncode

    def close(self) -> None:
        """Kill every process group still owned, remove the folders, free the ports. May be called twice."""
        if os.getpid() != self._pid:  # a forked child has a copy of this object, and owns nothing
            return
        for pid, born in reversed(list(self._groups.items())):
            reaper.kill_group(pid, born)
        for process in self._spawned.values():
            process.wait()
        self._groups.clear()
        self._spawned.clear()
        if self._reaper.stdin is not None and not self._reaper.stdin.closed:
            self._reaper.stdin.close()
        self._reaper.wait()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        for lock in self._held:
            lock.close()
        self._held.clear()

    def _tell(self, line: str) -> None:
        if self._reaper.stdin is not None and not self._reaper.stdin.closed:
            self._reaper.stdin.write(line.encode() + b"\n")
            self._reaper.stdin.flush()
