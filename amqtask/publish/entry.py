"""One message on its way to the broker: what is sent where, until when, and what has become of it. Loop-confined."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from amqtask.errors import AmqtaskError, SettingsError
from amqtask.wire.message import Encoded

if TYPE_CHECKING:
    from amqtask.settings import PublishSettings

# Some fields of a policy under Celery's names: max_retries, interval_start, interval_step, interval_max.
RetryOptions = Mapping[str, object]

_GONE = Encoded(id="", properties=b"", body=b"")
_CELERY_FIELDS = {
    "max_retries": "max_retries",
    "interval_start": "interval_start_s",
    "interval_step": "interval_step_s",
    "interval_max": "interval_max_s",
}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a message that was written, and whose connection was then lost, is sent again under the same id.

    `max_retries` None: as often as the deadline allows. Pauses in seconds: the first `interval_start_s`, each further
    one `interval_step_s` longer, none over `interval_max_s`. A message that was never written is no retry: it waits
    for a connection until its deadline.
    """

    max_retries: int | None = 3
    interval_start_s: float = 0.0
    interval_step_s: float = 0.2
    interval_max_s: float = 0.2

    @classmethod
    def of(cls, settings: PublishSettings) -> RetryPolicy:
        """The policy that the settings say."""
        policy = settings.retry_policy
        return cls(policy.max_retries, policy.interval_start_s, policy.interval_step_s, policy.interval_max_s)

    def changed(self, options: RetryOptions) -> RetryPolicy:
        """This policy with what `options` say. Raises SettingsError: unknown name, or no number."""
        for name, value in options.items():
            whole = name == "max_retries"
            if name not in _CELERY_FIELDS:
                raise SettingsError(f"unknown: {name!r}; known: {', '.join(_CELERY_FIELDS)}", where="retry_policy")
            if isinstance(value, bool) or not isinstance(value, int | None if whole else int | float):
                raise SettingsError(f"{name} must be a number, not {value!r}", where="retry_policy")
        return replace(self, **{_CELERY_FIELDS[name]: value for name, value in options.items()})  # type: ignore[arg-type]

    def allows(self, retry: int) -> bool:
        """Whether there may be a `retry`-th one, counted from 1."""
        return self.max_retries is None or retry <= self.max_retries

    def pause_s(self, retry: int) -> float:
        """The pause before the `retry`-th one; none for the 0th."""
        pause_s = self.interval_start_s + (retry - 1) * self.interval_step_s
        return max(0.0, min(self.interval_max_s, pause_s)) if retry else 0.0


class Entry:
    """A message, its destination and its deadline (by the clock's monotonic).

    `done(error)` is called once, on the loop, with None when the broker has taken it. `policy` None: if the connection
    is lost, or cannot be had, it fails at once.
    """

    __slots__ = (
        "alone",
        "deadline",
        "done",
        "exchange",
        "id",
        "in_doubt",
        "losses",
        "message",
        "policy",
        "returned",
        "routing_key",
        "settled",
        "size",
        "tag",
    )

    def __init__(
        self,
        message: Encoded,
        *,
        exchange: str,
        routing_key: str,
        deadline: float,
        policy: RetryPolicy | None,
        done: Callable[[AmqtaskError | None], None],
    ) -> None:
        self.id = message.id
        self.message = message
        self.exchange = exchange
        self.routing_key = routing_key
        self.deadline = deadline
        self.policy = policy
        self.done = done
        self.size = len(message.body) + len(message.properties)
        self.tag = 0  # the delivery tag while it is in flight, else 0
        self.losses = 0  # how often its session was lost while it was in flight
        self.in_doubt = False  # it was written on a channel that died without an answer: the broker may have it
        self.alone = False  # it may be what the broker closed a channel over: nothing else is in flight with it
        self.returned = ""  # what basic.return said; its ack will follow
        self.settled = False

    def settle(self, error: AmqtaskError | None) -> None:
        """For the outbox: the end of it. Lets go of the message."""
        self.settled = True
        self.message = _GONE
        self.done(error)

    def __lt__(self, other: Entry) -> bool:
        """By deadline, for the heap of deadlines."""
        return self.deadline < other.deadline
