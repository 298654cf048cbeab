"""A channel's end: who hears of it, and who must not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from pika.exceptions import ChannelClosedByBroker, ChannelClosedByClient, StreamLostError

from amqtask.errors import ChannelClosed
from amqtask.transport.session import Channel


def channel(session: SimpleNamespace, told: list[object]) -> Channel:
    connection = SimpleNamespace(sinks={}, drop_sink=lambda _number: None)
    pika_channel = SimpleNamespace(channel_number=1, is_open=True, close=lambda: None)

    def closed_by_broker(_channel: Channel, error: ChannelClosed) -> None:
        told.append(error)

    return Channel(cast("Any", session), cast("Any", connection), cast("Any", pika_channel), closed_by_broker)


def test_pain1_a_close_that_the_session_does_not_survive_is_not_answered() -> None:
    # Whoever waits for the answer would go on with a session that is dead.
    told: list[object] = []
    session = SimpleNamespace(is_open=True)
    closing = channel(session, told)
    closing.close(lambda: told.append("agreed"))
    session.is_open = False
    closing.closed(StreamLostError("reset"))
    assert told == []


def test_a_close_that_the_broker_agrees_to_is_answered() -> None:
    told: list[object] = []
    closing = channel(SimpleNamespace(is_open=True), told)
    closing.close(lambda: told.append("agreed"))
    closing.closed(ChannelClosedByClient(0, "bye"))
    assert told == ["agreed"]


def test_a_close_by_the_broker_is_told_with_its_code() -> None:
    told: list[object] = []
    channel(SimpleNamespace(is_open=True), told).closed(ChannelClosedByBroker(404, "NOT_FOUND"))
    (error,) = told
    assert isinstance(error, ChannelClosed)
    assert error.code == 404
