"""Messages of a live Celery 5.7.0 (tests/wire/capture.py): each is read, and what we write is what Celery writes."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from amqp.basic_message import Message as PyAmqpMessage

from amqtask.errors import MessageError
from amqtask.wire import serializers
from amqtask.wire.content import correlation_id_of, decode_properties
from amqtask.wire.encoder import PROTOCOL_HEADERS, TaskEncoder
from amqtask.wire.message import Encoded
from amqtask.wire.task import TaskCall, parse_task

GOLDEN = json.loads((Path(__file__).parent / "golden" / "celery-5.7.0.json").read_text())
ID = "11111111-2222-4333-8444-555555555555"
MOMENT = datetime(2035, 6, 1, 12, 30, 15, 250000, tzinfo=timezone(timedelta(hours=2)))
# What differs from one run to the next.
CHANGING = ("origin", "id", "root_id", "group", "expires", "eta")


def messages(case: str) -> list[Encoded]:
    return [
        Encoded(case, bytes.fromhex(message["properties"]), bytes.fromhex(message["body"]))
        for message in GOLDEN["cases"][case]
    ]


def call(case: str) -> TaskCall:
    (message,) = messages(case)
    return parse_task(message.properties, message.body)


READABLE = sorted(GOLDEN["cases"].keys() - {"pickle", "protocol_1"})
EVERY = [(name, message) for name in sorted(GOLDEN["cases"]) for message in messages(name)]


@pytest.mark.parametrize(("name", "message"), EVERY, ids=[name for name, _ in EVERY])
def test_properties_and_headers_are_read_as_py_amqp_reads_them(name: str, message: Encoded) -> None:
    theirs = PyAmqpMessage()
    theirs._load_properties(60, message.properties, 0)
    expected = dict(theirs.properties)
    headers = expected.pop("application_headers", {})
    properties, ours = decode_properties(message.properties)
    for field, value in expected.items():
        assert getattr(properties, field) == value
    when = ours.get("when")
    if isinstance(when, datetime):
        ours["when"] = when.replace(tzinfo=None)  # py-amqp leaves the zone out
    assert ours == headers
    assert correlation_id_of(message.properties) == expected["correlation_id"]


@pytest.mark.parametrize("name", READABLE)
def test_every_message_is_understood(name: str) -> None:
    for message in messages(name):
        parsed = parse_task(message.properties, message.body)
        assert parsed.name in ("golden.add", "golden.report")
        assert parsed.id == parsed.correlation_id
        assert parsed.root_id
        assert (parsed.origin or "").endswith("@golden.example")


def test_what_is_not_read_in_this_version_says_so() -> None:
    reasons = {}
    for name in ("pickle", "protocol_1"):
        with pytest.raises(MessageError) as caught:
            call(name)
        reasons[name] = caught.value.reason
    assert reasons == {"pickle": "content_refused", "protocol_1": "protocol_1_unsupported"}


def test_arguments() -> None:
    assert (call("plain").args, call("plain").kwargs) == ([2, 3], {})
    assert (call("delay_kwargs").args, call("delay_kwargs").kwargs) == ([], {"x": 2, "y": 3})
    assert (call("no_arguments").args, call("no_arguments").argsrepr) == ([], "()")
    assert call("unicode").args == ["žluťoučký", "日本", "\U0001f600"]
    assert call("unicode").kwargs == {"klíč": "hodnota"}
    assert call("large").args == [list(range(2000))]
    assert call("gzip").args == call("bzip2").args == ["text " * 200]


def test_typed_arguments() -> None:
    typed = call("typed_arguments")
    assert typed.args == [
        MOMENT,
        date(2030, 1, 2),
        time(3, 4, 5),
        Decimal("12.340"),
        uuid.UUID(ID),
        b"plain",
        b"\xff\x00",
    ]
    assert typed.kwargs == {"nested": {"when": datetime(2030, 1, 1), "ids": [uuid.UUID(ID)]}}


def test_options() -> None:
    assert call("priority").priority == 9
    assert call("shadow").shadow == "addition"
    assert call("time_limits").timelimit == (30, 20)  # hard first
    assert call("ignore_result").ignore_result is True
    assert call("reply_to").reply_to == "answers"
    assert (call("retried").retries, call("retried").root_id, call("retried").parent_id) == (4, "root", "parent")
    assert call("expires_moment").expires == MOMENT
    assert call("eta").eta == MOMENT
    assert call("countdown").eta is not None
    assert call("expires_seconds").properties.expiration == "90500"
    assert call("headers").user_headers == {
        "tenant": "north",
        "count": 7,
        "nested": {"list": [1, "two", None, True]},
    }
    types = call("header_types").user_headers
    assert types == {
        "big": 1 << 40,
        "small": -5,
        "ratio": 0.25,
        "price": Decimal("1.50"),
        "when": MOMENT.replace(microsecond=0).astimezone(UTC),
        "raw": "r",  # py-amqp sends bytes as text
    }


def test_workflows() -> None:
    link = call("link")
    assert [each["task"] for each in link.callbacks or []] == ["golden.report"]
    assert [each["immutable"] for each in link.errbacks or []] == [True]
    chain = call("chain").chain
    assert chain is not None
    assert [each["task"] for each in chain] == ["golden.report", "golden.add"]  # the next one last
    group = [parse_task(message.properties, message.body) for message in messages("group")]
    assert len({part.group for part in group}) == 1
    assert [part.group_index for part in group] == [0, 1, 2]
    for part in (parse_task(message.properties, message.body) for message in messages("chord")):
        assert part.chord is not None
        assert part.chord["kwargs"] == {"body": True}
    stamped = call("stamped")
    assert (stamped.stamped_headers, dict(stamped.stamps)) == (
        ["batch", "who"],
        {"batch": "b-1", "who": ["me", "you"]},
    )


def ours(case: str) -> Encoded:
    """The same call, written by us."""
    plain: dict[str, Any] = {"task_id": ID}
    match case:
        case "plain":
            return TaskEncoder("golden.add", ignore_result=False).encode((2, 3), **plain)
        case "send_task":
            return TaskEncoder("golden.add").encode([2, 3], {}, **plain)
        case "delay_kwargs":
            return TaskEncoder("golden.add", ignore_result=False).encode((), {"x": 2, "y": 3})
        case "no_arguments":
            return TaskEncoder("golden.report", ignore_result=False).encode()
        case "expires_moment":
            encoder = TaskEncoder("golden.add", ignore_result=False)
            return encoder.encode((2, 3), expires=MOMENT, expiration_ms=1, **plain)
        case "expires_seconds":
            encoder = TaskEncoder("golden.add", ignore_result=False)
            return encoder.encode((2, 3), expires=datetime.now(UTC), expiration_ms=90500, **plain)
        case "eta":
            encoder = TaskEncoder("golden.add", ignore_result=False)
            return encoder.encode((2, 3), fields={"eta": MOMENT.isoformat()}, **plain)
        case "priority":
            return TaskEncoder("golden.add", ignore_result=False, priority=9).encode((2, 3), **plain)
        case "headers":
            headers = {"tenant": "north", "count": 7, "nested": {"list": [1, "two", None, True]}}
            return TaskEncoder("golden.add", ignore_result=False, headers=headers).encode((2, 3), **plain)
        case "header_types":
            headers = {"big": 1 << 40, "small": -5, "ratio": 0.25, "price": Decimal("1.50"), "when": MOMENT, "raw": "r"}
            return TaskEncoder("golden.add", ignore_result=False, headers=headers).encode((2, 3), **plain)
        case "shadow":
            return TaskEncoder("golden.add", ignore_result=False, shadow="addition").encode((2, 3), **plain)
        case "time_limits":
            return TaskEncoder("golden.add", ignore_result=False, time_limits=(30, 20)).encode((2, 3), **plain)
        case "ignore_result":
            return TaskEncoder("golden.add", ignore_result=True).encode((2, 3), **plain)
        case "reply_to":
            return TaskEncoder("golden.add", ignore_result=False, reply_to="answers").encode((2, 3), **plain)
        case "retried":
            encoder = TaskEncoder("golden.add", ignore_result=False)
            return encoder.encode((2, 3), root_id="root", parent_id="parent", fields={"retries": 4}, **plain)
        case "gzip" | "bzip2":
            encoder = TaskEncoder("golden.report", ignore_result=False, compression=case)
            return encoder.encode(("text " * 200,), **plain)
        case "typed_arguments":
            args = (MOMENT, date(2030, 1, 2), time(3, 4, 5), Decimal("12.340"), uuid.UUID(ID), b"plain", b"\xff\x00")
            kwargs = {"nested": {"when": datetime(2030, 1, 1), "ids": [uuid.UUID(ID)]}}
            return TaskEncoder("golden.report", ignore_result=False).encode(args, kwargs, **plain)
        case "unicode":
            encoder = TaskEncoder("golden.report", ignore_result=False)
            return encoder.encode(("žluťoučký", "日本", "\U0001f600"), {"klíč": "hodnota"}, **plain)
        case "stamped":
            encoder = TaskEncoder("golden.add", ignore_result=False)
            stamps = {"stamped_headers": ["batch", "who"], "stamps": {"batch": "b-1", "who": ["me", "you"]}}
            return encoder.encode((2, 3), fields=stamps, **plain)
    raise AssertionError(case)


WRITTEN = [
    "plain", "send_task", "delay_kwargs", "no_arguments", "expires_moment", "expires_seconds", "eta", "priority",
    "headers", "header_types", "shadow", "time_limits", "ignore_result", "reply_to", "retried", "gzip", "bzip2",
    "typed_arguments", "unicode", "stamped",
]  # fmt: skip


def body_of(message: Encoded, headers: dict[str, object]) -> object:
    body = message.body
    if "compression" in headers:
        body = serializers.decompress(body, str(headers["compression"]), max_bytes=100_000)
    return json.loads(body)


@pytest.mark.parametrize("case", WRITTEN)
def test_s27_what_we_write_is_field_by_field_what_celery_writes(case: str) -> None:
    (theirs,), mine = messages(case), ours(case)
    their_properties, their_headers = decode_properties(theirs.properties)
    my_properties, my_headers = decode_properties(mine.properties)
    assert my_headers.keys() == their_headers.keys()
    assert body_of(mine, my_headers) == body_of(theirs, their_headers)
    for name, value in their_headers.items():
        assert type(my_headers[name]) is type(value), name
        if name in CHANGING and case not in ("retried", "eta"):
            continue
        if name == "origin" or (name == "argsrepr" and case == "typed_arguments"):
            continue  # Celery shows bytes in a form of its own
        assert my_headers[name] == value, name
    for field in ("content_type", "content_encoding", "delivery_mode", "priority", "message_id", "timestamp", "type"):
        assert getattr(my_properties, field) == getattr(their_properties, field), field
    assert (my_properties.expiration is None) == (their_properties.expiration is None)
    # Celery names its client's reply queue in every message; we do where there is one.
    assert my_properties.reply_to == (their_properties.reply_to if case == "reply_to" else None)


def test_the_protocols_headers_are_celerys() -> None:
    (message,) = messages("gzip")
    assert decode_properties(message.properties)[1].keys() == PROTOCOL_HEADERS
