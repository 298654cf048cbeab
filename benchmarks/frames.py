"""AMQP 0-9-1 frames as plain bytes: builds the few that a ceiling needs and scans what the broker answers (pure).

It shares no code with amqtask or with pika on purpose: a ceiling that ran through the code under test would move with
it.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE
FRAME_OVERHEAD = 8  # type, channel and size before the payload, the end octet after it

CONNECTION_START, CONNECTION_START_OK = (10, 10), (10, 11)
CONNECTION_TUNE, CONNECTION_TUNE_OK = (10, 30), (10, 31)
CONNECTION_OPEN, CONNECTION_OPEN_OK = (10, 40), (10, 41)
CONNECTION_CLOSE, CONNECTION_CLOSE_OK = (10, 50), (10, 51)
CHANNEL_OPEN, CHANNEL_OPEN_OK, CHANNEL_CLOSE = (20, 10), (20, 11), (20, 40)
QUEUE_DECLARE, QUEUE_DECLARE_OK = (50, 10), (50, 11)
QUEUE_PURGE, QUEUE_PURGE_OK = (50, 30), (50, 31)
QUEUE_DELETE, QUEUE_DELETE_OK = (50, 40), (50, 41)
BASIC_QOS, BASIC_QOS_OK = (60, 10), (60, 11)
BASIC_CONSUME, BASIC_CONSUME_OK = (60, 20), (60, 21)
BASIC_PUBLISH, BASIC_DELIVER = (60, 40), (60, 60)
BASIC_GET, BASIC_GET_OK, BASIC_GET_EMPTY = (60, 70), (60, 71), (60, 72)
BASIC_ACK, BASIC_NACK = (60, 80), (60, 120)
CONFIRM_SELECT, CONFIRM_SELECT_OK = (85, 10), (85, 11)

_FRAME = struct.Struct(">BHI")
_METHOD_ID = struct.Struct(">HH")
_CONTENT = struct.Struct(">HHQ")
_TAG = struct.Struct(">Q")
_METHOD_INT = struct.Struct(">I")

# Class and method id of the frames that come once a message, as the one number that four bytes make.
_DELIVER_INT = (60 << 16) | 60
_ACK_INT = (60 << 16) | 80
_NACK_INT = (60 << 16) | 120


class FrameError(Exception):
    """The bytes are no frames: the broker or this module is wrong, and no figure may come out of it."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole frame: its type, its channel and its payload."""

    kind: int
    channel: int
    payload: bytes

    @property
    def method(self) -> tuple[int, int]:
        """Class and method id of a method frame; (0, 0) for any other."""
        if self.kind != METHOD:
            return 0, 0
        class_id, method_id = _METHOD_ID.unpack_from(self.payload)
        return class_id, method_id


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    """Frame `payload`."""
    return _FRAME.pack(kind, channel, len(payload)) + payload + b"\xce"


def method(channel: int, ids: tuple[int, int], arguments: bytes = b"") -> bytes:
    """A method frame with its arguments already encoded."""
    return frame(METHOD, channel, _METHOD_ID.pack(*ids) + arguments)


def shortstr(text: str) -> bytes:
    """A short string: one length octet, then at most 255 octets."""
    raw = text.encode()
    if len(raw) > 255:
        raise FrameError(f"a short string holds 255 octets, this one has {len(raw)}")
    return bytes((len(raw),)) + raw


def longstr(raw: bytes) -> bytes:
    """A long string: four length octets, then the octets."""
    return struct.pack(">I", len(raw)) + raw


def ack(channel: int, tag: int, *, multiple: bool) -> bytes:
    """A `basic.ack` frame."""
    return method(channel, BASIC_ACK, _TAG.pack(tag) + (b"\1" if multiple else b"\0"))


@dataclass(frozen=True, slots=True)
class Template:
    """A message as some sender put it on the wire, to be sent again under other ids.

    `properties` are the octets of the content header after the body size: property flags and property list.
    """

    properties: bytes
    body: bytes
    id: str

    def publish(self, channel: int, routing_key: str, frame_max: int) -> bytes:
        """The frames that publish it to the default exchange, `mandatory` as a careful sender does."""
        opening = struct.pack(">H", 0) + shortstr("") + shortstr(routing_key) + b"\1"
        parts = [
            method(channel, BASIC_PUBLISH, opening),
            frame(HEADER, channel, _CONTENT.pack(60, 0, len(self.body)) + self.properties),
        ]
        room = frame_max - FRAME_OVERHEAD
        parts += [frame(BODY, channel, self.body[at : at + room]) for at in range(0, len(self.body), room)]
        return b"".join(parts)

    def copies(self, count: int, *, channel: int, routing_key: str, frame_max: int) -> Iterator[bytes]:
        """`count` publishes of it, each under an id of its own of the same length, so that no size field changes."""
        once, old = self.publish(channel, routing_key, frame_max), self.id.encode()
        if old not in once:
            raise FrameError(f"the captured message does not carry its id {self.id!r}")
        dashed = "-" in self.id
        for _ in range(count):
            fresh = uuid.uuid4()
            yield once.replace(old, (str(fresh) if dashed else fresh.hex).encode())


def split(buffer: bytes) -> tuple[list[Frame], bytes]:
    """The whole frames at the head of `buffer`, and the rest."""
    frames, at = [], 0
    while len(buffer) - at >= FRAME_OVERHEAD:
        kind, channel, size = _FRAME.unpack_from(buffer, at)
        end = at + FRAME_OVERHEAD + size
        if end > len(buffer):
            break
        if buffer[end - 1] != FRAME_END:
            raise FrameError(f"frame of type {kind} and {size} octets does not end in 0xCE")
        frames.append(Frame(kind, channel, buffer[at + 7 : end - 1]))
        at = end
    return frames, buffer[at:]


class Scanner:
    """Counts whole messages and confirms in a stream of frames without making an object of any of them.

    `delivered` is the number of messages that have arrived with their whole body, `tag` the delivery tag of the last of
    them. `confirmed` is the number of publishes that the broker has acknowledged. `nacked` counts `basic.nack` frames.
    Every other method frame is kept in `others`.
    """

    __slots__ = ("_above", "_floor", "_missing", "_next_tag", "_rest", "delivered", "nacked", "others", "tag")

    def __init__(self) -> None:
        self.delivered = 0
        self.tag = 0
        self.nacked = 0
        self.others: list[Frame] = []
        self._rest = b""
        self._missing = -1  # octets of the current body still to come; -1 outside of a message
        self._next_tag = 0
        self._floor = 0  # every publish up to here is confirmed
        self._above: set[int] = set()  # and these single ones beyond it

    @property
    def confirmed(self) -> int:
        """How many publishes the broker has confirmed so far."""
        return self._floor + len(self._above)

    def feed(self, data: bytes) -> None:
        """Take what the socket gave; cut frames are kept for the next call."""
        buffer = self._rest + data if self._rest else data
        at, end_of_data = 0, len(buffer)
        unpack, method_int = _FRAME.unpack_from, _METHOD_INT.unpack_from
        while end_of_data - at >= FRAME_OVERHEAD:
            kind, channel, size = unpack(buffer, at)
            end = at + FRAME_OVERHEAD + size
            if end > end_of_data:
                break
            if buffer[end - 1] != FRAME_END:
                raise FrameError(f"frame of type {kind} and {size} octets does not end in 0xCE")
            if kind == BODY:
                self._missing -= size
                if self._missing <= 0:
                    self._complete()
            elif kind == METHOD:
                (ids,) = method_int(buffer, at + 7)
                if ids == _DELIVER_INT:
                    # consumer-tag is a short string; the delivery tag follows it
                    (self._next_tag,) = _TAG.unpack_from(buffer, at + 12 + buffer[at + 11])
                elif ids == _ACK_INT:
                    self._confirm(_TAG.unpack_from(buffer, at + 11)[0], multiple=buffer[at + 19] & 1)
                elif ids == _NACK_INT:
                    self.nacked += 1
                else:
                    self.others.append(Frame(kind, channel, buffer[at + 7 : end - 1]))
            elif kind == HEADER:
                (self._missing,) = _TAG.unpack_from(buffer, at + 11)
                if not self._missing:
                    self._complete()
            at = end
        self._rest = buffer[at:]

    def _complete(self) -> None:
        if self._missing < 0:
            raise FrameError("a body is longer than its header says")
        self._missing = -1
        self.delivered += 1
        self.tag = self._next_tag

    def _confirm(self, tag: int, *, multiple: int) -> None:
        if multiple:
            if tag > self._floor:
                self._floor = tag
        elif tag == self._floor + 1:
            self._floor = tag
        elif tag > self._floor:
            self._above.add(tag)
            return
        if self._above:
            self._above = {above for above in self._above if above > self._floor}
            while self._floor + 1 in self._above:
                self._floor += 1
                self._above.discard(self._floor)
