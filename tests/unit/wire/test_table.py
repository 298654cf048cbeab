"""AMQP tables: both ways against pika's codec, and every kind of hostile bytes."""

from __future__ import annotations

import contextlib
import math
import struct
from datetime import UTC, datetime
from decimal import Decimal

import pika.data
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqtask.errors import MalformedMessage, TaskError
from amqtask.wire.table import MAX_DEPTH, MAX_TABLE_BYTES, decode_table, encode_table

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.binary(max_size=20),
    st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)).map(lambda d: d.replace(microsecond=0)),
    st.builds(
        lambda digits, scale: Decimal(digits).scaleb(-scale), st.integers(-(1 << 31), (1 << 31) - 1), st.integers(0, 9)
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
TABLES = st.dictionaries(NAMES, VALUES, max_size=12)


def pika_encoded(table: dict[str, object]) -> bytes:
    pieces: list[bytes] = []
    pika.data.encode_table(pieces, table)
    return b"".join(pieces)


@given(TABLES)
@settings(deadline=None)
def test_pika_reads_what_we_write(table: dict[str, object]) -> None:
    raw = encode_table(table)
    assert pika.data.decode_table(raw, 0) == (table, len(raw))


@given(TABLES)
@settings(deadline=None)
def test_we_read_what_pika_writes(table: dict[str, object]) -> None:
    raw = pika_encoded(table)
    assert decode_table(b"xyz" + raw, 3) == (table, 3 + len(raw))


@given(TABLES)
@settings(deadline=None)
def test_py_amqp_reads_what_we_write(table: dict[str, object]) -> None:
    from amqp.serialization import loads

    def naive(value: object) -> object:  # py-amqp hands timestamps out without their zone
        match value:
            case datetime():
                return value.replace(tzinfo=None)
            case dict():
                return {key: naive(item) for key, item in value.items()}
            case list():
                return [naive(item) for item in value]
        return value

    raw = encode_table(table)
    assert loads("F", raw, 0) == ([naive(table)], len(raw))


@given(st.floats())
@settings(deadline=None)
def test_floats_stay_floats(value: float) -> None:
    (back,) = decode_table(encode_table({"f": value}))[0].values()
    assert isinstance(back, float)
    assert back == value or (math.isnan(back) and math.isnan(value))


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (b"b", b"\xff", -1),
        (b"B", b"\xff", 255),
        (b"s", b"\xff\xfe", -2),
        (b"U", b"\xff\xfe", -2),
        (b"u", b"\xff\xfe", 65534),
        (b"I", b"\xff\xff\xff\xfe", -2),
        (b"i", b"\xff\xff\xff\xfe", 4294967294),
        (b"l", b"\xff" * 7 + b"\xfe", -2),
        (b"L", b"\xff" * 7 + b"\xfe", -2),
        (b"f", struct.pack(">f", 0.5), 0.5),
        (b"D", b"\x02\x00\x00\x00\x7b", Decimal("1.23")),
        (b"t", b"\x07", True),
        (b"T", b"\x00" * 8, datetime(1970, 1, 1, tzinfo=UTC)),
        (b"x", b"\x00\x00\x00\x01a", b"a"),
        (b"S", b"\x00\x00\x00\x01\xff", b"\xff"),  # text that is not UTF-8 stays bytes
        (b"A", b"\x00\x00\x00\x03Vt\x00", [None, False]),
        (b"A", b"\x00\x00\x00\x06S\x00\x00\x00\x01a", ["a"]),
    ],
)
def test_every_kind_of_field(kind: bytes, raw: bytes, value: object) -> None:
    field = b"\x01k" + kind + raw
    assert decode_table(struct.pack(">I", len(field)) + field) == ({"k": value}, 4 + len(field))


def nested(kind: bytes, depth: int) -> bytes:
    raw = b""
    for _ in range(depth):
        inner = (b"\x01k" if kind == b"F" else b"") + kind + struct.pack(">I", len(raw)) + raw
        raw = inner
    if kind == b"A":
        raw = b"\x01k" + raw
    return struct.pack(">I", len(raw)) + raw


@pytest.mark.parametrize("kind", [b"F", b"A"])
def test_b26_deep_nesting_is_malformed(kind: bytes) -> None:
    decode_table(nested(kind, MAX_DEPTH - 1))
    for depth in (MAX_DEPTH, 600, 20_000):
        with pytest.raises(MalformedMessage, match="nested") as caught:
            decode_table(nested(kind, depth))
        assert caught.value.reason == "bad_headers"


def test_b26_timestamp_in_year_60000_is_malformed() -> None:
    field = b"\x01kT" + struct.pack(">Q", 1_831_000_000_000)
    with pytest.raises(MalformedMessage, match="beyond the year 9999") as caught:
        decode_table(struct.pack(">I", len(field)) + field)
    assert caught.value.reason == "bad_headers"


def test_b26_oversized_table_is_malformed() -> None:
    with pytest.raises(MalformedMessage, match="more than"):
        decode_table(struct.pack(">I", MAX_TABLE_BYTES + 1) + b"\x00V" * MAX_TABLE_BYTES)


@given(TABLES, st.data())
@settings(deadline=None, max_examples=300)
def test_b26_damaged_tables_raise_nothing_else(table: dict[str, object], data: st.DataObject) -> None:
    raw = bytearray(encode_table(table))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    with contextlib.suppress(MalformedMessage):
        value, end = decode_table(cut)
        assert end <= len(cut)
        assert isinstance(value, dict)


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=300)
def test_b26_random_bytes_raise_nothing_else(raw: bytes) -> None:
    for buf in (raw, struct.pack(">I", len(raw)) + raw):
        with contextlib.suppress(MalformedMessage):
            decode_table(buf)


@pytest.mark.parametrize(
    "value",
    [object(), 1 << 63, -(1 << 63) - 1, "\ud800", Decimal("NaN"), Decimal("1e400"), Decimal("12345678901"), {1: 2},
     {"x" * 256: 1}, datetime(1969, 1, 1), [[{"deep": object()}]]],
)  # fmt: skip
def test_s27_a_header_that_cannot_travel_is_a_task_error(value: object) -> None:
    with pytest.raises(TaskError):
        encode_table({"mine": value})


def test_encoding_is_bounded_in_depth() -> None:
    table: dict[str, object] = {}
    array: list[object] = []
    for _ in range(2000):
        table, array = {"k": table}, [array]
    for value in (table, {"k": array}):
        with pytest.raises(TaskError, match="nested"):
            encode_table(value)
