"""Task messages: what we write we read, and whatever else arrives has a reason."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqtask.errors import ContentRefused, MalformedMessage, MessageError, SettingsError, TaskError
from amqtask.wire import serializers
from amqtask.wire.content import correlation_id_of, decode_properties, encode_properties
from amqtask.wire.encoder import PROTOCOL_HEADERS, REPR_CHARS, TaskEncoder, new_id, short_repr
from amqtask.wire.message import Properties
from amqtask.wire.task import TaskCall, parse_task

ID = "3f0e1e39-7c0d-4f8e-9d1b-111111111111"


def raw(headers: Mapping[str, object], **properties: object) -> bytes:
    given = {"content_type": "application/json", "content_encoding": "utf-8", "correlation_id": ID, **properties}
    return encode_properties(Properties(**given), headers)  # type: ignore[arg-type]


MINIMAL = {"task": "proj.add", "id": ID}
BODY = b"[[1, 2], {}, null]"


def test_a_minimal_message_is_a_call() -> None:
    call = parse_task(raw(MINIMAL), BODY)
    assert (call.id, call.name, call.args, call.kwargs) == (ID, "proj.add", [1, 2], {})
    assert (call.retries, call.eta, call.expires, call.timelimit) == (0, None, None, (None, None))
    assert (call.callbacks, call.errbacks, call.chain, call.chord) == (None, None, None, None)
    assert (call.root_id, call.parent_id, call.group, call.group_index) == (ID, None, None, None)
    assert (call.ignore_result, call.stamps, call.stamped_headers, call.user_headers) == (None, {}, None, {})


def test_what_is_encoded_is_read_back() -> None:
    encoder = TaskEncoder(
        "proj.add", priority=7, ignore_result=True, shadow="sum", headers={"tenant": "a"}, reply_to="replies",
        time_limits=(30, 20.5),
    )  # fmt: skip
    expires = datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    sent = encoder.encode(
        (1, "zwei"), {"x": [b"\xff"]}, task_id=ID, root_id="r", parent_id="p", expires=expires, expiration_ms=1500,
        embed={"chain": [{"task": "next"}], "callbacks": [{"task": "cb"}]},
        fields={"retries": 2, "group": "g", "group_index": 4, "amqtask-crashes": 1},
    )  # fmt: skip
    assert sent.id == ID == correlation_id_of(sent.properties)
    call = parse_task(sent.properties, sent.body)
    assert (call.id, call.name, call.args, call.kwargs) == (ID, "proj.add", [1, "zwei"], {"x": [b"\xff"]})
    assert (call.priority, call.ignore_result, call.shadow, call.reply_to) == (7, True, "sum", "replies")
    assert (call.root_id, call.parent_id, call.group, call.group_index, call.retries) == ("r", "p", "g", 4, 2)
    assert call.timelimit == (30, 20.5)
    assert call.expires == expires
    assert call.expires.tzinfo is UTC
    assert call.properties.expiration == "1500"
    assert call.properties.delivery_mode == 2
    assert (call.chain, call.callbacks) == ([{"task": "next"}], [{"task": "cb"}])
    assert call.user_headers == {"tenant": "a"}
    assert call.headers["amqtask-crashes"] == 1
    assert call.argsrepr == "(1, 'zwei')"
    assert re.fullmatch(rf"gen{os.getpid()}@.+", call.origin or "")


def test_every_header_of_the_protocol_is_sent_once() -> None:
    sent = TaskEncoder("t").encode()
    _, headers = decode_properties(sent.properties)
    assert headers.keys() == PROTOCOL_HEADERS - {"compression"}
    packed = TaskEncoder("t", compression="bzip2").encode(fields={"retries": 1})
    _, headers = decode_properties(packed.properties)
    assert headers.keys() == PROTOCOL_HEADERS
    assert parse_task(packed.properties, packed.body).retries == 1


def test_fast_and_slow_path_write_the_same() -> None:
    encoder = TaskEncoder("t", headers={"a": 1})
    fast = encoder.encode((1,), task_id=ID)
    slow = encoder.encode((1,), task_id=ID, fields={})
    assert (fast.properties, fast.body) == (slow.properties, slow.body)


def test_ids_are_random_uuids() -> None:
    ids = {new_id() for _ in range(500)}
    assert len(ids) == 500
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", i) for i in ids)


def test_the_origin_follows_a_fork() -> None:
    reader, writer = os.pipe()
    encoder = TaskEncoder("t")
    encoder.encode()
    pid = os.fork()
    if not pid:
        sent = encoder.encode()
        os.write(writer, (parse_task(sent.properties, sent.body).origin or "").encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reader, 200).decode().startswith(f"gen{pid}@")
    os.close(reader)
    os.close(writer)


def test_reprs_are_short_and_cheap() -> None:
    sent = TaskEncoder("t").encode((["x" * 5000] * 1000, dict.fromkeys(map(str, range(9999)))), {"k": "v" * 3000})
    call = parse_task(sent.properties, sent.body)
    assert call.argsrepr is not None
    assert call.kwargsrepr is not None
    assert len(call.argsrepr) == len(call.kwargsrepr) == REPR_CHARS
    assert call.argsrepr.startswith("(['xxx")
    assert short_repr(("ü", None)) == "('ü', None)"


@pytest.mark.parametrize("name", ["id", "task", "retries", "compression", "amqtask-crashes"])
def test_s27_a_senders_header_cannot_take_a_name_of_the_format(name: str) -> None:
    with pytest.raises(TaskError, match=name):
        TaskEncoder("t", headers={name: "x"})


def test_s27_values_that_cannot_travel_are_refused_before_sending() -> None:
    with pytest.raises(TaskError, match="priority"):
        TaskEncoder("t", priority=256)
    with pytest.raises(TaskError, match="priority"):
        TaskEncoder("t", priority=True)
    with pytest.raises(SettingsError, match="serializer"):
        TaskEncoder("t", serializer="pickle")
    with pytest.raises(TaskError, match="JSON"):
        TaskEncoder("t").encode((object(),))
    with pytest.raises(TaskError, match="task_id"):
        TaskEncoder("t").encode(task_id="x" * 256)
    with pytest.raises(TaskError, match="embeds"):
        TaskEncoder("t").encode(embed={"callback": []})
    with pytest.raises(TaskError, match="name"):
        TaskEncoder("")
    with pytest.raises(TaskError, match="root_id"):
        TaskEncoder("t").encode(fields={"root_id": "x"})


CASES: list[tuple[str, bytes, bytes]] = [
    ("no_id", raw({"task": "t"}), BODY),
    ("no_id", raw({"task": "t", "id": ""}), BODY),
    ("no_id", raw({"task": "t", "id": 5}), BODY),
    ("no_task_name", raw({}), BODY),
    ("no_task_name", raw({"id": ID, "task": ["t"]}), BODY),
    ("no_task_name", raw({}), b'{"tasks": 1, "task'),
    ("no_content_type", raw(MINIMAL, content_type=None), BODY),
    ("no_content_type", raw(MINIMAL, content_type=""), BODY),
    ("content_refused", raw(MINIMAL, content_type="application/x-python-serialize"), BODY),
    ("content_refused", raw(MINIMAL, content_encoding="idna"), BODY),
    ("content_refused", raw({**MINIMAL, "compression": "application/x-lzma"}), BODY),
    ("protocol_1_unsupported", raw({}), json.dumps({"task": "t", "id": ID, "args": [], "kwargs": {}}).encode()),
    ("bad_headers", b"\xff", BODY),
    ("bad_headers", raw({**MINIMAL, "id": "é" * 200}), BODY),
    ("bad_headers", raw({**MINIMAL, "retries": "3"}), BODY),
    ("bad_headers", raw({**MINIMAL, "retries": -1}), BODY),
    ("bad_headers", raw({**MINIMAL, "eta": "soon"}), BODY),
    ("bad_headers", raw({**MINIMAL, "eta": 5}), BODY),
    ("bad_headers", raw({**MINIMAL, "expires": "0001-01-01T00:00:00+14:00"}), BODY),
    ("bad_headers", raw({**MINIMAL, "timelimit": [1]}), BODY),
    ("bad_headers", raw({**MINIMAL, "timelimit": ["1", None]}), BODY),
    ("bad_headers", raw({**MINIMAL, "timelimit": [float("nan"), None]}), BODY),
    ("bad_headers", raw({**MINIMAL, "compression": 3}), BODY),
    ("bad_body", raw(MINIMAL), b""),
    ("bad_body", raw(MINIMAL), b"[" * 100_000),
    ("bad_body", raw(MINIMAL), b"{}"),
    ("bad_body", raw(MINIMAL), b"[[], {}]"),
    ("bad_body", raw(MINIMAL), b"[{}, {}, null]"),
    ("bad_body", raw(MINIMAL), b"[[], [], null]"),
    ("bad_body", raw(MINIMAL), b"[[], {}, []]"),
    ("bad_body", raw({**MINIMAL, "compression": "application/x-gzip"}), BODY),
    ("too_large", raw(MINIMAL), b"[[" + b" " * 1000 + b"], {}, null]"),
    ("too_large", raw({**MINIMAL, "compression": "application/x-gzip"}), serializers.compress(b" " * 1001, "gzip")[0]),
]


@pytest.mark.parametrize(("reason", "properties", "body"), CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)])
def test_b26_whatever_is_wrong_has_a_reason(reason: str, properties: bytes, body: bytes) -> None:
    limit = 1000 if reason == "too_large" else 1 << 20
    with pytest.raises((MalformedMessage, ContentRefused)) as caught:
        parse_task(properties, body, max_body_bytes=limit)
    assert caught.value.reason == reason


def test_the_accept_list_decides() -> None:
    with pytest.raises(ContentRefused):
        parse_task(raw(MINIMAL), BODY, accept=frozenset())
    assert parse_task(raw(MINIMAL, content_type="application/json; charset=utf-8"), BODY).args == [1, 2]


def test_s25_expiry_without_an_offset_is_utc() -> None:
    for value in ("2030-01-01T00:00:00", "2030-01-01T00:00:00Z", "2030-01-01T02:00:00+02:00", datetime(2030, 1, 1)):
        assert parse_task(raw({**MINIMAL, "expires": value}), BODY).expires == datetime(2030, 1, 1, tzinfo=UTC)


def test_descriptive_fields_of_the_wrong_type_are_left_out() -> None:
    names = sorted(PROTOCOL_HEADERS - {"task", "id", "eta", "expires", "retries", "timelimit", "compression"})
    call = parse_task(raw({**MINIMAL, **dict.fromkeys(names, 2.5)}), BODY)
    assert (call.group, call.group_index, call.shadow, call.origin, call.parent_id) == (None,) * 5
    assert (call.argsrepr, call.kwargsrepr, call.ignore_result, call.stamped_headers) == (None,) * 4
    assert (call.root_id, call.stamps, call.replaced_task_nesting) == (ID, {}, 0)
    odd = parse_task(raw(MINIMAL), b'[[], {}, {"callbacks": 5, "errbacks": [1, {"task": "e"}], "chord": []}]')
    assert (odd.callbacks, odd.errbacks, odd.chain, odd.chord) == (None, [{"task": "e"}], None, None)


HEADER_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats() | st.text(max_size=9)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(sorted(PROTOCOL_HEADERS)), HEADER_VALUES, max_size=8),
    st.sampled_from([BODY, b"[[],{},{}]", b"[]", b"null"]) | st.binary(max_size=30),
)
@settings(deadline=None, max_examples=400)
def test_b26_odd_headers_and_bodies_raise_nothing_else(headers: dict[str, object], body: bytes) -> None:
    with contextlib.suppress(TaskError):  # a text with lone surrogates cannot even be written
        properties = raw({**MINIMAL, **headers})
        with contextlib.suppress(MessageError):
            call = parse_task(properties, body)
            for name in (n for n, v in vars(TaskCall).items() if isinstance(v, property)):
                getattr(call, name)


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_b26_damaged_messages_raise_nothing_else(data: st.DataObject) -> None:
    sent = TaskEncoder("proj.add", headers={"x": [1, {"y": 2.5}]}).encode((1, {"a": b"\xff"}), task_id=ID)
    damaged = bytearray(sent.properties + sent.body)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = len(sent.properties)
    with contextlib.suppress(MessageError):
        parse_task(bytes(damaged[:cut]), bytes(damaged[cut:]))
