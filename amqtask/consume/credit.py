"""How many messages a queue may have with us unsettled: decided purely, from what its tasks have lasted.

RabbitMQ hands over as many unacknowledged messages as the prefetch allows. Long tasks get exactly one per free slot, so
that no message waits here while another node idles. For short ones that would cost a round trip per task, so they get a
few milliseconds' worth on top.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_HANDOVER = 64  # packets that wait for one executor: a socket's buffer holds about 90 of a usual size
LOWER_AFTER_S = 0.09  # the tick after the next
RAISE_PAUSE_S = 0.5


@dataclass(frozen=True, slots=True)
class CreditPolicy:
    """The rule of one pool.

    `slots`: tasks that run at once. `ahead_s`: how many seconds of work may wait here. `max_ahead`: messages that may
    wait at most; more brings no speed (docs/decisions/prefetch.md has the figures).
    `max_bytes`: what may wait, in bytes. `fixed`: a prefetch that the configuration fixes.
    """

    slots: int
    ahead_s: float = 0.025
    max_ahead: int = 512
    max_bytes: int = 32 * 1024 * 1024
    fixed: int | None = None

    def prefetch(self, runtime_s: float | None, message_bytes: float) -> int:
        """The prefetch for tasks that last `runtime_s` (None: not known yet) and weigh `message_bytes` each."""
        if self.fixed is not None:
            return self.fixed
        if runtime_s is None:
            return self.slots
        ahead = min(self.max_ahead, int(self.slots * self.ahead_s / max(runtime_s, 1e-5)))
        return self.slots + min(ahead, int(self.max_bytes / max(message_bytes, 1.0)))

    def handover(self, runtime_s: float | None) -> int:
        """How many tasks one executor may be handed at once: 1 for tasks that last, more for those of a millisecond."""
        if runtime_s is None:
            return 1
        return 1 + min(MAX_HANDOVER, int(self.ahead_s / 4 / max(runtime_s, 1e-5)))


class Steps:
    """When the prefetch of one queue follows what is wanted. Each change takes a cancel, a qos and a consume: work for
    the broker, and about 3 ms without deliveries."""

    __slots__ = ("_below_since", "_lowered_at", "_slots")

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._below_since: float | None = None
        self._lowered_at = float("-inf")

    def due(self, current: int, wanted: int, now: float) -> bool:
        """Whether to change it at `now`, in seconds by any clock that never goes back.

        Up to one message per slot: at once. Down: when less has been wanted for `LOWER_AFTER_S`, so that one task that
        lasts a little does not count. Further up: not for `RAISE_PAUSE_S` after it went down, or a queue of short tasks
        with a long one here and there would change its consumer with every tick.
        """
        if wanted < current:
            if 2 * wanted > current and wanted > self._slots:
                return False
            if self._below_since is None:
                self._below_since = now
            return now - self._below_since >= LOWER_AFTER_S
        self._below_since = None
        if wanted == current or wanted <= self._slots:
            return wanted != current
        return now - self._lowered_at >= RAISE_PAUSE_S and (current <= self._slots or wanted >= 2 * current)

    def ack_batch(self, prefetch: int) -> int:
        """How many acknowledgements are worth a write: one each when every message counts, else an eighth of what may
        wait, so that the broker never runs out of room over it."""
        return max(1, (prefetch - self._slots) // 8)

    def taken(self, before: int, after: int, now: float) -> None:
        """It has been changed."""
        self._below_since = None
        if after < before:
            self._lowered_at = now
