"""How many messages a queue may have with us unsettled: decided purely, from what its tasks have lasted.

RabbitMQ hands over as many unacknowledged messages as the prefetch allows. Long tasks get exactly one per free slot, so
that no message waits here while another node idles. For short ones that would cost a round trip per task, so they get a
few milliseconds' worth on top.
"""

from __future__ import annotations

from dataclasses import dataclass

RAISE_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class CreditPolicy:
    """The rule of one pool.

    `slots`: tasks that run at once. `ahead_s`: how many seconds of work may wait here. `max_ahead`: messages that may
    wait at most; more brings no speed (raw drain by prefetch 2, 8, 64, 256 on one queue: 3.1, 5.3, 7.7, 9.6 k/s).
    `max_bytes`: what may wait, in bytes. `fixed`: a prefetch that the configuration fixes.
    """

    slots: int
    ahead_s: float = 0.025
    max_ahead: int = 256
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
        return 1 + min(self.max_ahead // 4, int(self.ahead_s / 4 / max(runtime_s, 1e-5)))


def worth_changing(current: int, wanted: int, since_lowered_s: float, *, slots: int) -> bool:
    """Whether a new prefetch is worth the cancel, qos and consume that it takes (about 3 ms without deliveries).

    Down, and up to one message per slot: at once. Further up: not for `RAISE_PAUSE_S` after it went down, or a queue of
    short tasks with a long one among them here and there would change its consumer with every tick.
    """
    if wanted == current:
        return False
    if wanted <= slots:
        return True
    if wanted < current:
        return 2 * wanted <= current
    return since_lowered_s >= RAISE_PAUSE_S and (current <= slots or wanted >= 2 * current)
