"""What a measurement works with: the private broker, queues of its own, workers and senders as real processes.

Used from the main thread. Everything that is started belongs to the sandbox, which ends it however the run ends.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import procfs
from benchmarks.contenders import CELERY, OURS, Contender
from benchmarks.errors import BenchError
from benchmarks.frames import Template
from benchmarks.raw import CHANNEL, FILL_WINDOW, RawClient
from tests.support.rabbit import Rabbit
from tests.support.sandbox import Sandbox

ROOT = Path(__file__).resolve().parent.parent
SENDER_S = 300.0
READY_S = 60.0


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured. `messages` is what we are given; slower contenders get their share of it."""

    runs: int = 5
    messages: int = 40_000
    small_backlog: int = 20_000
    large_backlog: int = 500_000
    idle_s: float = 20.0
    sends: int = 500
    queues: int = 200
    quick: bool = False


@dataclass(slots=True)
class Worker:
    """A running worker: its process, its output, and the folder in which its tasks count themselves."""

    process: subprocess.Popen[bytes]
    output: Path
    tally: Path

    @property
    def pid(self) -> int:
        """The process that was started: the node, for us."""
        return self.process.pid

    def check(self) -> None:
        """BenchError when it has ended."""
        if (status := self.process.poll()) is not None:
            raise BenchError(f"the worker ended by itself, status {status}")

    def last_words(self) -> str:
        """The end of what it printed."""
        return self.output.read_text(errors="replace")[-1500:]


class Bench:
    """The broker, the options, and the means."""

    def __init__(self, sandbox: Sandbox, rabbit: Rabbit, options: Options, *, say: Callable[[str], None]) -> None:
        self.sandbox = sandbox
        self.rabbit = rabbit
        self.options = options
        self.say = say
        self.folder = sandbox.folder("bench")
        self._numbers = itertools.count(1)
        self._reference: Template | None = None

    def queue(self, what: str) -> str:
        """A queue name that nobody has used yet."""
        return f"bench-{what}-{next(self._numbers)}"

    def path(self, name: str) -> Path:
        """A path in the run's folder that nobody has used yet."""
        return self.folder / f"{next(self._numbers)}-{name}"

    def raw(self) -> RawClient:
        """A bare connection to the broker."""
        return RawClient(self.rabbit.port)

    def environ(self, queue: str, contender: Contender | None = None, **more: str) -> dict[str, str]:
        """The environment of an app: nothing of ours that the caller's shell may have set reaches it."""
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("AMQTASK_", "CELERY_"))}
        environ |= {"BENCH_BROKER": self.rabbit.url(), "BENCH_QUEUE": queue, "PYTHONPATH": str(ROOT)}
        return environ | dict(contender.environ if contender else {}) | more

    def send(self, contender: Contender, queue: str, *command: str, **more: str) -> dict[str, float | str]:
        """Run the contender's sending program to its end; its answer."""
        argv = [sys.executable, "-m", "benchmarks.sender", *command]
        environ = self.environ(queue, contender, **more)
        try:
            done = subprocess.run(argv, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=SENDER_S)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{' '.join(command)} did not end in {SENDER_S:.0f} s") from None
        if done.returncode:
            raise BenchError(f"{' '.join(command)} ended {done.returncode}: {done.stderr[-600:].strip()}")
        answer: dict[str, float | str] = json.loads(done.stdout.splitlines()[-1])
        return answer

    def capture(self, contender: Contender, queue: str) -> Template:
        """Have the contender send one task, which also declares its queue, and take the message off the wire."""
        identity = str(self.send(contender, queue, "one", contender.module)["id"])
        with self.raw() as client:
            properties, body = client.take(queue)
        return Template(properties, body, identity)

    def reference(self) -> Template:
        """The message that the ceilings send and consume: ours, or Celery's when ours cannot be had."""
        if self._reference is None:
            queue = self.queue("reference")
            try:
                self._reference = self.capture(OURS, queue)
            except BenchError:
                self._reference = self.capture(CELERY, queue)
            self.delete(queue)
        return self._reference

    def fill(self, queue: str, template: Template, count: int) -> None:
        """Put `count` copies of a message into a queue, each under an id of its own, all confirmed."""
        with self.raw() as client:
            copies = template.copies(count, channel=CHANNEL, routing_key=queue, frame_max=client.frame_max)
            client.publish(copies, window=FILL_WINDOW)
            if (found := client.depth(queue)) != count:
                raise BenchError(f"queue {queue!r} holds {found} of {count} messages after it was filled")
        self.settle()

    def settle(self) -> None:
        """Wait until the broker has nothing left to do for what came before, ten seconds at most."""
        broker = [self.rabbit.pid or 0]
        for _ in range(50):
            used = procfs.cpu_s(broker)
            time.sleep(0.2)
            if procfs.cpu_s(broker) - used <= 0.02:
                return

    def delete(self, *queues: str) -> None:
        """Delete queues and what dead-letter queues our naming gives them."""
        with self.raw() as client:
            for queue in queues:
                client.delete(queue)
                client.delete(f"{queue}.dlq")

    @contextlib.contextmanager
    def worker(
        self, contender: Contender, queue: str, executors: int, *, argv: list[str] | None = None, **more: str
    ) -> Iterator[Worker]:
        """A worker of the contender's on that queue, stopped at the end."""
        tally, output = self.path("tally"), self.path("output")
        tally.mkdir()
        environ = self.environ(queue, contender, BENCH_TALLY=str(tally), **more)
        with output.open("wb") as stream:
            process = self.sandbox.spawn(
                argv or contender.worker(queue, executors), env=environ, cwd=ROOT, stdout=stream, stderr=stream
            )
        worker = Worker(process, output, tally)
        try:
            yield worker
        except BenchError as error:
            raise BenchError(f"{error}; {contender.name}'s worker said: {worker.last_words()}") from None
        finally:
            self.sandbox.terminate(process, timeout_s=15)

    def wait_consumers(self, queue: str, *workers: Worker) -> None:
        """Wait until a queue has a consumer of each of these workers, which have one slot or one channel a queue."""
        end = time.monotonic() + READY_S
        with self.raw() as client:
            while client.consumers(queue) < len(workers):
                for worker in workers:
                    worker.check()
                if time.monotonic() > end:
                    raise BenchError(f"no consumer came to queue {queue!r} in {READY_S:.0f} s")
                time.sleep(0.02)


class ReadySocket:
    """A NOTIFY_SOCKET that waits for READY=1, as systemd would."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.environ = {"NOTIFY_SOCKET": str(path)}

    def __enter__(self) -> ReadySocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def wait(self, worker: Worker, *, timeout_s: float = READY_S) -> None:
        """Return when READY=1 has come."""
        end = time.monotonic() + timeout_s
        self._socket.settimeout(0.5)
        while time.monotonic() < end:
            worker.check()
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in self._socket.recv(65536).split(b"\n"):
                    return
        raise BenchError(f"no READY=1 in {timeout_s:.0f} s")


def in_turns(
    bench: Bench, what: str, takers: Mapping[str, Callable[[], float]], *, runs: int | None = None
) -> dict[str, list[float | None]]:
    """Take every figure once a run, all contenders in turn, so that a slow minute of the machine hits all alike.

    A failure is reported and leaves a gap; a contender that has failed twice is not tried again.
    """
    figures: dict[str, list[float | None]] = {who: [] for who in takers}
    for run in range(runs or bench.options.runs):
        for who, take in takers.items():
            if figures[who].count(None) >= 2:
                figures[who].append(None)
                continue
            try:
                figures[who].append(take())
                bench.say(f"{what}: run {run + 1}: {who}: {figures[who][-1]:,.4g}")
            except BenchError as error:
                figures[who].append(None)
                bench.say(f"{what}: run {run + 1}: {who}: FAILED: {error}")
    return figures


def wire_copy(template: Template) -> str:
    """A captured message as text, for the environment of `pika_app`."""
    return json.dumps(
        {
            "properties": base64.b64encode(template.properties).decode(),
            "body": base64.b64encode(template.body).decode(),
        }
    )
