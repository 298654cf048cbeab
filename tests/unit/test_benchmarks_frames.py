"""The frame scanner that the ceilings rest on counts whole messages and confirms, however the bytes are cut."""

from __future__ import annotations

import itertools
import struct
import uuid

import pika
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import frames as f

FRAME_MAX = 4096


def delivery(tag: int, body: bytes, *, consumer: str = "amq.ctag-x") -> bytes:
    """A message as the broker delivers it, encoded by pika."""
    method = pika.spec.Basic.Deliver(consumer, tag, False, "", "queue")
    parts = [pika.frame.Method(1, method).marshal()]
    header = pika.frame.Header(1, len(body), pika.BasicProperties(content_type="application/json", headers={"a": 1}))
    parts.append(header.marshal())
    room = FRAME_MAX - f.FRAME_OVERHEAD
    parts += [pika.frame.Body(1, body[at : at + room]).marshal() for at in range(0, len(body), room)]
    return b"".join(parts)


def broker_ack(tag: int, *, multiple: bool) -> bytes:
    """A confirm as the broker sends it, encoded by pika."""
    return pika.frame.Method(1, pika.spec.Basic.Ack(tag, multiple)).marshal()


def feed_in_pieces(scanner: f.Scanner, data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for begin, end in itertools.pairwise(edges):
        scanner.feed(data[begin:end])


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([0, 1, 5, FRAME_MAX - 8, FRAME_MAX - 7, 10_000]), max_size=8),
    cuts=st.lists(st.integers(min_value=0, max_value=10**6), max_size=12),
)
def test_scanner_counts_whole_messages_at_any_cut(sizes: list[int], cuts: list[int]) -> None:
    data = b"".join(delivery(tag, b"x" * size) for tag, size in enumerate(sizes, start=1))
    scanner = f.Scanner()
    feed_in_pieces(scanner, data, cuts)
    assert (scanner.delivered, scanner.tag) == (len(sizes), len(sizes))


def test_scanner_counts_a_message_only_with_its_last_octet() -> None:
    scanner, data = f.Scanner(), delivery(7, b"x" * 9000)
    scanner.feed(data[:-1])
    assert (scanner.delivered, scanner.tag) == (0, 0)
    scanner.feed(data[-1:])
    assert (scanner.delivered, scanner.tag) == (1, 7)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_scanner_counts_confirms_in_any_order(data: st.DataObject) -> None:
    count = data.draw(st.integers(min_value=1, max_value=30))
    waiting, stream, confirmed = set(range(1, count + 1)), b"", set()
    scanner = f.Scanner()
    while waiting:
        tag, multiple = data.draw(st.sampled_from(sorted(waiting))), data.draw(st.booleans())
        hit = {other for other in waiting if other <= tag} if multiple else {tag}
        stream = broker_ack(tag, multiple=multiple)
        waiting -= hit
        confirmed |= hit
        scanner.feed(stream)
        assert scanner.confirmed == len(confirmed)
    assert scanner.confirmed == count


def test_scanner_keeps_what_is_neither_delivery_nor_confirm() -> None:
    scanner = f.Scanner()
    scanner.feed(pika.frame.Method(1, pika.spec.Basic.ConsumeOk("tag")).marshal())
    scanner.feed(pika.frame.Heartbeat().marshal())
    scanner.feed(pika.frame.Method(1, pika.spec.Basic.Nack(3)).marshal())
    assert [frame.method for frame in scanner.others] == [f.BASIC_CONSUME_OK]
    assert scanner.nacked == 1


def test_scanner_refuses_what_is_no_frame() -> None:
    broken = delivery(1, b"x")[:-1] + b"\x00"
    with pytest.raises(f.FrameError, match="0xCE"):
        f.Scanner().feed(broken)
    with pytest.raises(f.FrameError, match="0xCE"):
        f.split(broken)
    with pytest.raises(f.FrameError, match="longer than its header"):
        f.Scanner().feed(delivery(1, b"x") + f.frame(f.BODY, 1, b"more"))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(min_value=0, max_value=400))
def test_split_gives_whole_frames_and_the_rest(payloads: list[bytes], cut: int) -> None:
    data = b"".join(f.frame(f.BODY, 3, payload) for payload in payloads)
    head, rest = f.split(data[:cut])
    tail, nothing = f.split(rest + data[cut:])
    assert [frame.payload for frame in head + tail] == payloads
    assert nothing == b""


def published(data: bytes) -> list[tuple[pika.spec.Basic.Publish, pika.BasicProperties, bytes]]:
    """Decode publishes with pika."""
    messages = []
    while data:
        used, method = pika.frame.decode_frame(data)
        data = data[used:]
        used, header = pika.frame.decode_frame(data)
        data, body = data[used:], b""
        while len(body) < header.body_size:
            used, part = pika.frame.decode_frame(data)
            data, body = data[used:], body + part.fragment
        messages.append((method.method, header.properties, body))
    return messages


@pytest.mark.parametrize("identity", [str(uuid.uuid4()), uuid.uuid4().hex])
@pytest.mark.parametrize("padding", [0, 9000])
def test_copies_of_a_template_differ_in_their_id_alone(identity: str, padding: int) -> None:
    properties = pika.BasicProperties(correlation_id=identity, delivery_mode=2, headers={"id": identity, "n": 1})
    template = f.Template(b"".join(properties.encode()), identity.encode() + b"x" * padding, identity)
    data = b"".join(template.copies(3, channel=1, routing_key="some.queue", frame_max=FRAME_MAX))
    messages = published(data)
    assert len({props.correlation_id for _, props, _ in messages} | {identity}) == 4
    for method, props, body in messages:
        assert (method.exchange, method.routing_key, method.mandatory) == ("", "some.queue", True)
        assert props.headers == {"id": props.correlation_id, "n": 1}
        assert props.delivery_mode == 2
        assert body == props.correlation_id.encode() + b"x" * padding


def test_a_template_without_its_id_makes_no_copies() -> None:
    template = f.Template(b"\0\0", b"{}", str(uuid.uuid4()))
    with pytest.raises(f.FrameError, match="does not carry its id"):
        next(template.copies(1, channel=1, routing_key="q", frame_max=FRAME_MAX))


def test_small_frames_are_what_pika_reads() -> None:
    _, ack = pika.frame.decode_frame(f.ack(1, 2**40, multiple=True))
    assert (ack.method.delivery_tag, ack.method.multiple) == (2**40, True)
    qos = f.method(1, f.BASIC_QOS, struct.pack(">IHB", 0, 256, 0))
    assert pika.frame.decode_frame(qos)[1].method.prefetch_count == 256
    with pytest.raises(f.FrameError, match="255"):
        f.shortstr("x" * 256)
