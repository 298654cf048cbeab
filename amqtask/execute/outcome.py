"""What became of one execution, and what the broker is to be told about its delivery. Pure.

A success with nothing to tell has no Outcome at all: it is the common case, and crosses to the node in nine bytes.
"""

from __future__ import annotations

import enum
import traceback as tracebacks
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

MAX_ERROR_CHARS = 2_000
MAX_TRACEBACK_CHARS = 16_000  # what stands in a header must fit one frame beside the others


class Kind(enum.Enum):
    """How an execution ended."""

    FAILED = "failed"  # the task raised
    REFUSED = "refused"  # it never ran: not understood, not registered, expired
    REJECTED = "rejected"  # the task asked for the dead-letter queue
    REQUEUED = "requeued"  # the task asked for its queue again
    IGNORED = "ignored"  # the task asked to be forgotten
    CRASHED = "crashed"  # its executor died once too often


class Settlement(enum.Enum):
    """What the broker is told about a delivery."""

    ACK = "ack"
    REQUEUE = "requeue"
    DEAD_LETTER = "dead_letter"  # published to the dead-letter queue, confirmed, then acknowledged


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one execution. `reason` is one word; `error` and `traceback` are text, never objects."""

    kind: Kind
    reason: str
    error: str = ""
    traceback: str = ""
    task: str = ""

    def to_fields(self) -> dict[str, object]:
        """As JSON values."""
        return {
            "kind": self.kind.value,
            "reason": self.reason,
            "error": self.error,
            "traceback": self.traceback,
            "task": self.task,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Outcome:
        """Back from JSON values."""
        return cls(Kind(fields["kind"]), fields["reason"], fields["error"], fields["traceback"], fields["task"])


def settle(outcome: Outcome) -> Settlement:
    """Decide what the broker is told about one delivery."""
    match outcome.kind:
        case Kind.IGNORED:
            return Settlement.ACK
        case Kind.REQUEUED:
            return Settlement.REQUEUE
        case Kind.FAILED | Kind.REFUSED | Kind.REJECTED | Kind.CRASHED:
            return Settlement.DEAD_LETTER
        case _:
            assert_never(outcome.kind)


def describe(error: BaseException) -> str:
    """An exception in one line, whatever its own methods do."""
    name = type(error).__name__
    text = text_of(error, MAX_ERROR_CHARS)
    return cut(f"{name}: {text}" if text else name, MAX_ERROR_CHARS)


def text_of(value: object, limit: int) -> str:
    """`str(value)`, cut, as text that can travel, whatever the value's own methods do."""
    try:
        return cut(sendable(str(value)[:limit]), limit)
    except BaseException as exception:  # noqa: BLE001 - users' objects may raise anything from __str__
        return f"<str() raised {type(exception).__name__}>"


def format_traceback(error: BaseException) -> str:
    """The traceback as text, the end kept when it is too long; whatever the exception's own methods do."""
    try:
        text = "".join(tracebacks.format_exception(type(error), error, error.__traceback__, limit=-40))
    except BaseException as exception:  # noqa: BLE001 - formatting calls users' __str__ and __repr__
        frames = tracebacks.format_tb(error.__traceback__, limit=-40)
        text = "".join(frames) + f"{type(error).__name__} <formatting raised {type(exception).__name__}>"
    if len(text) > MAX_TRACEBACK_CHARS:
        text = "... cut ...\n" + text[-MAX_TRACEBACK_CHARS:]
    return sendable(text)


def sendable(text: str) -> str:
    """`text` with what UTF-8 has no bytes for as escapes: the name of a file that is not UTF-8 has such characters."""
    return text.encode("utf-8", "backslashreplace").decode()


def cut(text: str, limit: int) -> str:
    """`text`, at most `limit` characters of it."""
    return text if len(text) <= limit else text[: limit - 3] + "..."
