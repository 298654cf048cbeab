"""Signals of the node: turned into calls on the loop by a wake-up descriptor. Loop-confined.

A Python signal handler runs between any two bytecodes, also inside pika, and whatever it then calls in pika can find a
half-changed state. So handlers do nothing, the interpreter writes the signal's number to a pipe, and the loop reads it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping


class Signals:
    """Which signal calls what, from `start` to `stop`."""

    def __init__(self, actions: Mapping[signal.Signals, Callable[[], None]]) -> None:
        self._actions = dict(actions)
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._before: dict[signal.Signals, object] = {}

    def fileno(self) -> int:
        """The descriptor to watch."""
        return self._reader

    def start(self) -> None:
        """Catch the signals from now on. Only in the main thread."""
        for number in self._actions:
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup
            # The number has gone to the wake-up descriptor by then; the loop does the rest.
            self._before[number] = signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def stop(self) -> None:
        """Put back what was there."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal itself returned
        os.close(self._reader)
        os.close(self._writer)

    def readable(self) -> None:
        """Run what the arrived signals ask for, each kind once: a second SIGCHLD says no more than the first."""
        numbers: dict[int, int] = {}
        with contextlib.suppress(BlockingIOError):
            for number in os.read(self._reader, 4096):
                numbers[number] = numbers.get(number, 0) + 1
        for number, times in numbers.items():
            action = self._actions.get(signal.Signals(number))
            if action is None:
                continue
            # A second Ctrl-C asks for more than the first, so those are not merged.
            for _ in range(1 if number == signal.SIGCHLD else times):
                action()
