"""A bulk send: many messages from one thread with their confirms pipelined, bounded in memory, each outcome by name."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType

from amqtask.clock import SYSTEM
from amqtask.errors import (
    AmqtaskError,
    BatchFailed,
    BrokerError,
    ConnectionLost,
    Fate,
    MessageTooLarge,
    PublishUncertain,
)
from amqtask.publish.confirmation import Confirmation
from amqtask.publish.entry import Entry, RetryOptions
from amqtask.wire.message import Encoded

# Messages that one pipeline has under way. More than the outbox's window, so that it never runs dry.
AHEAD = 8192
AHEAD_BYTES = 32 * 1024 * 1024
PATIENCE_S = 5.0
HAND_OVER = 256  # messages handed to the I/O thread at a time: each hand-over may cost a change of threads

MakeEntry = Callable[[Encoded, str, str, float | None, bool | None, RetryOptions | None], tuple[Confirmation, Entry]]


class Pipeline:
    """`send` any number of messages, then `finish`; or use it as a context manager, which finishes at its end.

    Each message has a whole deadline for itself, from its `send` on. When nothing has been confirmed for PATIENCE_S and
    a message fails for want of a broker, what follows fails at once: a bulk send of any length ends soon after the
    broker is gone. For one thread.
    """

    def __init__(self, make_entry: MakeEntry, hand_over: Callable[[Sequence[Entry]], None]) -> None:
        self._make_entry = make_entry
        self._hand_over = hand_over
        self._ids: list[str] = []
        self._failures: dict[int, AmqtaskError] = {}
        self._held: list[Entry] = []
        self._under_way: deque[tuple[int, int, Confirmation]] = deque()
        self._bytes = 0
        self._confirmed_at = SYSTEM.monotonic()
        self._broken: AmqtaskError | None = None

    def send(
        self,
        message: Encoded,
        *,
        exchange: str,
        routing_key: str,
        deadline_s: float | None = None,
        retry: bool | None = None,
        retry_policy: RetryOptions | None = None,
    ) -> None:
        """Add one message. Blocks while too many are under way. `finish` names what fails, also what is too large."""
        position = len(self._ids)
        self._ids.append(message.id)
        if self._broken is not None:
            text = f"message {message.id} was not sent: {self._broken}"
            self._failures[position] = ConnectionLost(text, fate=Fate.NOT_SENT)
            return
        try:
            confirmation, entry = self._make_entry(message, exchange, routing_key, deadline_s, retry, retry_policy)
        except MessageTooLarge as error:
            self._failures[position] = error
            return
        self._under_way.append((position, entry.size, confirmation))
        self._bytes += entry.size
        self._held.append(entry)
        full = len(self._under_way) > AHEAD or self._bytes > AHEAD_BYTES
        if full or len(self._held) >= HAND_OVER:
            self._flush()
        if full:
            self._make_room()

    def finish(self) -> list[str]:
        """Wait for all outcomes; returns the ids in the order of sending.

        Raises:
            BatchFailed: `failures` maps the position of each message that was not accepted to its error.
        """
        self._flush()
        if self._under_way:
            self._under_way[-1][2].wait()  # mostly the last to be confirmed: one wait for all
        while self._under_way:
            self._take_oldest()
        if self._failures:
            raise BatchFailed(dict(sorted(self._failures.items())), sent=len(self._ids))
        return self._ids

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
        else:
            self._flush()  # what was sent before the exception was sent; its outcome is nobody's business any more

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, []
            self._hand_over(held)

    def _make_room(self) -> None:
        """Wait until half of what is under way has its outcome: one change of threads for thousands of messages."""
        self._under_way[len(self._under_way) // 2][2].wait()
        while len(self._under_way) > AHEAD // 2 or self._bytes > AHEAD_BYTES // 2:
            self._take_oldest()

    def _take_oldest(self) -> None:
        position, size, confirmation = self._under_way.popleft()
        confirmation.wait()
        self._bytes -= size
        error = confirmation.error
        if error is None:
            self._confirmed_at = SYSTEM.monotonic()
            return
        self._failures[position] = error
        if isinstance(error, BrokerError | PublishUncertain) and SYSTEM.monotonic() - self._confirmed_at >= PATIENCE_S:
            self._broken = error
