"""A bulk send names each failure by position, keeps a bounded number under way, and ends when the broker is gone."""

from __future__ import annotations

import pytest

from amqtask.clock import SYSTEM
from amqtask.errors import AmqtaskError, BatchFailed, ConnectionLost, Fate, MessageTooLarge, Unroutable
from amqtask.publish import pipeline as module
from amqtask.publish.confirmation import Confirmation
from amqtask.publish.entry import Entry
from amqtask.publish.pipeline import AHEAD, Pipeline
from amqtask.wire.message import Encoded


class Sender:
    """Ends each message as `outcome` says, when it is handed over; counts the hand-overs."""

    def __init__(self, outcome=lambda name: None) -> None:
        self.outcome = outcome
        self.handed: list[int] = []

    def make(self, message, exchange, routing_key, deadline_s, retry, retry_policy):
        if len(message.body) > 100:
            raise MessageTooLarge("too large", message_id=message.id)
        confirmation = Confirmation(message.id, deadline=SYSTEM.monotonic() + 5)
        entry = Entry(
            message, exchange=exchange, routing_key=routing_key, deadline=0, policy=None, done=confirmation.settle
        )
        return confirmation, entry

    def hand_over(self, entries) -> None:
        self.handed.append(len(entries))
        for entry in entries:
            entry.settle(self.outcome(entry.id))

    def pipeline(self) -> Pipeline:
        return Pipeline(self.make, self.hand_over)


def send(pipeline: Pipeline, names, body: bytes = b"") -> None:
    for name in names:
        pipeline.send(Encoded(str(name), b"", body), exchange="", routing_key="q")


def test_k08_ids_in_order_and_few_hand_overs() -> None:
    sender = Sender()
    pipeline = sender.pipeline()
    send(pipeline, range(1000))
    assert pipeline.finish() == [str(number) for number in range(1000)]
    assert len(sender.handed) == 4


def test_k08_each_failure_has_its_position() -> None:
    def outcome(name: str) -> AmqtaskError | None:
        return Unroutable("nowhere", message_id=name) if name == "3" else None

    pipeline = Sender(outcome).pipeline()
    send(pipeline, range(5))
    send(pipeline, [5], body=b"x" * 101)
    send(pipeline, [6])
    with pytest.raises(BatchFailed, match="2 of 7") as caught:
        pipeline.finish()
    assert {at: type(error) for at, error in caught.value.failures.items()} == {
        3: Unroutable,
        5: MessageTooLarge,
    }


def test_k08_no_more_than_so_many_are_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AHEAD", 100)
    monkeypatch.setattr(module, "HAND_OVER", 10)
    sender = Sender()
    pipeline = sender.pipeline()
    most = 0
    for number in range(1000):
        send(pipeline, [number])
        most = max(most, len(pipeline._under_way))
    assert most <= 100
    assert len(pipeline.finish()) == 1000
    assert AHEAD == 8192


def test_pain10_the_rest_fails_at_once_when_the_broker_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AHEAD", 10)
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    sender = Sender(lambda name: ConnectionLost("gone", fate=Fate.NOT_SENT))
    pipeline = sender.pipeline()
    send(pipeline, range(1000))
    with pytest.raises(BatchFailed) as caught:
        pipeline.finish()
    assert len(caught.value.failures) == 1000
    assert {error.fate for error in caught.value.failures.values()} == {Fate.NOT_SENT}
    assert sum(sender.handed) < 30


def test_an_exception_in_the_block_is_not_hidden() -> None:
    sender = Sender(lambda name: Unroutable("nowhere"))

    def block() -> None:
        with sender.pipeline() as pipeline:
            send(pipeline, range(3))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        block()
    assert sum(sender.handed) == 3
