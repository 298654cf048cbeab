"""Every error that amqtask raises, and the directives that tasks raise to steer.

AmqtaskError
├── SettingsError              a setting, option or file is wrong; `where` names it
├── TopologyError              the declared or the live topology is wrong
│   ├── QueueNotDeclared       a queue that nobody declared; `nearest` suggests one
│   ├── TopologyConflict       the broker has it with other arguments; `differences` lists them
│   └── TopologyUnsupported    this broker version or queue type cannot do it
├── BrokerError                the broker or the way to it; `retryable` says whether waiting may help
│   ├── ConnectionLost
│   ├── ChannelClosed
│   ├── AccessRefused
│   └── BrokerBlocked
├── PublishError               one message was not accepted; `fate` says what became of it
│   ├── Unroutable
│   ├── PublishRefused
│   ├── PublishUncertain
│   ├── MessageTooLarge
│   └── BatchFailed            a bulk send: `failures` names each message that failed and why
├── MessageError               what arrived cannot be used
│   ├── MalformedMessage
│   └── ContentRefused
├── TaskError                  a task's declaration or a call of it is wrong
├── ResultError
└── ControlError

Outside the tree, under Celery's names, because users' code raises and catches them:
Retry, Reject, Ignore (directives), SoftTimeLimitExceeded (a BaseException, so that `except Exception` in a task
cannot eat it), TimeLimitExceeded, MaxRetriesExceededError, NotRegistered, TaskRevokedError, WorkerLostError.
"""

from __future__ import annotations

import difflib
import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None when nothing is close enough to suggest."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return close[0] if close else None


class Fate(enum.Enum):
    """What became of a message whose publish raised."""

    NOT_SENT = "not_sent"  # no byte of it left: sending again cannot double it
    UNROUTABLE = "unroutable"  # the broker handed it back
    REFUSED = "refused"  # the broker said no: sending again cannot double it
    UNCERTAIN = "uncertain"  # the link died or the deadline passed before the answer: a re-send may double it


class AmqtaskError(Exception):
    """The root of everything that amqtask itself raises."""


@dataclass(frozen=True, slots=True)
class SettingProblem:
    """One thing that is wrong in the settings: the key, what is wrong, which source says it, the nearest known name."""

    key: str
    text: str
    where: str
    nearest: str | None = None

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.text) if part)


class SettingsError(AmqtaskError):
    """A setting, an option or a configuration file is wrong. `where` is the file, key or option.

    `problems` has each thing that is wrong when settings were read as a whole.
    """

    def __init__(self, message: str, *, where: str | None = None, problems: Sequence[SettingProblem] = ()) -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where
        self.problems = tuple(problems)


class TopologyError(AmqtaskError):
    """The declared topology, or the broker's, is wrong."""


class QueueNotDeclared(TopologyError):
    """A queue was named that no configuration declares."""

    def __init__(self, queue: str, known: Iterable[str] = ()) -> None:
        names = sorted(known)
        self.queue = queue
        self.nearest = nearest(queue, names)
        hint = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        declared = f" Declared: {', '.join(names)}." if names and not self.nearest else ""
        super().__init__(f"queue {queue!r} is not declared{hint}{declared}")


class TopologyConflict(TopologyError):
    """The broker holds the same name with other arguments (AMQP 406).

    `differences` maps an argument to (declared, live).
    """

    def __init__(self, message: str, differences: Mapping[str, tuple[object, object]] | None = None) -> None:
        super().__init__(message)
        self.differences = dict(differences or {})


class TopologyUnsupported(TopologyError):
    """This broker version, or this type of queue or exchange, has no such feature."""


class BrokerError(AmqtaskError):
    """The broker, or the way to it, failed. `code` is AMQP's reply code where there is one."""

    retryable = True

    def __init__(self, message: str, *, code: int | None = None, fate: Fate | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.fate = fate  # set when the error is what a publish raised


class ConnectionLost(BrokerError):
    """There is no connection: refused, unreachable, closed or silent."""


class ChannelClosed(BrokerError):
    """The broker closed a channel, with `code` (404, 406, ...)."""


class AccessRefused(BrokerError):
    """Wrong credentials, virtual host or permission (AMQP 403, 530)."""

    retryable = False


class BrokerBlocked(BrokerError):
    """The broker accepts no publishes at the moment (connection.blocked: memory or disk alarm)."""


class PublishError(AmqtaskError):
    """One message was not accepted. `message_id` names it, `fate` says what became of it."""

    fate: Fate = Fate.UNCERTAIN

    def __init__(self, message: str, *, message_id: str | None = None) -> None:
        super().__init__(message)
        self.message_id = message_id


class Unroutable(PublishError):
    """No queue is bound for it, or the queue is gone: the broker returned it (AMQP 312)."""

    fate = Fate.UNROUTABLE


class PublishRefused(PublishError):
    """The broker answered basic.nack: a full queue with `reject-publish`, or its own failure."""

    fate = Fate.REFUSED


class PublishUncertain(PublishError):
    """The link died, or the deadline passed, between the write and the broker's answer."""

    fate = Fate.UNCERTAIN


class MessageTooLarge(PublishError):
    """The body is over the limit. Raised before a byte is sent."""

    fate = Fate.NOT_SENT


class BatchFailed(PublishError):
    """Some messages of a bulk send were not accepted. `failures` maps their position to the error of each."""

    def __init__(self, failures: Mapping[int, AmqtaskError], *, sent: int) -> None:
        first = next(iter(failures.values()))
        super().__init__(f"{len(failures)} of {sent} messages were not accepted; the first: {first}")
        self.failures = dict(failures)


class MessageError(AmqtaskError):
    """What arrived cannot be used. `reason` is the word that goes with it to the dead-letter queue."""

    reason = "malformed"


class MalformedMessage(MessageError):
    """Its properties, headers or body are not what the format says."""


class ContentRefused(MessageError):
    """Its content type, encoding, compression or size is not accepted here."""

    reason = "content_refused"


class TaskError(AmqtaskError):
    """A task's declaration, or a call of it, is wrong: unknown option, wrong arguments, name taken."""


class ResultError(AmqtaskError):
    """A result cannot be had."""


class ControlError(AmqtaskError):
    """A remote-control command failed or was refused."""


class Directive(Exception):
    """What a task raises to say how its delivery ends. Not an AmqtaskError, so that catching those cannot eat it."""


class Reject(Directive):
    """Give the delivery up: back to its queue when `requeue`, else to the dead-letter queue with `reason`."""

    def __init__(self, reason: object = None, requeue: bool = False) -> None:
        super().__init__(reason, requeue)
        self.reason = reason
        self.requeue = requeue


class Ignore(Directive):
    """Settle the delivery as done and record nothing."""


class NotRegistered(KeyError):
    """No task of that name is registered here."""

    def __init__(self, name: str, known: Iterable[str] = ()) -> None:
        super().__init__(name)
        self.name = name
        self.nearest = nearest(name, known)

    def __str__(self) -> str:
        hint = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        return f"no task named {self.name!r} is registered{hint}"


class WorkerLostError(Exception):
    """The process that ran the task died."""


def all_names(groups: Sequence[Iterable[str]]) -> list[str]:
    """The distinct names of several groups, sorted: what `nearest` is asked against."""
    return sorted({name for group in groups for name in group})
