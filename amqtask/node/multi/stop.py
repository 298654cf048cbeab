"""Finds the processes of named nodes by their pid files, asks them to stop, and waits for them. One thread.

A pid file is believed only while its process holds the lock on it, and a process is signalled and waited for by a
pidfd: so no other process that has the same number by now is ever touched.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from amqtask.clock import Clock
from amqtask.node.multi.plan import PlannedNode
from amqtask.node.pidfile import holder

LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class Stopped:
    """What became of one stop.

    `state`: `stopped`; `died` (it ended and left its pid file: killed, say); `stopping` (asked; it still runs);
    `not running`; `not permitted` (it, or its pid file, belongs to another user).
    """

    node: PlannedNode
    state: str
    pid: int | None
    took_s: float = 0.0


def running(node: PlannedNode) -> int | None:
    """The pid of the process that is this node, None when it does not run."""
    return holder(str(node.pidfile))


def may_look(node: PlannedNode) -> bool:
    """Whether this user may read the node's pid file, if there is one; where not, `running` knows nothing."""
    try:
        node.pidfile.open("rb").close()
    except PermissionError:
        return False
    except OSError:
        return True
    return True


class Stopper:
    """Stops nodes.

    `watch` is told what has ended and the names of what has not, whenever that changes and every LOOK_S seconds.
    """

    def __init__(self, *, clock: Clock, watch: Callable[[Sequence[Stopped], Mapping[str, str]], None]) -> None:
        self._clock = clock
        self._watch = watch

    def stop(self, nodes: Sequence[PlannedNode], *, wait_s: float) -> list[Stopped]:
        """SIGTERM to each, then wait for at most `wait_s` seconds (0: not at all). In the order of `nodes`."""
        done: dict[str, Stopped] = {}
        asked: dict[str, tuple[PlannedNode, int, int]] = {}
        began = self._clock.monotonic()
        with contextlib.ExitStack() as stack:
            for node in nodes:
                found = _pidfd_of(node)
                if found is None:
                    done[str(node.name)] = Stopped(node, "not running" if may_look(node) else "not permitted", None)
                    continue
                pid, pidfd = found
                stack.callback(os.close, pidfd)
                try:
                    signal.pidfd_send_signal(pidfd, signal.SIGTERM)
                except ProcessLookupError:
                    done[str(node.name)] = Stopped(node, "not running", None)
                except PermissionError:
                    done[str(node.name)] = Stopped(node, "not permitted", pid)
                else:
                    asked[str(node.name)] = (node, pid, pidfd)
            selector = stack.enter_context(selectors.DefaultSelector())
            for name, (_, _, pidfd) in asked.items():
                selector.register(pidfd, selectors.EVENT_READ, name)
            while asked and (left_s := began + wait_s - self._clock.monotonic()) > 0:
                self._watch(list(done.values()), {node.name.short: "" for node, _, _ in asked.values()})
                for key, _ in selector.select(min(LOOK_S, left_s)):
                    node, pid, pidfd = asked.pop(key.data)
                    selector.unregister(pidfd)
                    # The node removes its pid file as the last thing of a stop.
                    left = node.pidfile.exists() and running(node) is None
                    state = "died" if left else "stopped"
                    done[key.data] = Stopped(node, state, pid, self._clock.monotonic() - began)
        took_s = self._clock.monotonic() - began
        for name, (node, pid, _) in asked.items():
            done[name] = Stopped(node, "stopping", pid, took_s)
        return [done[str(node.name)] for node in nodes]


def _pidfd_of(node: PlannedNode) -> tuple[int, int] | None:
    pid = running(node)
    if pid is None:
        return None
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    # Between the two steps it may have ended and its number been given away; what holds the file now is what we opened.
    if running(node) != pid:
        os.close(pidfd)
        return None
    return pid, pidfd
