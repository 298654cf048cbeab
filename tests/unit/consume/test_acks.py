"""Acknowledgement batches, held to a model of what RabbitMQ does with each frame."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from amqtask.consume.acks import AckBatch
from amqtask.wire import frames

ACK, NACK = 80, 120


class Broker:
    """The broker's side of one channel: outstanding tags, and RabbitMQ's rule for a tag that is not among them."""

    def __init__(self, tags: int) -> None:
        self.outstanding = list(range(1, tags + 1))
        self.acked: list[int] = []
        self.returned: list[int] = []
        self.frames = 0

    def take(self, data: bytes) -> None:
        while data:
            _, _, size = struct.unpack_from(">BHI", data)
            _, method, tag, bits = struct.unpack_from(">HHQB", data, 7)
            data = data[7 + size + 1 :]
            self.frames += 1
            assert tag in self.outstanding, f"406: unknown delivery tag {tag}"
            multiple = bits & 1
            settled = [one for one in self.outstanding if one == tag or (multiple and one < tag)]
            (self.acked if method == ACK else self.returned).extend(settled)
            self.outstanding = [one for one in self.outstanding if one not in settled]


def delivered(batch: AckBatch, tags: int) -> AckBatch:
    for tag in range(1, tags + 1):
        batch.delivered(tag)
    return batch


def test_k11_what_is_settled_in_one_turn_takes_one_frame() -> None:
    broker = Broker(100)
    batch = delivered(AckBatch(1, broker.take), 100)
    for tag in range(100, 0, -1):
        batch.ack(tag)
    batch.flush()
    assert sorted(broker.acked) == list(range(1, 101))
    assert broker.frames == 1


def test_k11_a_gap_is_never_acknowledged_over() -> None:
    broker = Broker(5)
    batch = delivered(AckBatch(1, broker.take), 5)
    for tag in (1, 2, 4, 5):
        batch.ack(tag)
    batch.flush()
    assert broker.outstanding == [3]
    assert sorted(broker.acked) == [1, 2, 4, 5]


@given(st.permutations(range(1, 30)), st.sets(st.integers(1, 29)), st.data())
def test_k11_every_tag_is_settled_as_asked(order: list[int], given_back: set[int], data: st.DataObject) -> None:
    broker = Broker(29)
    batch = delivered(AckBatch(1, broker.take), 29)
    for tag in order:
        if tag in given_back:
            batch.nack(tag)
        else:
            batch.ack(tag)
        if data.draw(st.booleans()):
            batch.flush()
    batch.flush()
    assert broker.outstanding == []
    assert sorted(broker.acked) == sorted(set(range(1, 30)) - given_back)
    assert sorted(broker.returned) == sorted(given_back)


def test_pain23_a_message_that_runs_for_hours_keeps_nothing_of_those_that_pass_it() -> None:
    written: list[bytes] = []
    batch = AckBatch(1, written.append)
    batch.delivered(1)
    for tag in range(2, 20_002):
        batch.delivered(tag)
        batch.ack(tag)
        batch.flush()
    tracked = [getattr(batch, name) for name in AckBatch.__slots__]
    assert sum(len(one) for one in tracked if isinstance(one, set | list | dict)) == 1
    batch.ack(1)
    batch.flush()
    assert written[-1] == frames.ack(1, 1, multiple=False)


def test_k11_what_lies_beyond_a_gap_waits_for_it_to_close() -> None:
    broker = Broker(6)
    batch = AckBatch(1, broker.take)
    for tag in range(1, 7):
        batch.delivered(tag)
    for tag in (1, 2, 4, 5, 6):
        batch.ack(tag)
    batch.flush(beyond_gaps=False)
    assert broker.acked == [1, 2]
    assert len(batch) == 3
    batch.ack(3)
    batch.flush(beyond_gaps=False)
    assert sorted(broker.acked) == [1, 2, 3, 4, 5, 6]
    assert (broker.frames, len(batch)) == (2, 0)


def test_k11_a_gap_that_stays_open_holds_nothing_back_for_long() -> None:
    broker = Broker(3)
    batch = AckBatch(1, broker.take)
    for tag in (1, 2, 3):
        batch.delivered(tag)
    batch.ack(3)
    batch.flush(beyond_gaps=False)
    assert broker.acked == []
    batch.flush()
    assert broker.acked == [3]
