"""The single-threaded loop that everything bound to a broker connection runs on: pika's selector, driven by us.

Only the thread inside `run()` may touch a Loop, or anything that lives on it; `call_soon_threadsafe` is the one door
for other threads. We drive pika's selector ourselves so that hooks can run between its turns: writes, acks and
confirms are batched per turn, which is where most of the speed comes from.

An exception in any handler ends `run()` with that exception: a loop that goes on after a bug in it would sit there
with half of its state. pika's transport swallows what its callbacks raise (it logs and drops the connection), so code
that pika calls reports through `fail`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from pika.adapters.select_connection import IOLoop
from pika.adapters.utils.selector_ioloop_adapter import SelectorIOServicesAdapter

Callback = Callable[[], None]


class Timer:
    """One pending `call_later`. `cancel()` may be called at any time, also after it has fired."""

    __slots__ = ("_fn", "_handle", "_ioloop")

    def __init__(self, ioloop: IOLoop, seconds: float, fn: Callback) -> None:
        self._ioloop = ioloop
        self._fn: Callback | None = fn
        self._handle = ioloop.call_later(max(0.0, seconds), self._fire)

    @property
    def active(self) -> bool:
        """Whether it will still fire."""
        return self._fn is not None

    def cancel(self) -> None:
        """Make it never fire. Idempotent."""
        if self._fn is not None:
            self._fn = None
            self._ioloop.remove_timeout(self._handle)

    def _fire(self) -> None:
        fn, self._fn = self._fn, None
        if fn is not None:
            fn()


class Loop:
    """pika's selector with hooks at the end of each turn.

    `run()` returns after `stop()`, or raises what a handler raised. After that only `close()` may be called.
    """

    def __init__(self) -> None:
        quiet_pika()
        self.ioloop = IOLoop()
        self.services = SelectorIOServicesAdapter(self.ioloop)  # what pika's connections take as their loop
        self._hooks: list[Callback] = []
        self._last_hooks: list[Callback] = []
        self._turn: tuple[Callback, ...] = ()
        self._stopping = False
        self._failure: BaseException | None = None

    def call_later(self, seconds: float, fn: Callback) -> Timer:
        """Call `fn` once, `seconds` from now."""
        return Timer(self.ioloop, seconds, fn)

    def call_soon(self, fn: Callback) -> None:
        """Call `fn` in the next turn. For this loop's own thread."""
        self.ioloop.call_later(0, fn)

    def call_soon_threadsafe(self, fn: Callback) -> None:
        """Call `fn` on the loop as soon as possible. For any thread, and for signal-free code only: it takes a lock.

        Does nothing on a closed loop.
        """
        self.ioloop.add_callback_threadsafe(fn)

    def add_reader(self, fd: int, fn: Callback) -> None:
        """Call `fn` whenever `fd` is readable or hung up. Replaces an earlier reader of `fd`."""
        self.services.set_reader(fd, fn)

    def remove_reader(self, fd: int) -> None:
        """Forget `fd`'s reader. Must come before `fd` is closed. Does nothing when there is none."""
        self.services.remove_reader(fd)

    def add_writer(self, fd: int, fn: Callback) -> None:
        """Call `fn` whenever `fd` is writable. Replaces an earlier writer of `fd`."""
        self.services.set_writer(fd, fn)

    def remove_writer(self, fd: int) -> None:
        """Forget `fd`'s writer. Must come before `fd` is closed. Does nothing when there is none."""
        self.services.remove_writer(fd)

    def after_iteration(self, fn: Callback, *, last: bool = False) -> None:
        """Call `fn` at the end of each turn, in order of registration.

        `last` is the transport's: its hooks write out what all others have left, so they run after them.
        """
        (self._last_hooks if last else self._hooks).append(fn)
        self._turn = (*self._hooks, *self._last_hooks)

    def remove_after_iteration(self, fn: Callback) -> None:
        """Stop calling `fn`. Does nothing when it is not registered."""
        for hooks in (self._hooks, self._last_hooks):
            if fn in hooks:
                hooks.remove(fn)
        self._turn = (*self._hooks, *self._last_hooks)

    def run(self) -> None:
        """Serve until `stop()`. Raises whatever a handler, hook or timer raised, and what was handed to `fail`."""
        ioloop = self.ioloop
        ioloop.activate_poller()
        try:
            while not self._stopping:
                ioloop.poll()
                ioloop.process_timeouts()
                for hook in self._turn:
                    hook()
                if self._failure is not None:
                    raise self._failure
        finally:
            self._stopping = False
            ioloop.deactivate_poller()

    def stop(self) -> None:
        """Make `run()` return at the end of this turn."""
        self._stopping = True
        self.call_soon(lambda: None)  # so that the selector does not wait out its time first

    def fail(self, error: BaseException) -> None:
        """Make `run()` raise `error` at the end of this turn: for code that pika calls, see above. First one wins."""
        if self._failure is None:
            self._failure = error
            self.call_soon(lambda: None)

    def close(self) -> None:
        """Release the selector and its descriptors. Only after `run()` has returned or was never entered."""
        self.ioloop.close()

    def abandon(self) -> None:
        """In a forked child: give up the inherited descriptors without a system call that the parent would feel.

        An epoll instance is shared by fork, so unregistering anything in the child unregisters it in the parent too;
        pika's own `close()` does that. Closing the descriptors does not.
        """
        poller = self.ioloop._poller  # noqa: SLF001  pika offers no way to let go without unregistering
        selector = getattr(poller, "_poll", None) or getattr(poller, "_kqueue", None)
        close = getattr(selector, "close", None)
        if close is not None:
            close()
        for end in (poller._r_interrupt, poller._w_interrupt):  # noqa: SLF001  as above
            end.close()


def quiet_pika() -> None:
    """Raise pika's own log level to CRITICAL unless somebody has set one.

    pika logs each refused or lost connection several times as ERROR with a traceback. Those are ordinary here: they are
    translated into our errors and events. The level also makes its many debug calls on the data path cheap.
    """
    logger = logging.getLogger("pika")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
