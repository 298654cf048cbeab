"""Dead letters as messages: everything kept, nothing that acts again."""

from __future__ import annotations

import struct
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.consume.dead_letter import MAX_PROPERTIES_BYTES, Death, dead_letter
from amqtask.wire.content import decode_properties, encode_properties
from amqtask.wire.message import Properties

DEATH = Death(
    reason="failed",
    error="ValueError: no",
    traceback="Traceback ...",
    queue="mail",
    attempt=2,
    node="w@h",
    at=datetime(2026, 1, 2, tzinfo=UTC),
)
ROUTE = b"\x05tasks\x0amail.daily"


def test_k14_reason_attempt_traceback_and_origin_are_in_the_headers() -> None:
    properties = encode_properties(
        Properties(content_type="application/json", correlation_id="i", priority=3), {"task": "t", "id": "i"}
    )
    letter = dead_letter(ROUTE, properties, b"body", DEATH)
    given_properties, headers = decode_properties(letter.properties)
    assert (letter.id, letter.body) == ("i", b"body")
    assert given_properties == Properties(content_type="application/json", correlation_id="i", priority=3)
    assert headers == {
        "task": "t",
        "id": "i",
        "amqtask-dead": 1,
        "amqtask-reason": "failed",
        "amqtask-error": "ValueError: no",
        "amqtask-attempt": 2,
        "amqtask-queue": "mail",
        "amqtask-exchange": "tasks",
        "amqtask-routing-key": "mail.daily",
        "amqtask-node": "w@h",
        "amqtask-died-at": "2026-01-02T00:00:00+00:00",
        "amqtask-traceback": "Traceback ...",
    }


def test_k14_what_would_act_again_is_put_aside() -> None:
    properties = encode_properties(
        Properties(expiration="100", user_id="guest", delivery_mode=1), {"CC": ["other"], "BCC": ["more"], "x": 1}
    )
    given_properties, headers = decode_properties(dead_letter(ROUTE, properties, b"", DEATH).properties)
    assert given_properties == Properties(delivery_mode=2)
    assert headers["original-CC"] == ["other"]
    assert headers["original-BCC"] == ["more"]
    assert (headers["amqtask-expiration"], headers["amqtask-user-id"]) == ("100", "guest")
    assert not {"CC", "BCC"} & set(headers)


@pytest.mark.parametrize("kind", ["year 60000", "600 deep", "cut short"])
def test_b26_headers_that_cannot_be_read_go_along_as_bytes(kind: str) -> None:
    if kind == "year 60000":
        table = b"\x04whenT" + struct.pack(">Q", 1_831_000_000_000)
    elif kind == "600 deep":
        table = b""
        for _ in range(600):
            table = b"\x01aF" + struct.pack(">I", len(table)) + table
    else:
        table = b"\x04whenT"
    properties = struct.pack(">H", 1 << 13) + struct.pack(">I", len(table)) + table
    letter = dead_letter(ROUTE, properties, b"body", DEATH)
    _, headers = decode_properties(letter.properties)
    assert headers["amqtask-original-properties"] == properties
    assert headers["amqtask-reason"] == "failed"
    assert letter.body == b"body"


def test_k14_a_letter_always_fits_a_frame() -> None:
    properties = encode_properties(Properties(), {"big": "x" * 110_000})
    assert len(dead_letter(ROUTE, properties, b"", DEATH).properties) <= MAX_PROPERTIES_BYTES


@pytest.mark.parametrize("max_bytes", [MAX_PROPERTIES_BYTES, 4096])
def test_k14_of_too_much_the_traceback_goes_first_and_the_headers_stay(max_bytes: int) -> None:
    death = replace(DEATH, traceback="\U0001f600" * 30_000, error="\U0001f600" * 2_000)
    properties = encode_properties(Properties(correlation_id="i", reply_to="r" * 200), {"task": "t", "id": "i"})
    letter = dead_letter(ROUTE, properties, b"", death, max_bytes=max_bytes)
    _, headers = decode_properties(letter.properties)
    assert len(letter.properties) <= max_bytes
    assert headers["amqtask-reason"] == "failed"
    assert "amqtask-traceback" not in headers
    assert letter.id == "i"
    if max_bytes == MAX_PROPERTIES_BYTES:
        assert headers["task"] == "t"


def test_pain27_characters_that_no_encoding_has_go_as_escapes() -> None:
    death = replace(DEATH, error="no file caf\udce9.txt", traceback="\ud800")
    letter = dead_letter(ROUTE, encode_properties(Properties(), {}), b"", death)
    _, headers = decode_properties(letter.properties)
    assert headers["amqtask-error"] == "no file caf\\udce9.txt"
    assert headers["amqtask-traceback"] == "\\ud800"


@given(st.text(st.characters(exclude_categories=()), max_size=50), st.binary(min_size=1, max_size=60))
def test_b26_any_text_and_route_make_a_letter(text: str, name: bytes) -> None:
    route = bytes([len(name)]) + name + bytes([len(name)]) + name
    death = replace(DEATH, error=text, traceback=text, reason=text, queue=text)
    _, headers = decode_properties(dead_letter(route, b"\x00\x00", b"", death).properties)
    assert headers["amqtask-dead"] == 1


@given(st.binary(max_size=300))
def test_b26_any_properties_make_a_letter(properties: bytes) -> None:
    _, headers = decode_properties(dead_letter(ROUTE, properties, b"", DEATH).properties)
    assert headers["amqtask-reason"] == "failed"
