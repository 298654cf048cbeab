"""Property lists: both ways against pika's codec, the quick look at the correlation id, and damaged bytes."""

from __future__ import annotations

import contextlib
import struct
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pika.spec import BasicProperties

from amqtask.errors import MalformedMessage, TaskError
from amqtask.wire import content
from amqtask.wire.message import Encoded, Message, Properties

SHORT = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
PROPERTIES = st.builds(
    Properties,
    content_type=SHORT,
    content_encoding=SHORT,
    delivery_mode=st.none() | st.integers(0, 255),
    priority=st.none() | st.integers(0, 255),
    correlation_id=SHORT,
    reply_to=SHORT,
    expiration=SHORT,
    message_id=SHORT,
    timestamp=st.none() | st.integers(0, (1 << 64) - 1),
    type=SHORT,
    user_id=SHORT,
    app_id=SHORT,
    cluster_id=SHORT,
)
HEADERS = st.dictionaries(
    st.text("abc", max_size=5), st.none() | st.integers(-9, 9) | st.text("xyz", max_size=9), max_size=4
)


def as_dict(properties: Properties) -> dict[str, object]:
    return {field.name: getattr(properties, field.name) for field in fields(properties)}


@given(PROPERTIES, HEADERS)
@settings(deadline=None)
def test_pika_reads_what_we_write_and_we_what_pika_writes(properties: Properties, headers: dict[str, object]) -> None:
    raw = content.encode_properties(properties, headers)
    theirs = BasicProperties(headers=headers, **as_dict(properties))  # type: ignore[arg-type]
    assert b"".join(theirs.encode()) == raw
    assert BasicProperties().decode(raw) == theirs
    assert content.decode_properties(raw) == (properties, headers)
    assert content.correlation_id_of(raw) == properties.correlation_id


@given(PROPERTIES)
@settings(deadline=None)
def test_no_headers_is_no_table(properties: Properties) -> None:
    raw = content.encode_properties(properties, None)
    assert not struct.unpack(">H", raw[:2])[0] & content.HEADERS
    assert content.decode_properties(raw) == (properties, {})


def test_the_correlation_id_is_found_behind_a_table_that_nobody_can_decode() -> None:
    raw = content.encode_properties(Properties(content_type="t", priority=3, correlation_id="the-id"), {"k": "v"})
    broken = raw.replace(b"\x01kS", b"\x01k?")
    assert content.correlation_id_of(broken) == "the-id"
    with pytest.raises(MalformedMessage):
        content.decode_properties(broken)


@given(PROPERTIES, HEADERS, st.data())
@settings(deadline=None, max_examples=300)
def test_b26_damaged_properties_raise_nothing_else(
    properties: Properties, headers: dict[str, object], data: st.DataObject
) -> None:
    raw = bytearray(content.encode_properties(properties, headers))
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    assert content.correlation_id_of(cut) is None or isinstance(content.correlation_id_of(cut), str)
    with contextlib.suppress(MalformedMessage):
        content.decode_properties(cut)


@pytest.mark.parametrize("raw", [b"", b"\x00", b"\x00\x01\x00\x00", b"\x80\x00", b"\x80\x00\x05ab", b"\x00\x00more"])
def test_b26_lists_that_do_not_end_where_they_should(raw: bytes) -> None:
    with pytest.raises(MalformedMessage):
        content.decode_properties(raw)


@pytest.mark.parametrize(
    "properties",
    [
        Properties(correlation_id="x" * 256),
        Properties(priority=256),
        Properties(priority=-1),
        Properties(timestamp=-1),
        Properties(reply_to="\ud800"),
        Properties(type=5),  # type: ignore[arg-type]
    ],
)
def test_values_that_do_not_fit_are_task_errors(properties: Properties) -> None:
    with pytest.raises(TaskError):
        content.encode_properties(properties, None)


def test_a_message_survives_encoding() -> None:
    message = Message(Properties(correlation_id="c", message_id="m"), {"a": 1}, b"body")
    encoded = content.encode(message)
    assert (encoded.id, encoded.body) == ("m", b"body")
    assert content.decode(encoded) == message
    assert content.encode(Message(Properties(), {}, b"")).id == ""
    assert isinstance(encoded, Encoded)
