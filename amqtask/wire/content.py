"""The content header of a message: property flags and property list (AMQP 0-9-1, 4.2.6.1) to and from bytes."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from amqtask.errors import TaskError
from amqtask.wire.message import Encoded, Message, Properties
from amqtask.wire.table import bad_headers, decode_table, encode_table

CONTENT_TYPE = 1 << 15
CONTENT_ENCODING = 1 << 14
HEADERS = 1 << 13
DELIVERY_MODE = 1 << 12
PRIORITY = 1 << 11
CORRELATION_ID = 1 << 10
REPLY_TO = 1 << 9
EXPIRATION = 1 << 8
MESSAGE_ID = 1 << 7
TIMESTAMP = 1 << 6
TYPE = 1 << 5
USER_ID = 1 << 4
APP_ID = 1 << 3
CLUSTER_ID = 1 << 2
_MORE_FLAGS = 1  # another 16 flags follow; the basic class has no property there

_unpack_flags = struct.Struct(">H").unpack_from
_unpack_timestamp = struct.Struct(">Q").unpack_from
_unpack_length = struct.Struct(">I").unpack_from
_pack_flags = struct.Struct(">H").pack
_pack_timestamp = struct.Struct(">Q").pack


def short_string(value: str, what: str) -> bytes:
    """A short string: one byte of length and at most 255 bytes of UTF-8. TaskError, naming `what`, if it is longer."""
    try:
        raw = value.encode()
        return bytes((len(raw),)) + raw
    except (ValueError, AttributeError) as error:  # over 255, a lone surrogate, not a text
        raise TaskError(f"{what} must be a text of at most 255 bytes of UTF-8, not {value!r:.80}") from error


def encode_properties(properties: Properties, headers: Mapping[str, object] | None) -> bytes:
    """Property flags and property list. `headers` None leaves the table out; an empty one is sent as such.

    Raises TaskError for values that do not fit their field.
    """
    p = properties
    flags = 0
    pieces: list[bytes] = [b""]
    for bit, name in _BEFORE_HEADERS:
        if (text := getattr(p, name)) is not None:
            flags |= bit
            pieces.append(short_string(text, name))
    if headers is not None:
        flags |= HEADERS
        pieces.append(encode_table(headers))
    for bit, name in ((DELIVERY_MODE, "delivery_mode"), (PRIORITY, "priority")):
        if (number := getattr(p, name)) is not None:
            flags |= bit
            pieces.append(_octet(number, name))
    for bit, name in _AFTER_HEADERS:
        if (value := getattr(p, name)) is None:
            continue
        flags |= bit
        if bit == TIMESTAMP:
            pieces.append(_timestamp(value))
        else:
            pieces.append(short_string(value, name))
    pieces[0] = _pack_flags(flags)
    return b"".join(pieces)


_BEFORE_HEADERS = ((CONTENT_TYPE, "content_type"), (CONTENT_ENCODING, "content_encoding"))
_AFTER_HEADERS = (
    (CORRELATION_ID, "correlation_id"),
    (REPLY_TO, "reply_to"),
    (EXPIRATION, "expiration"),
    (MESSAGE_ID, "message_id"),
    (TIMESTAMP, "timestamp"),
    (TYPE, "type"),
    (USER_ID, "user_id"),
    (APP_ID, "app_id"),
    (CLUSTER_ID, "cluster_id"),
)


def _octet(value: int, what: str) -> bytes:
    if not isinstance(value, int) or not 0 <= value <= 255:
        raise TaskError(f"{what} must be a whole number from 0 to 255, not {value!r}")
    return bytes((value,))


def _timestamp(value: int) -> bytes:
    try:
        return _pack_timestamp(value)
    except struct.error as error:
        raise TaskError(f"timestamp must be whole Unix seconds, not {value!r}") from error


def decode_properties(raw: bytes) -> tuple[Properties, dict[str, object]]:
    """Read what `encode_properties` writes, from any sender: the properties and the headers ({} when there are none).

    Raises MalformedMessage (reason `bad_headers`) on anything else, and nothing but that.
    """
    try:
        return _decode(raw)
    except (IndexError, struct.error) as error:
        raise bad_headers("the properties are cut short") from error


def _decode(raw: bytes) -> tuple[Properties, dict[str, object]]:
    (flags,) = _unpack_flags(raw, 0)
    if flags & _MORE_FLAGS:
        raise bad_headers("properties that the basic class does not have")
    offset = 2
    content_type = content_encoding = correlation_id = reply_to = expiration = message_id = None
    type_ = user_id = app_id = cluster_id = delivery_mode = priority = timestamp = None
    headers: dict[str, object] = {}
    if flags & CONTENT_TYPE:
        content_type, offset = _text(raw, offset)
    if flags & CONTENT_ENCODING:
        content_encoding, offset = _text(raw, offset)
    if flags & HEADERS:
        headers, offset = decode_table(raw, offset)
    if flags & DELIVERY_MODE:
        delivery_mode = raw[offset]
        offset += 1
    if flags & PRIORITY:
        priority = raw[offset]
        offset += 1
    if flags & CORRELATION_ID:
        correlation_id, offset = _text(raw, offset)
    if flags & REPLY_TO:
        reply_to, offset = _text(raw, offset)
    if flags & EXPIRATION:
        expiration, offset = _text(raw, offset)
    if flags & (MESSAGE_ID | TIMESTAMP | TYPE | USER_ID | APP_ID | CLUSTER_ID):
        if flags & MESSAGE_ID:
            message_id, offset = _text(raw, offset)
        if flags & TIMESTAMP:
            (timestamp,) = _unpack_timestamp(raw, offset)
            offset += 8
        if flags & TYPE:
            type_, offset = _text(raw, offset)
        if flags & USER_ID:
            user_id, offset = _text(raw, offset)
        if flags & APP_ID:
            app_id, offset = _text(raw, offset)
        if flags & CLUSTER_ID:
            cluster_id, offset = _text(raw, offset)
    if offset != len(raw):
        raise bad_headers("the properties do not end where they should")
    return (
        Properties(
            content_type, content_encoding, delivery_mode, priority, correlation_id, reply_to, expiration,
            message_id, timestamp, type_, user_id, app_id, cluster_id,
        ),
        headers,
    )  # fmt: skip


def _text(raw: bytes, offset: int) -> tuple[str, int]:
    start = offset + 1
    end = start + raw[offset]
    return raw[start:end].decode("utf-8", "backslashreplace"), end


def correlation_id_of(raw: bytes) -> str | None:
    """The correlation id (a task's id) alone: the headers table is stepped over by its length and never decoded.

    None when there is none or when the bytes are no property list; the one who decodes the whole says what is wrong.
    """
    try:
        (flags,) = _unpack_flags(raw, 0)
        if not flags & CORRELATION_ID:
            return None
        offset = 2
        if flags & CONTENT_TYPE:
            offset += 1 + raw[offset]
        if flags & CONTENT_ENCODING:
            offset += 1 + raw[offset]
        if flags & HEADERS:
            offset += 4 + _unpack_length(raw, offset)[0]
        if flags & DELIVERY_MODE:
            offset += 1
        if flags & PRIORITY:
            offset += 1
        text, end = _text(raw, offset)
    except (IndexError, struct.error):
        return None
    return text if end <= len(raw) else None


def encode(message: Message) -> Encoded:
    """Make a message ready to frame. Its id is the message id, else the correlation id, else empty."""
    p = message.properties
    return Encoded(
        id=p.message_id or p.correlation_id or "",
        properties=encode_properties(p, message.headers),
        body=message.body,
    )


def decode(encoded: Encoded) -> Message:
    """The reverse of `encode`. Raises MalformedMessage."""
    properties, headers = decode_properties(encoded.properties)
    return Message(properties=properties, headers=headers, body=encoded.body)
