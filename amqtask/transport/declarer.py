"""Runs the declare operations of a topology on a session: all in one go, none stopped by the failure of another.

Loop-confined. The broker answers in order, so all frames are written at once; when one fails it closes the channel, and
what came after is written again on a new one. An operation that makes the broker close the whole connection (a feature
that it does not have) is remembered and left out on the next session, or it would take that down too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pika import frame, spec
from pika.amqp_object import Method

from amqtask.errors import (
    AccessRefused,
    AmqtaskError,
    BrokerError,
    ChannelClosed,
    TopologyError,
    TopologyUnsupported,
)
from amqtask.topology.conflict import refusal
from amqtask.topology.declare import Bind, DeclareExchange, DeclareQueue, Operation
from amqtask.transport.log import EventLog
from amqtask.transport.session import Channel, Session

log = EventLog("amqtask.transport")

Mode = Literal["manage", "verify", "off"]

ACCESS_REFUSED, NOT_FOUND, RESOURCE_LOCKED, PRECONDITION_FAILED = 403, 404, 405, 406
NOT_IMPLEMENTED, INTERNAL_ERROR = 540, 541
# The codes by which the broker closes the connection over an operation, rather than for reasons of its own.
_OVER_AN_OPERATION = frozenset({501, 502, 503, 504, 505, 530, NOT_IMPLEMENTED, INTERNAL_ERROR})

_REPLIES = [spec.Queue.DeclareOk, spec.Exchange.DeclareOk, spec.Queue.BindOk, spec.Exchange.BindOk]


@dataclass(frozen=True, slots=True)
class Declared:
    """What came of it: how many operations were done, and the error of each that was not."""

    done: int
    failures: tuple[tuple[Operation, AmqtaskError], ...]


class Declarer:
    """`manage` declares, `verify` only looks whether everything is there (it needs no configure right before 4.2.6, and
    cannot look at bindings), `off` does nothing. One at a time: `run` again only after `on_done`, or after `lost`."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._refused: dict[str, AmqtaskError] = {}  # operations that closed a connection, by what they are called
        self._pending: deque[Operation] = deque()
        self._failures: list[tuple[Operation, AmqtaskError]] = []
        self._done = 0
        self._on_done: Callable[[Declared], None] | None = None

    def run(self, session: Session, operations: Sequence[Operation], on_done: Callable[[Declared], None]) -> None:
        """Do them all on `session`, then call `on_done`; not if the session is lost first: the owner calls `lost`."""
        self._done = 0
        self._failures = []
        self._on_done = on_done
        wanted = [op for op in operations if self._wants(op)]
        self._failures += [(op, self._refused[str(op)]) for op in wanted if str(op) in self._refused]
        self._pending = deque(op for op in wanted if str(op) not in self._refused)
        if self._pending:
            self._next_channel(session)
        else:
            self._finish()

    def lost(self, error: BrokerError) -> None:
        """The session was lost with `error`. If an operation is to blame, it is left out from now on."""
        if self._pending and error.code in _OVER_AN_OPERATION:
            blamed = self._pending[0]
            self._refused[str(blamed)] = TopologyUnsupported(f"{blamed}: {error}")
            log.error("topology.declare_refused", what=str(blamed), error=str(error))
        self._pending.clear()
        self._on_done = None

    def _wants(self, operation: Operation) -> bool:
        if self._mode == "off":
            return False
        return self._mode == "manage" or not isinstance(operation, Bind)

    def _next_channel(self, session: Session) -> None:
        if session.is_open:
            session.open_channel(lambda channel: self._write(session, channel), self._closed)

    def _write(self, session: Session, channel: Channel) -> None:
        channel.pika.add_callback(lambda _frame: self._answered(channel), _REPLIES, one_shot=False)
        passive = self._mode == "verify"
        frames = [frame.Method(channel.number, _method(op, passive=passive)).marshal() for op in self._pending]
        session.send(b"".join(frames))

    def _answered(self, channel: Channel) -> None:
        self._pending.popleft()
        self._done += 1
        if not self._pending:
            channel.close(self._finish)

    def _closed(self, channel: Channel, error: ChannelClosed) -> None:
        if not self._pending:  # closed as the last answer was in: all is done
            self._finish()
            return
        operation = self._pending.popleft()
        self._failures.append((operation, explain(operation, error)))
        if self._pending:
            self._next_channel(channel.session)
        else:
            self._finish()

    def _finish(self) -> None:
        on_done, self._on_done = self._on_done, None
        if on_done is not None:
            on_done(Declared(self._done, tuple(self._failures)))


def explain(operation: Operation, error: ChannelClosed) -> AmqtaskError:
    """The error to report for an operation over which the broker closed the channel."""
    text = str(error).removeprefix("channel closed by the broker: ")
    if error.code == ACCESS_REFUSED:
        return AccessRefused(f"{operation}: {text}", code=ACCESS_REFUSED)
    if error.code == NOT_FOUND:
        return TopologyError(f"{operation} does not exist: {text}")
    if error.code in (PRECONDITION_FAILED, RESOURCE_LOCKED) and not isinstance(operation, Bind):
        return refusal(text, operation.queue if isinstance(operation, DeclareQueue) else operation.exchange)
    return TopologyError(f"{operation}: {text}")


def _method(operation: Operation, *, passive: bool) -> Method:
    match operation:
        case DeclareQueue(queue):
            return spec.Queue.Declare(  # type: ignore[no-untyped-call]  # pika's spec is generated, untyped
                queue=queue.name,
                passive=passive,
                durable=queue.durable,
                exclusive=queue.exclusive,
                auto_delete=queue.auto_delete,
                arguments=dict(queue.arguments),
            )
        case DeclareExchange(exchange):
            return spec.Exchange.Declare(  # type: ignore[no-untyped-call]  # pika's spec is generated, untyped
                exchange=exchange.name,
                type=exchange.type,
                passive=passive,
                durable=exchange.durable,
                auto_delete=exchange.auto_delete,
                internal=exchange.internal,
                arguments=dict(exchange.arguments),
            )
        case Bind(binding) if binding.destination_type == "queue":
            return spec.Queue.Bind(  # type: ignore[no-untyped-call]  # pika's spec is generated, untyped
                queue=binding.destination,
                exchange=binding.source,
                routing_key=binding.routing_key,
                arguments=dict(binding.arguments),
            )
        case Bind(binding):
            return spec.Exchange.Bind(  # type: ignore[no-untyped-call]  # pika's spec is generated, untyped
                destination=binding.destination,
                source=binding.source,
                routing_key=binding.routing_key,
                arguments=dict(binding.arguments),
            )
