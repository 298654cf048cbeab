"""Starts planned nodes detached from this process and waits until each is ready, ended or late. One thread.

A node is a session of its own with nothing on its standard input and its log file behind its outputs, so it lives on
when this process, its terminal and its shell are gone.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from amqtask.clock import Clock
from amqtask.node.multi.inbox import Inbox
from amqtask.node.multi.plan import PathUnusable, PlannedNode
from amqtask.node.pidfile import holder

LOOK_S = 0.2  # how often `watch` is called while nothing happens
TAIL_LINES = 15
TAIL_BYTES = 16_384
# What a service manager told this process about itself is not meant for the nodes.
NOT_INHERITED = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


@dataclass(frozen=True, slots=True)
class Started:
    """What became of one start.

    `state`: `ready`; `failed` (it ended, with `exit_code`, negative for a signal; `text` is what it wrote); `starting`
    (not ready in time, left running; `text` is its last status); `taken` (its pid file is held by `pid`).
    """

    node: PlannedNode
    state: str
    pid: int | None
    took_s: float
    text: str = ""
    exit_code: int | None = None


@dataclass(slots=True)
class _Starting:
    node: PlannedNode
    pid: int
    pidfd: int
    began: float
    log_offset: int
    status: str = ""


Watch = Callable[[Sequence[Started], Mapping[str, str]], None]


class Starter:
    """Starts nodes, at most `parallel` of them at a time.

    `command` is what runs `amqtask` (see `amqtask_command`). `watch` is told what has been started, and the name and
    last status of what is starting, whenever that changes and every LOOK_S seconds.
    """

    def __init__(
        self, command: Sequence[str], *, environ: Mapping[str, str], parallel: int, clock: Clock, watch: Watch
    ) -> None:
        self._command = tuple(command)
        self._environ = {key: value for key, value in environ.items() if key not in NOT_INHERITED}
        self._parallel = parallel
        self._clock = clock
        self._watch = watch
        self._starting: dict[int, _Starting] = {}
        self._started: dict[str, Started] = {}

    def start(self, nodes: Sequence[PlannedNode], *, timeout_s: float) -> list[Started]:
        """Start all; each may take `timeout_s` seconds to be ready. In the order of `nodes`.

        Raises PathUnusable when a log file cannot be opened; what is up by then stays up.
        """
        waiting = deque(nodes)
        inbox = Inbox()
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(inbox, selectors.EVENT_READ)
                while waiting or self._starting:
                    while waiting and len(self._starting) < self._parallel:
                        self._begin(waiting.popleft(), inbox, selector)
                    self._watch(list(self._started.values()), self._statuses())
                    if self._starting:
                        ready = selector.select(LOOK_S)
                        self._hear(inbox, selector)
                        self._bury([key.data for key, _ in ready if key.data is not None], selector)
                        self._give_up(timeout_s, selector)
        finally:
            inbox.close()
            for one in self._starting.values():
                os.close(one.pidfd)
        return [self._started[str(node.name)] for node in nodes]

    def _begin(self, node: PlannedNode, inbox: Inbox, selector: selectors.BaseSelector) -> None:
        pid = holder(str(node.pidfile))
        if pid is not None:
            text = f"{node.pidfile} is held by process {pid}"
            self._started[str(node.name)] = Started(node, "taken", pid, 0.0, text)
            return
        with _open_log(node.logfile) as log:
            offset = log.seek(0, os.SEEK_END)
            pid = spawn(
                [*self._command, "worker", *node.arguments],
                environ={**self._environ, "NOTIFY_SOCKET": inbox.address},
                output=log.fileno(),
            )
        one = _Starting(node, pid, os.pidfd_open(pid), self._clock.monotonic(), offset)
        self._starting[pid] = one
        selector.register(one.pidfd, selectors.EVENT_READ, one)

    def _hear(self, inbox: Inbox, selector: selectors.BaseSelector) -> None:
        for notice in inbox.notices():
            one = self._starting.get(notice.pid)
            if one is None:
                continue
            one.status = notice.fields.get("STATUS", one.status)
            if notice.fields.get("READY") == "1":
                self._end(one, "ready", selector, text=one.status)

    def _bury(self, ended: Sequence[_Starting], selector: selectors.BaseSelector) -> None:
        for one in ended:
            if one.pid in self._starting:
                _, status = os.waitpid(one.pid, 0)
                code = os.waitstatus_to_exitcode(status)
                text = tail(one.node.logfile, one.log_offset)
                self._end(one, "failed", selector, text=text, exit_code=code)

    def _give_up(self, timeout_s: float, selector: selectors.BaseSelector) -> None:
        now = self._clock.monotonic()
        for one in list(self._starting.values()):
            if now - one.began > timeout_s:
                self._end(one, "starting", selector, text=one.status)

    def _end(
        self,
        one: _Starting,
        state: str,
        selector: selectors.BaseSelector,
        *,
        text: str,
        exit_code: int | None = None,
    ) -> None:
        took_s = self._clock.monotonic() - one.began
        self._started[str(one.node.name)] = Started(one.node, state, one.pid, took_s, text, exit_code)
        del self._starting[one.pid]
        selector.unregister(one.pidfd)
        os.close(one.pidfd)

    def _statuses(self) -> dict[str, str]:
        return {one.node.name.short: one.status for one in self._starting.values()}


def amqtask_command() -> tuple[str, ...]:
    """What runs `amqtask` with this interpreter. -P: no file in the current folder may pass for a module."""
    return (sys.executable, "-P", "-m", "amqtask")


def spawn(argv: Sequence[str], *, environ: Mapping[str, str], output: int) -> int:
    """Start a program detached, its outputs on the descriptor `output`. Returns its pid."""
    return os.posix_spawn(
        argv[0],
        list(argv),
        dict(environ),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
        ],
        setsid=True,
        # Python ignores these two for itself, and a program inherits what is ignored.
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        setsigmask=[],
    )


def tail(path: Path, offset: int) -> str:
    """The last lines of a file behind `offset`."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(offset, end - TAIL_BYTES))
        text = file.read().decode("utf-8", "replace")
        return "\n".join(text.strip().splitlines()[-TAIL_LINES:])
    return ""


def _open_log(path: Path) -> FileIO:
    try:
        return path.open("ab", buffering=0)
    except OSError as error:
        raise PathUnusable(f"log file {path}: {error.strerror}") from error
