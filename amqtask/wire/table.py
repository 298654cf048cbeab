"""AMQP field tables (AMQP 0-9-1, 4.2.5.5, with RabbitMQ's errata) to and from bytes.

What we write, pika and py-amqp both read. What arrives is read with bounds: decoding raises MalformedMessage and
nothing else, whatever the bytes are, and takes time in proportion to their number.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from amqtask.errors import MalformedMessage, TaskError

MAX_DEPTH = 32  # tables and arrays within each other; Celery's own headers need 3
MAX_TABLE_BYTES = 1 << 20  # a table travels in one frame, and RabbitMQ's frames are 128 KiB unless set otherwise

_INT32_MIN, _INT32_MAX = -(1 << 31), (1 << 31) - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_pack_length = struct.Struct(">I").pack
_pack_int32 = struct.Struct(">ci").pack
_pack_int64 = struct.Struct(">cq").pack
_pack_double = struct.Struct(">cd").pack
_pack_decimal = struct.Struct(">cBi").pack
_pack_string = struct.Struct(">cI").pack
_unpack_length = struct.Struct(">I").unpack_from
_unpack_int32 = struct.Struct(">i").unpack_from
_unpack_decimal = struct.Struct(">Bi").unpack_from
_unpack_timestamp = struct.Struct(">Q").unpack_from

# Kind byte of each fixed-width number: its struct and its size. 'l' and 'L' are both signed on RabbitMQ, and 's' is a
# short integer there, not the short string of the specification (https://www.rabbitmq.com/amqp-0-9-1-errata).
_NUMBERS = {
    ord(kind): (struct.Struct(">" + code).unpack_from, struct.calcsize(">" + code))
    for kind, code in {
        "b": "b", "B": "B", "U": "h", "u": "H", "s": "h", "I": "i", "i": "I", "l": "q", "L": "q", "f": "f", "d": "d",
    }.items()
}  # fmt: skip

_VOID, _STRING, _INT, _TABLE, _ARRAY, _BOOL = b"VSIFAt"
_BYTES, _TIMESTAMP, _DECIMAL = b"xTD"


def decode_table(buf: bytes, offset: int = 0) -> tuple[dict[str, object], int]:
    """Read the table whose 4-byte length stands at `offset`; returns it and the offset after it.

    Text that is not UTF-8 stays bytes; in a field name its bytes are shown as backslash escapes. Timestamps become
    aware datetimes in UTC. Raises MalformedMessage (reason `bad_headers`) on anything that the format does not allow,
    on tables deeper than MAX_DEPTH, larger than MAX_TABLE_BYTES, and on timestamps that no datetime can hold.
    """
    try:
        (size,) = _unpack_length(buf, offset)
        start = offset + 4
        end = start + size
        if end > len(buf):
            raise bad_headers("the table is cut short")
        if size > MAX_TABLE_BYTES:
            raise bad_headers(f"the table has {size} bytes, more than {MAX_TABLE_BYTES}")
        return _decode_fields(buf, start, end, MAX_DEPTH), end
    except (IndexError, struct.error) as error:
        raise bad_headers("the table is cut short") from error


def bad_headers(text: str) -> MalformedMessage:
    """The error for properties and headers that cannot be read."""
    error = MalformedMessage(text)
    error.reason = "bad_headers"
    return error


def _decode_fields(buf: bytes, offset: int, end: int, depth: int) -> dict[str, object]:
    if not depth:
        raise bad_headers(f"tables are nested deeper than {MAX_DEPTH}")
    fields: dict[str, object] = {}
    value: object
    while offset < end:
        start = offset + 1
        offset = start + buf[offset]
        key = buf[start:offset].decode("utf-8", "backslashreplace")
        kind = buf[offset]
        offset += 1
        # The kinds that a task's headers have come first and inline: this loop runs for each field of each message.
        if kind == _STRING:
            start = offset + 4
            offset = start + _unpack_length(buf, offset)[0]
            raw = buf[start:offset]
            try:
                value = raw.decode()
            except UnicodeDecodeError:
                value = raw
        elif kind == _VOID:
            value = None
        elif kind == _INT:
            value = _unpack_int32(buf, offset)[0]
            offset += 4
        elif kind == _BOOL:
            value = buf[offset] != 0
            offset += 1
        else:
            value, offset = _decode_other(buf, offset, kind, depth)
        fields[key] = value
    if offset != end:
        raise bad_headers("a field reaches past the end of its table")
    return fields


def _decode_array(buf: bytes, offset: int, end: int, depth: int) -> list[object]:
    if not depth:
        raise bad_headers(f"tables are nested deeper than {MAX_DEPTH}")
    values: list[object] = []
    while offset < end:
        kind = buf[offset]
        offset += 1
        if kind == _VOID:
            values.append(None)
            continue
        value, offset = _decode_other(buf, offset, kind, depth)
        values.append(value)
    if offset != end:
        raise bad_headers("a value reaches past the end of its array")
    return values


def _decode_other(buf: bytes, offset: int, kind: int, depth: int) -> tuple[object, int]:
    """One value of any kind but void, whose kind byte has been read."""
    if kind in _NUMBERS:
        unpack, size = _NUMBERS[kind]
        return unpack(buf, offset)[0], offset + size
    match kind:
        case 116:  # 't'
            return buf[offset] != 0, offset + 1
        case 84:  # 'T'
            return _datetime(_unpack_timestamp(buf, offset)[0]), offset + 8
        case 68:  # 'D'
            scale, digits = _unpack_decimal(buf, offset)
            return Decimal(digits).scaleb(-scale), offset + 5
        case 83 | 120 | 65 | 70:  # 'S', 'x', 'A', 'F': a length and so many bytes
            start = offset + 4
            end = start + _unpack_length(buf, offset)[0]
            if end > len(buf):
                raise bad_headers("the table is cut short")
            return _decode_sized(buf, start, end, kind, depth), end
    raise bad_headers(f"{bytes((kind,))!r} is no kind of field")


def _decode_sized(buf: bytes, start: int, end: int, kind: int, depth: int) -> object:
    if kind == _TABLE:
        return _decode_fields(buf, start, end, depth - 1)
    if kind == _ARRAY:
        return _decode_array(buf, start, end, depth - 1)
    raw = buf[start:end]
    if kind == _BYTES:
        return raw
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _datetime(seconds: int) -> datetime:
    try:
        return _EPOCH + timedelta(seconds=seconds)
    except OverflowError as error:
        raise bad_headers(f"the timestamp {seconds} is beyond the year 9999") from error


def encode_table(fields: Mapping[str, object]) -> bytes:
    """Write a table with its 4-byte length in front.

    Whole numbers of up to 32 bits go as `I`, larger ones as `l`, floats as doubles, bytes as `x`, naive datetimes as
    UTC to the second. Raises TaskError, naming the field, for what a table cannot hold.
    """
    body = encode_fields(fields)
    return _pack_length(len(body)) + body


def encode_fields(fields: Mapping[str, object], depth: int = MAX_DEPTH) -> bytes:
    """The fields of a table without its length: such pieces can be joined into one table."""
    if not depth:
        raise TaskError(f"headers are nested deeper than {MAX_DEPTH}")
    pieces: list[bytes] = []
    for name, value in fields.items():
        try:
            raw = name.encode()
            if len(raw) > 255:
                raise TaskError(f"the header name {name[:40]!r}... is longer than 255 bytes")
            pieces += (bytes((len(raw),)), raw, encode_value(value, depth))
        except (struct.error, TypeError, AttributeError, UnicodeEncodeError, OverflowError) as error:
            raise TaskError(f"header {name!r}: {value!r} cannot travel in an AMQP table ({error})") from error
    return b"".join(pieces)


def encode_value(value: object, depth: int = MAX_DEPTH) -> bytes:
    """One value with its kind byte. Raises TypeError, struct.error or UnicodeEncodeError for what cannot travel."""
    if value is None:
        return b"V"
    if isinstance(value, str):
        raw = value.encode()
        return _pack_string(b"S", len(raw)) + raw
    if isinstance(value, bool):
        return b"t\x01" if value else b"t\x00"
    if isinstance(value, int):
        if _INT32_MIN <= value <= _INT32_MAX:
            return _pack_int32(b"I", value)
        return _pack_int64(b"l", value)
    if isinstance(value, float):
        return _pack_double(b"d", value)
    if isinstance(value, bytes | bytearray):
        return _pack_string(b"x", len(value)) + bytes(value)
    if isinstance(value, Mapping):
        body = encode_fields(value, depth - 1)
        return _pack_string(b"F", len(body)) + body
    if isinstance(value, list | tuple):
        if depth <= 1:
            raise TaskError(f"headers are nested deeper than {MAX_DEPTH}")
        body = b"".join([encode_value(item, depth - 1) for item in value])
        return _pack_string(b"A", len(body)) + body
    return _encode_rare(value)


def _encode_rare(value: object) -> bytes:
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return struct.pack(">cQ", b"T", (aware - _EPOCH) // timedelta(seconds=1))
    if isinstance(value, Decimal):
        sign, digits, exponent = value.as_tuple()
        if not isinstance(exponent, int):
            raise TypeError("not a finite number")
        if not -255 <= exponent <= 10:
            raise TypeError("more than 32 bits or 255 decimal places")
        whole = int("".join(map(str, digits)))
        # The scale is unsigned: a positive exponent is multiplied out.
        whole, scale = (whole, -exponent) if exponent <= 0 else (whole * 10**exponent, 0)
        return _pack_decimal(b"D", scale, -whole if sign else whole)
    raise TypeError(f"type {type(value).__name__}")
