"""What a send hands back: the broker's answer, now or later, for any thread and for asyncio.

The I/O thread writes the outcome once; any number of threads may wait for it. There is no lock and no event object
until somebody waits: who waits leaves word first and looks at the outcome second, the I/O thread writes the outcome
first and looks for word second, so one of the two always sees the other. Taking a listener off the list is atomic, so
each is called once.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from amqtask.clock import SYSTEM
from amqtask.errors import AmqtaskError, Fate, PublishUncertain
from amqtask.transport.log import EventLog

log = EventLog("amqtask.publish")

# The outbox ends every message by its deadline. A wait that lasts this much longer has lost its I/O thread.
OVERDUE_S = 1.0


class Confirmation:
    """The outcome of one send. `id` is the message's id."""

    __slots__ = ("_deadline", "_done", "_error", "_listeners", "id")

    def __init__(self, message_id: str, *, deadline: float) -> None:
        self.id = message_id
        self._deadline = deadline  # by the clock's monotonic
        self._done = False
        self._error: AmqtaskError | None = None
        self._listeners: list[Callable[[], object]] = []

    def done(self) -> bool:
        """Whether the outcome is known."""
        return self._done

    @property
    def error(self) -> AmqtaskError | None:
        """What `result` would raise; None while the send is under way, and when the broker has taken it."""
        return self._error

    @property
    def fate(self) -> Fate | None:
        """What became of a message that was not accepted; None while it is under way, and when it was."""
        fate = getattr(self._error, "fate", None)
        return fate if isinstance(fate, Fate) else None

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block until the outcome is known; False when `timeout_s` seconds pass first.

        Without a timeout it is the send's own deadline that bounds it; so it is in a forked child that waits for what
        its parent sent. Not for the I/O thread, which it would block.
        """
        if self._done:
            return True
        bound_s = max(0.0, self._deadline - SYSTEM.monotonic()) + OVERDUE_S
        lock = threading.Lock()
        lock.acquire()
        self._listen(lock.release)
        lock.acquire(timeout=bound_s if timeout_s is None else min(max(0.0, timeout_s), bound_s))
        if not self._done and SYSTEM.monotonic() >= self._deadline + OVERDUE_S:
            self.settle(PublishUncertain("no outcome: the thread that sends is gone", message_id=self.id))
        return self._done

    def result(self, timeout_s: float | None = None) -> str:
        """The message's id, once the broker has taken it.

        Raises:
            AmqtaskError: it was not accepted; its `fate` says what became of it.
            TimeoutError: `timeout_s` passed before the outcome was known. The send goes on.
        """
        if not self.wait(timeout_s):
            raise TimeoutError(f"message {self.id} is not confirmed yet")
        if self._error is not None:
            raise self._error
        return self.id

    def add_done_callback(self, fn: Callable[[Confirmation], object]) -> None:
        """Call `fn(self)` once the outcome is known: on the I/O thread, or here and now if it is known already.

        It must not block. What it raises is logged, as nobody is there to catch it.
        """
        self._listen(partial(self._call, fn))

    def __await__(self) -> Generator[Any, None, str]:
        if not self._done:
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            self._listen(partial(_wake, loop, future))
            yield from future
        return self.result(0)

    def settle(self, error: AmqtaskError | None) -> None:
        """For whoever sends it: the outcome. Only the first one counts."""
        if not self._done:
            self._error = error
            self._done = True
            if self._listeners:
                self._tell()

    def _listen(self, fn: Callable[[], object]) -> None:
        self._listeners.append(fn)
        if self._done:
            self._tell()

    def _tell(self) -> None:
        while self._listeners:
            try:
                fn = self._listeners.pop(0)
            except IndexError:  # the other thread was faster
                return
            fn()

    def _call(self, fn: Callable[[Confirmation], object]) -> None:
        try:
            fn(self)
        except Exception:
            log.exception("confirmation.callback_failed", message_id=self.id)


def _wake(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
        loop.call_soon_threadsafe(_set, future)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():  # it may have been cancelled
        future.set_result(None)
