"""The node's side of the template: starts it, learns the plan, asks for executors, restarts it. Loop-confined.

The first start happens before there is a loop or a connection (`boot`), because nothing can be connected to before the
plan is known. Later ones happen on the loop. Executors outlive their template.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from amqtask.clock import Clock
from amqtask.errors import AmqtaskError
from amqtask.pool import link, process
from amqtask.pool.handle import ExecutorHandle

log = structlog.get_logger("amqtask.pool")

FORK_LATE_S = 20.0  # a template that has not forked for so long is stuck: a fork takes milliseconds


class BootFailed(AmqtaskError):
    """The app could not be imported, or its configuration is wrong. `ours`: the message says it all."""

    def __init__(self, message: str, *, ours: bool, traceback: str = "") -> None:
        super().__init__(message)
        self.ours = ours
        self.traceback = traceback


class BootTimedOut(AmqtaskError):
    """The app's import did not end in time."""


class Loop(Protocol):
    """The part of the loop that this needs."""

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        """Call back whenever `fd` can be read."""

    def remove_reader(self, fd: int) -> None:
        """Stop that."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> object:
        """Call back once, later."""


class Owner(Protocol):
    """Who gets the executors: told what became of each request."""

    def forked(self, executor: ExecutorHandle, pid: int) -> None:
        """The process exists."""

    def lost(self, executor: ExecutorHandle, why: str) -> None:
        """It could not be made."""

    def reaped(self, pid: int, status: int) -> bool:
        """It has ended."""


class Template:
    """The template process, and the requests that it has not answered."""

    def __init__(self, request: dict[str, Any], *, clock: Clock) -> None:
        self._request = request
        self._clock = clock
        # Until the template has read the settings, which it does before it imports the app.
        self._boot_timeout_s = 120.0
        self._backoff_max_s = 30.0
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._loop: Loop | None = None
        self._booted = False
        self._started_at = 0.0
        self._failures = 0
        self._next_id = 0
        self._asked: dict[int, tuple[ExecutorHandle, Owner, float]] = {}
        self._waiting: list[tuple[ExecutorHandle, Owner]] = []
        self._unclaimed: dict[int, int] = {}  # processes that ended before we were told whose they are
        self._closed = False

    def boot(self) -> dict[str, Any]:
        """Start it and wait for the plan; blocks for at most the boot timeout.

        Raises BootFailed when the import or the configuration failed, BootTimedOut when it did not end in time.
        """
        self._spawn()
        answer = self._receive()
        if answer is not None and "booting" in answer:
            self._learn(answer)
            answer = self._receive()
        if answer is None:
            assert self._process is not None
            status = self._process.wait()
            how = f"exit {status}" if status >= 0 else f"signal {-status}"
            raise BootFailed(f"the process that imports the app died: {how}", ours=False)
        if "error" in answer:
            self._kill()
            raise BootFailed(answer["error"], ours=answer["ours"], traceback=answer["traceback"])
        self._booted = True
        return answer

    def attach(self, loop: Loop) -> None:
        """From here on answers are read on the loop."""
        self._loop = loop
        assert self._control is not None
        self._control.setblocking(False)
        loop.add_reader(self._control.fileno(), self._readable)
        loop.call_later(1.0, self._check)

    @property
    def pid(self) -> int | None:
        """The template's pid, None while there is none."""
        return self._process.pid if self._process else None

    def ask(self, executor: ExecutorHandle, owner: Owner) -> None:
        """Have an executor made; `owner` is told."""
        if self._control is None or not self._booted:
            self._waiting.append((executor, owner))
            return
        self._next_id += 1
        try:
            link.send_document(self._control, {"id": self._next_id}, [executor.far.fileno()])
        except BlockingIOError:
            self._waiting.append((executor, owner))
            return
        except (BrokenPipeError, ConnectionResetError):
            # Its death comes by the signal, or by the reader of the same socket: not from within whoever asks.
            self._waiting.append((executor, owner))
            return
        self._asked[self._next_id] = (executor, owner, self._clock.monotonic())

    def close(self) -> None:
        """End it; executors stay."""
        self._closed = True
        if self._control is not None and self._loop is not None:
            self._loop.remove_reader(self._control.fileno())
        self._kill()

    def reaped(self, pid: int, status: int) -> bool:
        """A child ended. True when it was the template."""
        if self._process is None or pid != self._process.pid:
            return False
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if not self._closed:
            self._died(process.how_it_ended(status))
        return True

    def unclaimed(self, pid: int, status: int) -> None:
        """A child of nobody's ended: an executor, perhaps, that died before the template could say that it made it."""
        if self._asked:
            self._unclaimed[pid] = status

    # -- inside ----------------------------------------------------------------------------------------------------

    def _receive(self) -> dict[str, Any] | None:
        assert self._control is not None
        ready, _, _ = select.select([self._control], [], [], self._boot_timeout_s)
        if not ready:
            self._kill()
            raise BootTimedOut(
                f"the app's import did not end within {self._boot_timeout_s:g} s (worker.boot_timeout_s)"
            )
        return _document(self._control)

    def _learn(self, answer: dict[str, Any]) -> None:
        self._boot_timeout_s = answer["booting"]["boot_timeout_s"]
        self._backoff_max_s = answer["booting"]["backoff_max_s"]

    def _spawn(self) -> socket.socket:
        ours, theirs = link.pair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "amqtask.pool.template", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._control = ours
        self._booted = False
        self._started_at = self._clock.monotonic()
        link.send_document(ours, self._request)
        return ours

    def _kill(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            if self._loop is None:
                self._process.wait()
            else:
                # Nothing on the loop may wait for a process to be torn down; the signal of its end finds it gone here.
                self._process.returncode = -signal.SIGKILL
        self._process = None

    def _readable(self) -> None:
        try:
            while self._control is not None:
                answer = _document(self._control)
                if answer is None:
                    self._died("its socket is closed")
                else:
                    self._answered(answer)
        except BlockingIOError:
            self._ask_waiting()

    def _answered(self, answer: dict[str, Any]) -> None:
        if "booting" in answer:
            self._learn(answer)
            return
        if "plan" in answer:
            self._booted = True
            self._failures = 0
            log.info("template.started", pid=self.pid, took_s=answer["took_s"])
            return
        if "id" not in answer:
            log.error("template.import_failed", error=answer["error"])
            return  # it ends by itself, and is started again with a delay
        executor, owner, _ = self._asked.pop(answer["id"])
        if "pid" in answer:
            pid = answer["pid"]
            owner.forked(executor, pid)
            if pid in self._unclaimed:
                owner.reaped(pid, self._unclaimed.pop(pid))
        else:
            owner.lost(executor, answer["error"])
        if not self._asked:
            self._unclaimed.clear()

    def _ask_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for executor, owner in waiting:
            self.ask(executor, owner)

    def _died(self, how: str) -> None:
        if self._control is None:
            return
        assert self._loop is not None
        self._loop.remove_reader(self._control.fileno())
        self._kill()
        self._again(how)
        # What was asked and not answered: the process may have been made or not, and its socket is gone with its pid.
        asked, self._asked = self._asked, {}
        self._unclaimed.clear()
        for executor, owner, _ in asked.values():
            if not executor.ready:
                owner.lost(executor, "the template died")

    def _again(self, how: str) -> None:
        assert self._loop is not None
        delay_s = min(self._backoff_max_s, 0.2 * 2 ** min(self._failures, 16))
        self._failures += 1
        log.warning("template.died", how=how, restart_in_s=delay_s, waiting=len(self._asked) + len(self._waiting))
        self._loop.call_later(delay_s, self._respawn)

    def _respawn(self) -> None:
        if self._closed or self._control is not None:
            return
        assert self._loop is not None
        try:
            control = self._spawn()
        except OSError as error:  # no process, no memory, no descriptor: later, perhaps
            self._kill()
            self._again(f"it could not be started: {error.strerror}")
            return
        control.setblocking(False)
        self._loop.add_reader(control.fileno(), self._readable)

    def _check(self) -> None:
        """Once a second: a template that hangs is killed, and with it comes a new one."""
        if self._closed or self._loop is None:
            return
        now = self._clock.monotonic()
        late = [since for _, _, since in self._asked.values() if now - since > FORK_LATE_S]
        hangs = self._control is not None and not self._booted and now - self._started_at > self._boot_timeout_s
        if late or hangs:
            self._died("it hangs")
        self._loop.call_later(1.0, self._check)


def _document(control: socket.socket) -> dict[str, Any] | None:
    """The template's next document; None: it is gone, perhaps without having read all that it was sent."""
    try:
        return link.receive_document(control)[0]
    except ConnectionResetError:
        return None
