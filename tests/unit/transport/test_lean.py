"""The scanner cuts the same messages out of a stream as pika's own decoder, wherever the stream is cut."""

from __future__ import annotations

import contextlib
import itertools
import struct
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pika import frame, spec
from pika.channel import ContentFrameAssembler

from amqtask.transport.lean import BrokenStream, ContentScanner, NullSink

SINKS = (1, 2)  # channels that we scan
OTHERS = (0, 3)  # channels that are pika's


@dataclass
class Seen(NullSink):
    """Records what it is handed."""

    channel: int
    log: list[tuple[object, ...]] = field(default_factory=list)

    def on_delivery(self, consumer_tag, tag, redelivered, route, properties, body) -> None:
        self.log.append(("deliver", self.channel, consumer_tag, tag, redelivered, route, properties, body))

    def on_return(self, code, text, route, properties, body) -> None:
        self.log.append(("return", self.channel, code, text, route, properties, body))

    def on_ack(self, tag, multiple) -> None:
        self.log.append(("ack", self.channel, tag, multiple))

    def on_nack(self, tag, multiple, requeue) -> None:
        self.log.append(("nack", self.channel, tag, multiple, requeue))


def short(text: str) -> bytes:
    raw = text.encode()
    return bytes((len(raw),)) + raw


def by_pika(stream: bytes) -> list[tuple[object, ...]]:
    """What pika makes of the stream: one log, in the order in which messages become whole."""
    log: list[tuple[object, ...]] = []
    assemblers = {number: ContentFrameAssembler() for number in (*SINKS, *OTHERS)}
    while stream:
        used, value = frame.decode_frame(stream)
        assert value is not None
        raw, stream = stream[:used], stream[used:]
        number = value.channel_number
        content = not isinstance(value, frame.Method) or spec.has_content(value.method.INDEX)
        if number not in SINKS or not content or isinstance(value, frame.Heartbeat):
            if number in SINKS and isinstance(value.method, (spec.Basic.Ack, spec.Basic.Nack)):
                method = value.method
                if isinstance(method, spec.Basic.Ack):
                    log.append(("ack", number, method.delivery_tag, method.multiple))
                else:
                    log.append(("nack", number, method.delivery_tag, method.multiple, method.requeue))
            else:
                log.append(("other", raw))
            continue
        whole = assemblers[number].process(value)
        if whole is None:
            continue
        method, header, body = whole[0].method, whole[1], whole[2]
        properties = b"".join(header.properties.encode())
        route = short(method.exchange) + short(method.routing_key)
        if isinstance(method, spec.Basic.Deliver):
            tag = method.consumer_tag.encode()
            log.append(("deliver", number, tag, method.delivery_tag, method.redelivered, route, properties, body))
        else:
            log.append(("return", number, method.reply_code, method.reply_text, route, properties, body))
    return log


def by_us(pieces: list[bytes]) -> tuple[list[tuple[object, ...]], int, int, int]:
    log: list[tuple[object, ...]] = []

    def other(data: bytes) -> bool:
        log.append(("other", bytes(data)))
        return True

    scanner = ContentScanner(other)
    scanner.sinks.update({number: Seen(number, log) for number in SINKS})
    used = frames = 0
    for piece in pieces:
        taken, counted = scanner.feed(piece)
        used += taken
        frames += counted
    return log, used, frames, scanner.pending_bytes


texts = st.text(max_size=12)
channels = st.sampled_from((*SINKS, *OTHERS[1:]))


@st.composite
def properties(draw: st.DrawFn) -> spec.BasicProperties:
    return spec.BasicProperties(
        content_type=draw(st.none() | texts),
        delivery_mode=draw(st.none() | st.integers(1, 2)),
        correlation_id=draw(st.none() | texts),
        headers=draw(st.none() | st.dictionaries(texts, st.integers(0, 100) | texts, max_size=3)),
    )


@st.composite
def unit(draw: st.DrawFn) -> list[tuple[int, bytes]]:
    """Frames that belong together, each with its channel: one message, or one frame by itself."""
    kind = draw(st.sampled_from(("deliver", "deliver", "deliver", "return", "ack", "nack", "beat", "method")))
    number = draw(channels)
    tag = draw(st.integers(1, 2**64 - 1))
    if kind == "beat":
        return [(0, frame.Heartbeat().marshal())]
    if kind == "ack":
        return [(number, frame.Method(number, spec.Basic.Ack(tag, draw(st.booleans()))).marshal())]
    if kind == "nack":
        method = spec.Basic.Nack(tag, draw(st.booleans()), draw(st.booleans()))
        return [(number, frame.Method(number, method).marshal())]
    if kind == "method":
        return [(number, frame.Method(number, spec.Queue.DeclareOk(draw(texts), 1, 2)).marshal())]
    if kind == "deliver":
        content = spec.Basic.Deliver(draw(texts), tag, draw(st.booleans()), draw(texts), draw(texts))
    else:
        content = spec.Basic.Return(draw(st.integers(300, 320)), draw(texts), draw(texts), draw(texts))
    body = draw(st.binary(max_size=60))
    out = [frame.Method(number, content).marshal(), frame.Header(number, len(body), draw(properties())).marshal()]
    step = draw(st.sampled_from((7, 25, 60)))
    out += [frame.Body(number, body[at : at + step]).marshal() for at in range(0, len(body), step)]
    return [(number, raw) for raw in out]


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Units whose frames interleave across channels; those of one channel stay in order and apart."""
    queues: dict[int, list[bytes]] = {}
    for frames in draw(st.lists(unit(), max_size=8)):
        for number, raw in frames:
            queues.setdefault(number, []).append(raw)
    if draw(st.booleans()):
        return b"".join(raw for frames in queues.values() for raw in frames)
    out = []
    while queues:
        number = draw(st.sampled_from(sorted(queues)))
        out.append(queues[number].pop(0))
        if not queues[number]:
            del queues[number]
    return b"".join(out)


@given(streams(), st.lists(st.integers(0, 4000), max_size=12))
@settings(max_examples=400, deadline=None)
def test_b26_same_messages_as_pika_wherever_the_stream_is_cut(stream: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[a:b] for a, b in itertools.pairwise(edges)]
    expected = by_pika(stream)
    log, used, frames, pending = by_us(pieces)
    assert log == expected
    assert (used, pending) == (len(stream), 0)
    total = passed = 0
    rest = stream
    while rest:
        size = frame.decode_frame(rest)[0]
        total, rest = total + 1, rest[size:]
    passed = sum(1 for entry in expected if entry[0] == "other")
    assert frames == total - passed  # pika counts what it is passed


@given(streams())
@settings(max_examples=30, deadline=None)
def test_byte_by_byte(stream: bytes) -> None:
    log, used, _, _ = by_us([stream[at : at + 1] for at in range(len(stream))])
    assert log == by_pika(stream)
    assert used == len(stream)


DELIVER = frame.Method(1, spec.Basic.Deliver("ctag", 7, False, "", "q")).marshal()


def deliver(*, body: bytes = b"body", raw_properties: bytes = b"\x00\x00") -> bytes:
    payload = struct.pack(">HHQ", 60, 0, len(body)) + raw_properties
    header = struct.pack(">BHI", 2, 1, len(payload)) + payload + b"\xce"
    return DELIVER + header + (frame.Body(1, body).marshal() if body else b"")


def test_b26_what_pika_cannot_decode_is_passed_on_as_bytes() -> None:
    year_60000 = struct.pack(">Q", 1_831_000_000_000)
    table = b"\x01tT" + year_60000
    raw = struct.pack(">H", 1 << 13) + struct.pack(">I", len(table)) + table
    with pytest.raises((ValueError, OverflowError, OSError)):
        frame.decode_frame(deliver(raw_properties=raw)[len(DELIVER) :])
    log, *_ = by_us([deliver(raw_properties=raw)])
    assert log == [("deliver", 1, b"ctag", 7, False, b"\x00\x01q", raw, b"body")]


LONG_TEXT = struct.pack(">BHI", 1, 1, 20) + struct.pack(">I", 0x003C003C) + b"\xff" * 16 + b"\xce"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("end byte", deliver()[:-1] + b"\x00"),
        ("end byte of the method", deliver().replace(b"\xce", b"\xcd", 1)),
        ("body without message", frame.Body(1, b"x").marshal()),
        ("header without message", deliver()[len(DELIVER) :]),
        ("short method", struct.pack(">BHI", 1, 1, 4) + struct.pack(">I", 0x003C003C) + b"\xce"),
        ("long text", LONG_TEXT + deliver()[len(DELIVER) :]),
        ("long text, split", LONG_TEXT + frame.Heartbeat().marshal() + deliver()[len(DELIVER) :]),
        ("size over the limit", struct.pack(">BHI", 1, 1, 1 << 30)),
    ],
)  # fmt: skip
def test_a_broken_stream_is_one_typed_error(name: str, data: bytes) -> None:
    scanner = ContentScanner(lambda raw: True)
    scanner.sinks[1] = NullSink()
    scanner.frame_limit = 131072
    with pytest.raises(BrokenStream):
        scanner.feed(data + b"\x00" * 16)


@given(st.binary(max_size=200), st.integers(0, 60), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_b26_garbage_raises_nothing_but_broken_stream(noise: bytes, at: int, byte: int) -> None:
    data = bytearray(deliver() * 2 + noise)
    data[at % len(data)] = byte
    scanner = ContentScanner(lambda raw: True)
    scanner.sinks[1] = NullSink()
    used = 0
    with contextlib.suppress(BrokenStream):
        used = scanner.feed(bytes(data))[0]
    assert 0 <= used <= len(data)


def test_a_channel_may_lose_its_sink_in_the_middle() -> None:
    passed: list[bytes] = []
    scanner = ContentScanner(lambda raw: passed.append(raw) is None)
    seen = Seen(1)

    class Leaver(NullSink):
        def on_delivery(self, *args) -> None:
            seen.on_delivery(*args)
            del scanner.sinks[1]

    scanner.sinks[1] = Leaver()
    scanner.feed(deliver() + frame.Method(1, spec.Channel.CloseOk()).marshal())
    assert len(seen.log) == 1
    assert passed == [frame.Method(1, spec.Channel.CloseOk()).marshal()]


def test_the_scan_stops_when_pika_has_closed_the_connection() -> None:
    close = frame.Method(0, spec.Connection.Close(320, "bye", 0, 0)).marshal()
    scanner = ContentScanner(lambda raw: False)
    seen = Seen(1)
    scanner.sinks[1] = seen
    used, _ = scanner.feed(close + deliver())
    assert used == len(close)
    assert seen.log == []
    assert scanner.pending_bytes == len(deliver())
