"""Message properties as raw bytes, also such as no honest client would send, and reading them without decoding headers.

Written apart from the product's own codec on purpose: what checks it must not share its mistakes.
"""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pika.data

# The basic class's properties in their order on the wire, first flag bit 15 (AMQP 0-9-1, 4.2.6.1). s: short string,
# t: table, o: octet, T: timestamp.
FIELDS = (
    ("content_type", "s"),
    ("content_encoding", "s"),
    ("headers", "t"),
    ("delivery_mode", "o"),
    ("priority", "o"),
    ("correlation_id", "s"),
    ("reply_to", "s"),
    ("expiration", "s"),
    ("message_id", "s"),
    ("timestamp", "T"),
    ("type", "s"),
    ("user_id", "s"),
    ("app_id", "s"),
    ("cluster_id", "s"),
)
YEAR_60000 = (60000 - 1970) * 31_556_952  # seconds


def short(text: str | bytes) -> bytes:
    """A short string: a byte of length, then the text."""
    data = text.encode() if isinstance(text, str) else text
    return bytes([len(data)]) + data


def table(values: Mapping[str, object]) -> bytes:
    """A field table with its four bytes of length."""
    pieces: list[bytes] = []
    pika.data.encode_table(pieces, dict(values))
    return b"".join(pieces)


def raw_table(entries: bytes) -> bytes:
    """A field table around hand-made entries: `short(name) + kind + value`, one after the other."""
    return struct.pack(">I", len(entries)) + entries


def entries(values: Mapping[str, object]) -> bytes:
    """A table's entries without the length, to put hand-made ones beside."""
    return table(values)[4:]


def year_60000(name: str = "when") -> bytes:
    """A table entry whose timestamp is far beyond what a datetime can hold."""
    return short(name) + b"T" + struct.pack(">Q", YEAR_60000)


def nested(depth: int = 600, name: str = "deep") -> bytes:
    """A table entry that is a table in a table, `depth` deep."""
    inner = b""
    for _ in range(depth):
        inner = short(name) + b"F" + raw_table(inner)
    return inner


def properties(
    *,
    headers: Mapping[str, object] | bytes | None = None,
    delivery_mode: int | None = 2,
    **fields: str | int | None,
) -> bytes:
    """Property flags and property list. `headers` as bytes is a whole table, length included, taken as it is."""
    if unknown := set(fields) - {name for name, _ in FIELDS}:
        raise TypeError(f"no such property: {unknown}")
    values: dict[str, object] = {**fields, "headers": headers, "delivery_mode": delivery_mode}
    flags, pieces = 0, []
    for index, (name, kind) in enumerate(FIELDS):
        value = values.get(name)
        if value is None:
            continue
        flags |= 1 << (15 - index)
        if kind == "s":
            pieces.append(short(str(value)))
        elif kind == "t":
            pieces.append(value if isinstance(value, bytes) else table(value))  # type: ignore[arg-type]
        else:
            pieces.append(struct.pack(">B" if kind == "o" else ">Q", value))
    return struct.pack(">H", flags) + b"".join(pieces)


def read_properties(raw: bytes) -> dict[str, object]:
    """The properties that are there, by name; `headers` stays bytes, whatever they hold."""
    (flags,) = struct.unpack_from(">H", raw)
    at, found = 2, dict[str, object]()
    for index, (name, kind) in enumerate(FIELDS):
        if not flags & 1 << (15 - index):
            continue
        if kind == "s":
            end = at + 1 + raw[at]
            found[name] = raw[at + 1 : end].decode()
        elif kind == "t":
            end = at + 4 + int.from_bytes(raw[at : at + 4], "big")
            found[name] = raw[at:end]
        else:
            end = at + (1 if kind == "o" else 8)
            found[name] = int.from_bytes(raw[at:end], "big")
        at = end
    return found


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message as it came: properties and body are the bytes of the wire."""

    exchange: str
    routing_key: str
    redelivered: bool
    properties: bytes
    body: bytes

    @property
    def fields(self) -> dict[str, object]:
        """The properties by name; `headers` as bytes."""
        return read_properties(self.properties)

    @property
    def correlation_id(self) -> str | None:
        """The task id, in Celery's protocol 2."""
        value = self.fields.get("correlation_id")
        return None if value is None else str(value)

    @property
    def headers(self) -> dict[str, object]:
        """The header table, decoded by pika: raises what pika raises on what it cannot decode."""
        raw = self.fields.get("headers")
        if not isinstance(raw, bytes):
            return {}
        decoded, _ = pika.data.decode_table(raw, 0)
        return {str(name): value for name, value in decoded.items()}


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish raw."""

    routing_key: str
    body: bytes
    properties: bytes
    exchange: str = ""


def task_message(
    name: str,
    args: Sequence[object] = (),
    kwargs: Mapping[str, object] | None = None,
    *,
    queue: str,
    task_id: str | None = None,
    odd: bytes = b"",
    **headers: object,
) -> Outgoing:
    """A task in Celery's protocol 2, for a queue. `headers` replace or add; `odd` are more entries, made by hand."""
    task_id = task_id or str(uuid.uuid4())
    values: dict[str, object] = {
        "lang": "py",
        "task": name,
        "id": task_id,
        "root_id": task_id,
        "parent_id": None,
        "group": None,
        "retries": 0,
        "eta": None,
        "expires": None,
        "timelimit": [None, None],
        "argsrepr": repr(tuple(args)),
        "kwargsrepr": repr(dict(kwargs or {})),
        "origin": "harness",
        **headers,
    }
    embed: dict[str, object] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return Outgoing(
        routing_key=queue,
        body=json.dumps([list(args), dict(kwargs or {}), embed]).encode(),
        properties=properties(
            content_type="application/json",
            content_encoding="utf-8",
            correlation_id=task_id,
            headers=raw_table(entries(values) + odd),
        ),
    )
