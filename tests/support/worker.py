"""A node as a user runs it: `amqtask worker` in a process of its own, watched from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.support.sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[2]


class WorkerFailed(Exception):
    """The node did not do what was waited for; its log is in the text."""


class Worker:
    """One `amqtask worker` process."""

    def __init__(
        self,
        sandbox: Sandbox,
        folder: Path,
        *,
        app: str,
        url: str,
        name: str = "w1",
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._sandbox = sandbox
        self.log_path = folder / f"{name}.log"
        self.name = name
        self._notify_path = folder / f"{name}.notify"
        with contextlib.suppress(FileNotFoundError):
            self._notify_path.unlink()
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(self._notify_path))
        self.told: list[str] = []
        command = [sys.executable, "-m", "amqtask", "worker", "-A", app, "-n", f"{name}@test", *args]
        environ = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "AMQTASK_BROKER__URL": url,
            "NOTIFY_SOCKET": str(self._notify_path),
            **(env or {}),
        }
        with self.log_path.open("ab") as log:
            self.process = sandbox.spawn(command, env=environ, cwd=folder, stdout=log, stderr=subprocess.STDOUT)

    @property
    def pid(self) -> int:
        """The node's pid."""
        return self.process.pid

    def log(self) -> str:
        """All that it logged."""
        return self.log_path.read_text(errors="replace")

    def wait_ready(self, timeout_s: float = 30) -> Worker:
        """Wait until it says READY=1: all its consumers and executors are up."""
        self._wait_told("READY=1", timeout_s)
        return self

    def _wait_told(self, what: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not any(what in line for line in self.told):
            if self.process.poll() is not None:
                raise WorkerFailed(f"{self.name} ended with {self.process.returncode}\n{self.log()[-4000:]}")
            left = deadline - time.monotonic()
            if left <= 0:
                raise WorkerFailed(f"{self.name} did not say {what} in {timeout_s} s\n{self.log()[-4000:]}")
            self._notify.settimeout(min(left, 0.2))
            with contextlib.suppress(TimeoutError):
                self.told.append(self._notify.recv(4096).decode())

    def executors(self) -> list[int]:
        """The pids of its executors: its children that are session leaders."""
        found = []
        for child in _children(self.pid):
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(child) == child:
                    found.append(child)
        return found

    def template(self) -> int:
        """The pid of its template."""
        executors = set(self.executors())
        return next(child for child in _children(self.pid) if child not in executors)

    def signal(self, number: signal.Signals) -> None:
        """Send the node itself a signal."""
        self.process.send_signal(number)

    def stop(self, timeout_s: float = 40) -> int:
        """SIGTERM, and wait. Gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired as late:
            raise WorkerFailed(f"{self.name} did not stop\n{self.log()[-4000:]}") from late

    def kill(self) -> None:
        """SIGKILL the node's process alone; what it leaves behind must end by itself."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End all of it."""
        if self.process.poll() is None:
            self._sandbox.kill(self.process)
        self._notify.close()


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(word) for word in text.split()]


@contextlib.contextmanager
def workers(sandbox: Sandbox, folder: Path, url: str, app: str) -> Iterator[StartWorker]:
    """Start nodes that all end with the block."""
    starter = StartWorker(sandbox, folder, url, app)
    try:
        yield starter
    finally:
        for worker in starter.started:
            worker.close()


class StartWorker:
    """Call it to start a node; arguments are the command line's."""

    def __init__(self, sandbox: Sandbox, folder: Path, url: str, app: str) -> None:
        self._sandbox = sandbox
        self._folder = folder
        self._url = url
        self._app = app
        self.started: list[Worker] = []

    def __call__(
        self,
        *args: str,
        name: str | None = None,
        app: str | None = None,
        url: str | None = None,
        env: Mapping[str, str] | None = None,
        ready: bool = True,
    ) -> Worker:
        worker = Worker(
            self._sandbox,
            self._folder,
            app=app or self._app,
            url=url or self._url,
            name=name or f"w{len(self.started) + 1}",
            args=args,
            env=env,
        )
        self.started.append(worker)
        return worker.wait_ready() if ready else worker
