"""What the demo starts: a private RabbitMQ node and one worker node. All of it is stopped, however the demo ends.

The broker and the keeping track of processes are the test suite's (`tests.support`): a second process outlives the demo
just long enough to stop what it left behind, should it be killed.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.file_index.index import VARIABLE
from tests.support.rabbit import TOOLS, Rabbit, Rabbits, Roots
from tests.support.sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[2]
CONFIG = Path(__file__).with_name("amqtask.toml")
READY_S = 60.0
STOP_S = 40.0  # above the worker's own drain time


class StageFailed(Exception):
    """The broker or the worker did not come up, or did not stay."""


class Worker:
    """The worker node's process, and its log."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    def check(self) -> None:
        """StageFailed, with the end of its log, when it has ended."""
        status = self._process.poll()
        if status is not None:
            raise StageFailed(f"the worker ended by itself, status {status}:\n{self.last_words()}")

    def last_words(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-2000:]


def rabbitmq_version() -> str:
    """The version of this machine's RabbitMQ package, as `3.10`. StageFailed when there is none."""
    for folder in sorted((TOOLS.parent / "lib").glob("rabbitmq_server-*")):
        if found := re.match(r"rabbitmq_server-(\d+\.\d+)", folder.name):
            return found[1]
    raise StageFailed("RabbitMQ is not installed: `make setup` as root, or `apt-get install rabbitmq-server`")


@contextmanager
def broker(sandbox: Sandbox) -> Iterator[Rabbit]:
    """A RabbitMQ node on free loopback ports with its own data, removed at the end."""
    version = rabbitmq_version()
    node = Rabbits(sandbox, Roots(f"{version}=/")).make(version, name="amqtask-demo")
    try:
        yield node.start()
    finally:
        node.remove()


def environment(url: str, index: Path) -> dict[str, str]:
    """What the sender and the worker see: this broker, this index, and no settings of whoever runs the demo."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AMQTASK_", "CELERY_"))}
    return {**kept, "AMQTASK_BROKER__URL": url, VARIABLE: str(index)}


@contextmanager
def worker(sandbox: Sandbox, environ: dict[str, str]) -> Iterator[Worker]:
    """`amqtask worker` with the example's configuration, consuming; told to stop at the end, and waited for."""
    folder = sandbox.folder("demo")
    log = folder / "worker.log"
    with ready_socket(folder / "ready") as ready, log.open("wb") as output:
        process = sandbox.spawn(
            [sys.executable, "-m", "amqtask", "worker", "--config", str(CONFIG), "-n", "demo", "-l", "info"],
            env={**environ, "NOTIFY_SOCKET": str(folder / "ready")},
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
        node = Worker(process, log)
        try:
            _wait_until_ready(ready, node)
            yield node
        finally:
            sandbox.terminate(process, timeout_s=STOP_S)


@contextmanager
def ready_socket(path: Path) -> Iterator[socket.socket]:
    """Where a worker says that it is ready, as it does to systemd (sd_notify)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(str(path))
        ready.settimeout(0.2)
        yield ready


def _wait_until_ready(ready: socket.socket, node: Worker) -> None:
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        node.check()
        try:
            if b"READY=1" in ready.recv(4096).split(b"\n"):
                return
        except TimeoutError:
            continue
    raise StageFailed(f"the worker was not ready in {READY_S:.0f} s:\n{node.last_words()}")
