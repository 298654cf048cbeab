"""Bodies: kombu's JSON both ways, hostile JSON, and compression with a bound."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import json
import uuid
import zlib
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import kombu.utils.json as kombu_json
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kombu import compression as kombu_compression

from amqtask.errors import ContentRefused, MalformedMessage, MessageError, SettingsError, TaskError
from amqtask.wire import serializers

TYPED = [
    datetime(2024, 2, 29, 12, 30, 1, 5, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    datetime(2024, 2, 29, 12, 30),
    date(1999, 12, 31),
    time(23, 59, 59, 7),
    Decimal("12.3400"),
    uuid.UUID("12345678123456781234567812345678"),
    b"plain",
    b"\xff\x00binary",
]

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats(allow_nan=False) | st.text()
    | st.sampled_from(TYPED),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@given(VALUES)
@settings(deadline=None)
def test_kombu_reads_ours_and_we_read_kombus(value: object) -> None:
    assert kombu_json.loads(serializers.to_json(value)) == value
    assert serializers.from_json(kombu_json.dumps(value).encode(), "utf-8") == value
    assert json.loads(serializers.to_json(value)) == json.loads(kombu_json.dumps(value))


def test_types_that_a_program_registered_with_kombu_travel() -> None:
    kombu_json.register_type(complex, "test-complex", lambda c: [c.real, c.imag], lambda v: complex(*v))
    assert serializers.from_json(serializers.to_json([1 + 2j])) == [1 + 2j]
    with pytest.raises(MalformedMessage) as caught:
        serializers.from_json(b'{"__type__": "test-complex", "__value__": ["x"]}')
    assert caught.value.reason == "bad_body"


@pytest.mark.parametrize("value", [object(), {1, 2}, {(1, 2): 3}, lambda: 0])
def test_what_json_cannot_carry_is_a_task_error(value: object) -> None:
    with pytest.raises(TaskError, match="JSON"):
        serializers.to_json([value])


def test_circles_and_depth_are_task_errors() -> None:
    circle: list[object] = []
    circle.append(circle)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (circle, deep):
        with pytest.raises(TaskError):
            serializers.to_json(value)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\xff", b"{", b"[1,", b"nul", b'"\xc3', b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000,
        b'{"__type__": "uuid", "__value__": {"hex": "xyz"}}',
        b'{"__type__": "uuid", "__value__": {}}',
        b'{"__type__": "uuid", "__value__": 5}',
        b'{"__type__": "datetime", "__value__": "yesterday"}',
        b'{"__type__": "datetime", "__value__": null}',
        b'{"__type__": "decimal", "__value__": "many"}',
        b'{"__type__": "base64", "__value__": "a"}',
        b'{"__type__": "bytes", "__value__": "\\ud800"}',
        b'{"__type__": "unknown", "__value__": 1}',
        b'{"__type__": [], "__value__": 1}',
    ],
)  # fmt: skip
def test_b26_what_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        serializers.from_json(body)
    assert caught.value.reason == "bad_body"


@given(
    st.binary(max_size=60) | st.text(max_size=60).map(str.encode),
    st.sampled_from([None, "utf-8", "utf-16", "latin-1", "idna"]),
)
@settings(deadline=None, max_examples=300)
def test_b26_random_bodies_raise_nothing_else(body: bytes, charset: str | None) -> None:
    with contextlib.suppress(MessageError):
        serializers.from_json(body, charset)


def test_charsets() -> None:
    for charset in (None, "", "UTF-8", "binary", "us-ascii"):
        assert serializers.from_json('"é"'.encode(), charset) == "é"
    assert serializers.from_json('"é"'.encode("latin-1"), "ISO-8859-1") == "é"
    assert serializers.from_json('"é"'.encode("utf-16"), "utf-16") == "é"
    with pytest.raises(ContentRefused, match="idna"):
        serializers.from_json(b"1", "idna")


@pytest.mark.parametrize(
    ("name", "content_type"),
    [("gzip", "application/x-gzip"), ("zlib", "application/x-gzip"), ("bzip2", "application/x-bz2")],
)
def test_s27_compression_both_ways_with_kombu(name: str, content_type: str) -> None:
    body = b"text " * 1000
    ours, mime = serializers.compress(body, name)
    assert mime == content_type
    assert kombu_compression.decompress(ours, mime) == body
    theirs, mime = kombu_compression.compress(body, name)
    assert mime == content_type
    assert serializers.decompress(theirs, mime, max_bytes=len(body)) == body


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress, bz2.compress])
def test_b26_a_bomb_is_refused_at_its_bound(pack: object) -> None:
    assert callable(pack)
    bomb = pack(b"\0" * 5_000_000)
    mime = serializers.BZIP2 if pack is bz2.compress else serializers.GZIP
    assert len(serializers.decompress(bomb, mime, max_bytes=5_000_000)) == 5_000_000
    with pytest.raises(ContentRefused, match="unpacks") as caught:
        serializers.decompress(bomb, mime, max_bytes=4_999_999)
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("mime", [serializers.GZIP, serializers.BZIP2])
def test_b26_corrupt_and_cut_compression_is_malformed(mime: str) -> None:
    good, _ = serializers.compress(b"text " * 1000, mime)
    for bad in (b"", b"nonsense", good[:-3], good[:10], good[:5] + b"\xff\xff" + good[7:]):
        with pytest.raises(MalformedMessage) as caught:
            serializers.decompress(bad, mime, max_bytes=10_000)
        assert caught.value.reason == "bad_body"


def test_unknown_compression_is_refused() -> None:
    with pytest.raises(ContentRefused):
        serializers.decompress(b"", "application/x-lzma", max_bytes=10)
    with pytest.raises(SettingsError, match="gzip, bzip2"):
        serializers.compress(b"", "lzma")


def test_s15_serializer_names() -> None:
    assert serializers.content_type_of("json") == "application/json"
    assert serializers.accepted(["json", "application/json"]) == {"application/json"}
    with pytest.raises(SettingsError, match="not in this version"):
        serializers.content_type_of("pickle")
    with pytest.raises(SettingsError, match="did you mean 'json'"):
        serializers.content_type_of("jsom")


def test_timezones_survive() -> None:
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    back = serializers.from_json(serializers.to_json(moment))
    assert isinstance(back, datetime)
    assert back.utcoffset() == timedelta(0)
