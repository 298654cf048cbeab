"""The harness's raw client against a real broker: what it publishes, counts and drains are the bytes of the wire."""

from __future__ import annotations

from collections.abc import Iterator

import pika
import pika.exceptions
import pytest

from tests.support.messages import Outgoing, entries, nested, properties, raw_table, task_message, year_60000
from tests.support.raw import Raw, RawClosed, count, drain


@pytest.fixture
def raw(vhost_url: str) -> Iterator[Raw]:
    with Raw(vhost_url) as client:
        yield client


def test_a_message_goes_in_and_comes_out_the_same(raw: Raw, vhost_url: str) -> None:
    assert raw.declare_queue("q") == (0, 0)
    props = properties(headers={"a": 1, "b": ["x", None]}, content_type="text/plain", priority=3, timestamp=5)
    body = bytes(range(256)) * 2000  # several frames
    assert raw.publish("q", body, properties=props) == "ack"
    assert count(vhost_url, "q") == 1
    (message,) = drain(vhost_url, "q")
    assert (message.exchange, message.routing_key, message.redelivered) == ("", "q", False)
    assert message.properties == props
    assert message.body == body
    assert message.headers == {"a": 1, "b": ["x", None]}
    assert message.fields["priority"] == 3
    assert raw.count("q") == 0


def test_ten_thousand_are_confirmed_and_drained_in_order(raw: Raw) -> None:
    raw.declare_queue("q")
    fates = raw.publish_many(Outgoing("q", str(number).encode(), properties()) for number in range(10_000))
    assert fates == ["ack"] * 10_000
    assert [int(message.body) for message in raw.drain("q")] == list(range(10_000))


def test_each_message_gets_its_own_fate(raw: Raw) -> None:
    raw.declare_queue("q")
    raw.declare_queue("full", arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    keys = ["q", "nowhere", "full", "q", "nowhere", "q"]
    headers = {"b": 1, "a": 2}
    fates = raw.publish_many(Outgoing(key, key.encode(), properties(headers=headers)) for key in keys)
    assert fates == ["ack", "returned", "nack", "ack", "returned", "ack"]


def test_exchanges_bindings_get_purge_delete(raw: Raw) -> None:
    raw.declare_exchange("x", "topic")
    raw.declare_queue("q")
    raw.bind("q", "x", "a.*")
    assert raw.publish("a.b", b"1", exchange="x") == "ack"
    assert raw.publish("b.b", b"2", exchange="x") == "returned"
    message = raw.get("q")
    assert message is not None
    assert (message.exchange, message.routing_key, message.body) == ("x", "a.b", b"1")
    assert raw.get("q") is None
    raw.publish("a.c", b"3", exchange="x")
    assert raw.purge("q") == 1
    assert raw.delete_queue("q") == 0
    assert not raw.exists("q")


def test_a_closed_channel_is_told_and_replaced(raw: Raw) -> None:
    with pytest.raises(RawClosed, match="404") as error:
        raw.count("none")
    assert error.value.code == 404
    raw.declare_queue("q")
    assert raw.publish("q", b"after") == "ack"
    with pytest.raises(RawClosed, match="404"):
        raw.publish("q", b"x", exchange="none")
    assert raw.publish("q", b"again") == "ack"
    assert raw.count("q") == 2


@pytest.mark.parametrize("odd", [year_60000(), nested(600)], ids=["year-60000", "600-deep"])
def test_what_pika_cannot_decode_is_published_and_drained(raw: Raw, vhost_url: str, odd: bytes) -> None:
    raw.declare_queue("q")
    message = task_message("t", (1,), queue="q", task_id="odd-1", odd=odd)
    assert raw.send(message) == "ack"
    with pytest.raises((pika.exceptions.AMQPError, ValueError, OverflowError, RecursionError)):
        _get_with_pika(vhost_url)
    raw.wait_count("q", 1)  # the broker takes it back when pika has dropped the connection over it
    (drained,) = raw.drain("q")
    assert drained.correlation_id == "odd-1"
    assert odd in drained.properties
    assert drained.body == message.body


def _get_with_pika(url: str) -> object:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    return connection.channel().basic_get("q", auto_ack=False)


def test_a_table_can_be_any_bytes_that_the_broker_takes(raw: Raw) -> None:
    raw.declare_queue("q")
    table = raw_table(b"\x03oddV" + entries({"x": "y"}))
    assert raw.publish("q", b"", properties=properties(headers=table)) == "ack"
    (message,) = raw.drain("q")
    assert message.fields["headers"] == table
    assert message.headers == {"x": "y", "odd": None}
