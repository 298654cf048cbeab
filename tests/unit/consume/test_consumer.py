"""A queue's consumer: its channel's life, and what is asked for while the broker has not answered the last thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from amqtask.clock import Clock
from amqtask.consume.consumer import QueueConsumer
from amqtask.consume.credit import Steps
from amqtask.consume.delivery import Delivery
from amqtask.errors import AmqtaskError, ChannelClosed
from amqtask.wire import frames


class PikaChannel:
    """Writes down what it is asked for; the test answers."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.prefetch = 0
        self.tags: list[str] = []
        self._answers: list[Callable[[object], None]] = []
        self.cancelled_by_broker: Callable[[object], None] = lambda _: None

    def add_on_cancel_callback(self, fn: Callable[[object], None]) -> None:
        self.cancelled_by_broker = fn

    def basic_qos(self, prefetch_count: int) -> None:
        self.prefetch = prefetch_count

    def basic_consume(self, queue: str, _taker: object, consumer_tag: str, callback: Callable[[object], None]) -> None:
        self.asked.append("consume")
        self.tags.append(consumer_tag)
        self._answers.append(callback)

    def basic_cancel(self, consumer_tag: str, callback: Callable[[object], None]) -> None:
        assert consumer_tag == self.tags[-1]
        self.asked.append("cancel")
        self._answers.append(callback)

    def answer(self) -> None:
        """The broker answers the oldest question."""
        self._answers.pop(0)(None)


class Channel:
    def __init__(self, session: Session, number: int, on_closed: Callable[[Any, ChannelClosed], None]) -> None:
        self.session = session
        self.number = number
        self.pika = PikaChannel()
        self.sink: object = None
        self.on_closed = on_closed
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Session:
    """Opens channels when the test says so."""

    def __init__(self) -> None:
        self.is_open = True
        self.opening: list[tuple[Callable[[Any], None], Callable[[Any, ChannelClosed], None]]] = []
        self.channels: list[Channel] = []
        self.sent: list[bytes] = []

    def open_channel(self, on_open: Callable[[Any], None], on_closed: Callable[[Any, ChannelClosed], None]) -> None:
        if not self.is_open:
            raise AmqtaskError("not connected")
        self.opening.append((on_open, on_closed))

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def opened(self) -> Channel:
        on_open, on_closed = self.opening.pop(0)
        channel = Channel(self, len(self.channels) + 1, on_closed)
        self.channels.append(channel)
        on_open(channel)
        return channel


class World:
    """A consumer, the node around it, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.wanted = 2
        self.delivered_: list[Delivery] = []
        self.ups = 0
        self.downs: list[AmqtaskError] = []
        self.session = Session()
        self.consumer = QueueConsumer(
            "q",
            0,
            taker=self,
            prefetch=lambda: self.wanted,
            steps=Steps(16),
            clock=Clock(monotonic=lambda: self.now),
            on_up=self.up,
            on_down=lambda _consumer, error: self.downs.append(error),
        )

    def up(self, _consumer: QueueConsumer) -> None:
        self.ups += 1

    def delivered(self, delivery: Delivery) -> None:
        self.delivered_.append(delivery)

    def open(self) -> Channel:
        self.consumer.open(cast("Any", self.session))
        return self.session.opened()

    def consuming(self) -> Channel:
        channel = self.open()
        channel.pika.answer()
        assert self.consumer.consuming
        return channel

    def deliver(self, tag: int) -> None:
        self.consumer.on_delivery(b"t", tag, False, b"\x00\x01q", b"\x00\x00", b"")


@pytest.fixture
def world() -> World:
    return World()


def test_pain1_a_second_try_while_a_channel_is_under_way_opens_no_second_channel(world: World) -> None:
    world.consuming()
    world.consumer.forget()
    world.consumer.open(cast("Any", world.session))
    world.consumer.reopen()  # a timer of the session before
    assert len(world.session.opening) == 1
    world.session.opened()
    world.consumer.reopen()
    assert not world.session.opening


def test_pain1_a_session_that_died_meanwhile_is_not_consumed(world: World) -> None:
    world.session.is_open = False
    world.consumer.open(cast("Any", world.session))
    assert not world.session.opening


def test_pain1_what_the_broker_cancels_is_given_up_once_and_can_be_opened_again(world: World) -> None:
    channel = world.consuming()
    world.deliver(1)
    (one,) = world.delivered_
    world.consumer.ack(one)
    channel.pika.cancelled_by_broker(None)
    assert world.session.sent == [frames.ack(1, 1, multiple=False)]  # what was settled in this turn is still written
    assert channel.closed
    channel.pika.cancelled_by_broker(None)
    assert len(world.downs) == 1
    assert not world.consumer.ack(one)
    world.consumer.reopen()
    world.session.opened().pika.answer()
    assert world.consumer.consuming


def test_pain1_a_channel_that_the_broker_closes_kills_its_tags_only(world: World) -> None:
    channel = world.consuming()
    world.deliver(1)
    channel.on_closed(channel, ChannelClosed("PRECONDITION_FAILED", code=406))
    assert not world.consumer.give_back(world.delivered_[0])
    assert (world.consumer.unsettled, world.consumer.consuming, len(world.downs)) == (0, False, 1)
    assert world.session.sent == []


@pytest.mark.parametrize("how", ["stop", "pause"])
def test_k22_nothing_is_consumed_again_when_a_change_of_prefetch_is_under_way(world: World, how: str) -> None:
    channel = world.consuming()
    world.wanted = 9
    world.consumer.adjust()
    getattr(world.consumer, how)()
    channel.pika.answer()
    assert channel.pika.asked == ["consume", "cancel"]
    assert not world.consumer.consuming


def test_k22_a_stop_while_consuming_is_under_way_ends_it_as_soon_as_it_has_begun(world: World) -> None:
    channel = world.open()
    world.consumer.stop()
    world.deliver(1)
    assert world.session.sent == [frames.nack(1, 1, multiple=False, requeue=True)]
    channel.pika.answer()
    channel.pika.answer()
    assert channel.pika.asked == ["consume", "cancel"]
    assert not world.consumer.consuming


def test_pain1_a_pause_and_its_end_while_one_change_is_under_way_leave_it_consuming(world: World) -> None:
    channel = world.consuming()
    world.consumer.pause()
    world.consumer.resume()
    channel.pika.answer()
    channel.pika.answer()
    assert channel.pika.asked == ["consume", "cancel", "consume"]
    assert world.consumer.consuming


def test_pain1_a_pool_that_was_held_when_the_link_went_consumes_once_it_is_released(world: World) -> None:
    world.consuming()
    world.consumer.pause()
    world.consumer.forget()
    channel = world.open()
    assert channel.pika.asked == []
    world.consumer.resume()
    channel.pika.answer()
    assert world.consumer.consuming


def test_k12_what_an_earlier_consumer_brought_is_counted_until_it_is_settled(world: World) -> None:
    channel = world.consuming()
    for tag in (1, 2, 3):
        world.deliver(tag)
    world.wanted = 7
    world.consumer.adjust()
    channel.pika.answer()
    assert (channel.pika.prefetch, world.consumer.carried) == (7, 3)
    channel.pika.answer()
    world.deliver(4)
    world.consumer.give_back(world.delivered_[3])
    world.consumer.ack(world.delivered_[1])
    assert (world.consumer.unsettled, world.consumer.carried) == (2, 2)


def test_k12_the_consumer_of_a_queue_with_a_single_active_one_is_never_begun_anew(world: World) -> None:
    world.consumer.steady = True
    channel = world.consuming()
    world.wanted = 9
    world.consumer.adjust()
    assert channel.pika.asked == ["consume"]
