"""AMQP 0-9-1 frames as bytes: basic.publish with its content, and the three ways to settle a delivery."""

from __future__ import annotations

import struct
from functools import lru_cache

from amqtask.errors import MessageTooLarge
from amqtask.wire.content import short_string

FRAME_METHOD = 1
FRAME_HEADER = 2
FRAME_BODY = 3
FRAME_END = b"\xce"
FRAME_OVERHEAD = 8  # type, channel and size before the payload, the end byte after it

_BASIC = 60
_PUBLISH, _ACK, _REJECT, _NACK = 40, 80, 90, 120

_pack_frame = struct.Struct(">BHI").pack
_pack_method = struct.Struct(">HH").pack
_pack_content = struct.Struct(">BHIHHQ").pack  # a frame's start, then class, weight and body size
_pack_settle = struct.Struct(">BHIHHQBB").pack  # a whole settling method: frame start, class, method, tag, bits, end


@lru_cache(maxsize=4096)
def _publish_method(channel: int, exchange: str, routing_key: str, mandatory: bool) -> bytes:
    payload = b"".join(
        (
            _pack_method(_BASIC, _PUBLISH),
            b"\x00\x00",  # reserved
            short_string(exchange, "exchange"),
            short_string(routing_key, "routing key"),
            b"\x01" if mandatory else b"\x00",
        )
    )
    return _pack_frame(FRAME_METHOD, channel, len(payload)) + payload + FRAME_END


def publish(
    channel: int, exchange: str, routing_key: str, *, mandatory: bool, properties: bytes, body: bytes, frame_max: int
) -> bytes:
    """The frames of one basic.publish: method, content header, and the body in frames of at most `frame_max` bytes.

    `frame_max` is what connection.tune agreed on; 0 means no limit. Raises MessageTooLarge when the properties do not
    fit in one frame (they cannot be split), TaskError when the exchange or the routing key is over 255 bytes.
    """
    size = len(body)
    header_size = 12 + len(properties)
    if frame_max and header_size + FRAME_OVERHEAD > frame_max:
        raise MessageTooLarge(f"its headers take {len(properties)} bytes; a frame here holds {frame_max}")
    method = _publish_method(channel, exchange, routing_key, mandatory)
    header = _pack_content(FRAME_HEADER, channel, header_size, _BASIC, 0, size)
    if not size:
        return b"".join((method, header, properties, FRAME_END))
    chunk = frame_max - FRAME_OVERHEAD if frame_max else size
    if size <= chunk:
        start = _pack_frame(FRAME_BODY, channel, size)
        return b"".join((method, header, properties, FRAME_END, start, body, FRAME_END))
    pieces = [method, header, properties, FRAME_END]
    for offset in range(0, size, chunk):
        part = body[offset : offset + chunk]
        pieces += (_pack_frame(FRAME_BODY, channel, len(part)), part, FRAME_END)
    return b"".join(pieces)


def ack(channel: int, tag: int, multiple: bool) -> bytes:
    """basic.ack of a delivery tag; with `multiple`, of all up to it (0: of all there are)."""
    return _pack_settle(FRAME_METHOD, channel, 13, _BASIC, _ACK, tag, multiple, 0xCE)


def nack(channel: int, tag: int, multiple: bool, requeue: bool) -> bytes:
    """basic.nack, RabbitMQ's extension: gives back (`requeue`) or dead-letters, also many at once."""
    return _pack_settle(FRAME_METHOD, channel, 13, _BASIC, _NACK, tag, multiple | requeue << 1, 0xCE)


def reject(channel: int, tag: int, requeue: bool) -> bytes:
    """basic.reject of one delivery."""
    return _pack_settle(FRAME_METHOD, channel, 13, _BASIC, _REJECT, tag, requeue, 0xCE)
