"""What a message is: its properties, its headers, its body, and the same ready to be framed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PERSISTENT = 2


@dataclass(frozen=True, slots=True)
class Properties:
    """The basic class's properties (AMQP 0-9-1, 1.8.1) without the headers table. None: not on the wire.

    `expiration` is milliseconds as decimal text, `timestamp` is Unix seconds.
    """

    content_type: str | None = None
    content_encoding: str | None = None
    delivery_mode: int | None = PERSISTENT
    priority: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    message_id: str | None = None
    timestamp: int | None = None
    type: str | None = None
    user_id: str | None = None
    app_id: str | None = None
    cluster_id: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it is on the wire. Nobody changes `headers` after it is made."""

    properties: Properties
    headers: Mapping[str, object]
    body: bytes


@dataclass(frozen=True, slots=True)
class Encoded:
    """A message ready to frame.

    `properties` is the payload of the content header frame after its 8-byte body size: 2 bytes of property flags and
    the property list, headers table included. `id` names the message in confirmations and errors; it is not parsed out
    of `properties` again.
    """

    id: str
    properties: bytes
    body: bytes
