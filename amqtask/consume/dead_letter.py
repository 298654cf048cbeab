"""Makes the message that goes to a dead-letter queue: what was received, and why it is given up. Pure.

The body is untouched. What was in the headers stays there beside `amqtask-*` fields; headers that cannot be read (a
timestamp in the year 60000, 600 nested tables) go along as bytes in one field, because a table that stops us would also
stop whoever looks into the queue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from amqtask.errors import MalformedMessage, TaskError
from amqtask.wire.content import decode_properties, encode_properties
from amqtask.wire.message import PERSISTENT, Encoded, Properties

VERSION = 1
MAX_PROPERTIES_BYTES = 100_000  # they must fit one frame; RabbitMQ's are 131,072 bytes unless set otherwise


@dataclass(frozen=True, slots=True)
class Death:
    """Why a delivery was given up. `attempt` counts executions begun, this one included; 0: it never ran."""

    reason: str
    error: str
    traceback: str
    queue: str
    attempt: int
    node: str
    at: datetime


def dead_letter(
    route: bytes, properties: bytes, body: bytes, death: Death, *, max_bytes: int = MAX_PROPERTIES_BYTES
) -> Encoded:
    """The message for the dead-letter queue, whatever the parts are. Its properties take at most `max_bytes`, or 4 KB.

    What does not fit goes in this order: the traceback, the headers (bytes of them are kept), most of the error.
    """
    exchange, routing_key = split_route(route)
    fields: dict[str, object] = {
        "amqtask-dead": VERSION,
        "amqtask-reason": death.reason,
        "amqtask-error": death.error,
        "amqtask-attempt": death.attempt,
        "amqtask-queue": death.queue,
        "amqtask-exchange": exchange,
        "amqtask-routing-key": routing_key,
        "amqtask-node": death.node,
        "amqtask-died-at": death.at.isoformat(),
    }
    fields = {name: _sendable(value) if isinstance(value, str) else value for name, value in fields.items()}
    trace = {"amqtask-traceback": _sendable(death.traceback)} if death.traceback else {}
    given, encoded = _with_headers(properties, {**fields, **trace})
    if encoded is not None and len(encoded) > max_bytes:
        given, encoded = _with_headers(properties, fields)
    if encoded is None or len(encoded) > max_bytes:
        kept = replace(given, reply_to=None, expiration=None, user_id=None, delivery_mode=PERSISTENT)
        encoded = encode_properties(kept, {**fields, "amqtask-original-properties": properties[: max_bytes // 2]})
    if len(encoded) > max_bytes:
        known = Properties(correlation_id=given.correlation_id, message_id=given.message_id)
        encoded = encode_properties(known, {**fields, "amqtask-error": str(fields["amqtask-error"])[:200]})
    return Encoded(id=given.message_id or given.correlation_id or "", properties=encoded, body=body)


_UNREADABLE = Properties()


def _with_headers(properties: bytes, fields: Mapping[str, object]) -> tuple[Properties, bytes | None]:
    """The properties as they came, and encoded with their headers and `fields`; None: that cannot be done."""
    more = dict(fields)
    try:
        given, headers = decode_properties(properties)
        return given, encode_properties(_kept_properties(given, more), {**_kept_headers(headers), **more})
    except (MalformedMessage, TaskError):
        return _UNREADABLE, None


def _sendable(text: str) -> str:
    """`text` with what UTF-8 has no bytes for as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _kept_headers(headers: Mapping[str, object]) -> dict[str, object]:
    """All but what would act again: CC and BCC make the broker deliver copies elsewhere."""
    kept = {name: value for name, value in headers.items() if not name.startswith("amqtask-")}
    for name in ("CC", "BCC"):
        if name in kept:
            kept[f"original-{name}"] = kept.pop(name)
    return kept


def _kept_properties(given: Properties, fields: dict[str, object]) -> Properties:
    """All but what would act again: an expiration would delete the dead letter, and a user id is checked against the
    connection's own user (406)."""
    if given.expiration is not None:
        fields["amqtask-expiration"] = given.expiration
    if given.user_id is not None:
        fields["amqtask-user-id"] = given.user_id
    return replace(given, expiration=None, user_id=None, delivery_mode=PERSISTENT)


def split_route(route: bytes) -> tuple[str, str]:
    """The exchange and the routing key, as basic.deliver has them: two short strings."""
    end = 1 + route[0]
    return route[1:end].decode("utf-8", "backslashreplace"), route[end + 1 :].decode("utf-8", "backslashreplace")
