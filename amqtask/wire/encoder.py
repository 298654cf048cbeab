"""Calls of tasks to messages: Celery's protocol 2, written in microseconds per message.

The format is Celery 5.7's as captured from a live one (tests/wire/golden); its protocol page has the time limits the
wrong way round: on the wire they are [hard, soft].
"""

from __future__ import annotations

import os
import reprlib
import struct
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache

from amqtask.errors import TaskError
from amqtask.wire import content, serializers
from amqtask.wire.content import short_string
from amqtask.wire.message import PERSISTENT, Encoded
from amqtask.wire.table import encode_fields

REPR_CHARS = 1024  # of argsrepr and kwargsrepr, as in Celery

# The headers that the protocol owns: a sender's own headers stand beside them under other names.
PROTOCOL_HEADERS = frozenset(
    {
        "lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit", "root_id",
        "parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting", "stamped_headers",
        "stamps", "compression",
    }
)  # fmt: skip
# Those that `TaskEncoder.encode` has an argument for.
_PER_MESSAGE = frozenset({"id", "root_id", "parent_id", "argsrepr", "kwargsrepr", "expires", "task", "compression"})
OWN_PREFIX = "amqtask-"  # headers that only our nodes write and read

_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_EMBED_JSON = serializers.to_json(_EMBED)

_pack_length = struct.Struct(">I").pack
_pack_flags = struct.Struct(">H").pack


def new_id() -> str:
    """A random UUID (version 4) as text; always fresh from the system, so that forks never share one."""
    h = os.urandom(16).hex()
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{'89ab'[int(h[16], 16) & 3]}{h[17:20]}-{h[20:]}"


@lru_cache(maxsize=2)
def _origin(pid: int) -> str:
    import socket

    return f"gen{pid}@{socket.gethostname()}"


@lru_cache(maxsize=2)
def _origin_field(pid: int) -> bytes:
    return encode_fields({"origin": _origin(pid)})


def origin() -> str:
    """Who sends: `gen<pid>@<host>`."""
    return _origin(os.getpid())


class _Repr(reprlib.Repr):
    """A bounded repr for large arguments; it calls no more of them than it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxtuple = self.maxlist = self.maxdict = self.maxset = self.maxfrozenset = 30
        self.maxstring = self.maxother = self.maxlong = REPR_CHARS


_bounded = _Repr().repr


def short_repr(value: object, *, size_hint: int = 0) -> str:
    """The repr of arguments for people, at most REPR_CHARS long. `size_hint`: about how long it would be whole."""
    text = repr(value) if size_hint < REPR_CHARS else _bounded(value)
    return text if len(text) <= REPR_CHARS else text[: REPR_CHARS - 3] + "..."


def _text_field(name: bytes, value: str | None) -> bytes:
    """One header field, `name` with its length byte in front: a long string or void."""
    if value is None:
        return name + b"V"
    raw = value.encode("utf-8", "backslashreplace")
    return b"%bS%b%b" % (name, _pack_length(len(raw)), raw)


def check_headers(headers: Mapping[str, object]) -> None:
    """Raise TaskError when a sender's own header has a name of the format's, or no text for a name."""
    for name in headers:
        if not isinstance(name, str):
            raise TaskError(f"header names are texts, not {name!r:.80}")
        if name in PROTOCOL_HEADERS or name.startswith(OWN_PREFIX):
            raise TaskError(f"the header {name!r} belongs to the message format; use the option that sets it")


class TaskEncoder:
    """Encodes calls of one task with one set of options.

    What is the same in every message (most headers, the content type, the priority) is encoded once, here; `encode`
    adds the rest. Immutable once made, so threads may share it. Raises TaskError or SettingsError for options that
    cannot travel.
    """

    __slots__ = ("_compression", "_constant", "_content", "_flags", "_headers", "_octets", "_reply_to", "task")

    def __init__(
        self,
        task: str,
        *,
        serializer: str = "json",
        compression: str | None = None,
        priority: int | None = None,
        ignore_result: bool | None = None,
        shadow: str | None = None,
        headers: Mapping[str, object] | None = None,
        reply_to: str | None = None,
        time_limits: tuple[float | None, float | None] = (None, None),
    ) -> None:
        """`time_limits` are (hard, soft) in seconds; `priority` None is sent as 0, as Celery does."""
        if not task:
            raise TaskError("a task needs a name")
        content_type = serializers.content_type_of(serializer)
        self.task = task
        self._compression = serializers.compression_of(compression) if compression else None
        own = dict(headers or {})
        check_headers(own)
        self._headers: dict[str, object] = {
            "lang": "py",
            "task": task,
            "shadow": shadow,
            "eta": None,
            "group": None,
            "group_index": None,
            "retries": 0,
            "timelimit": list(time_limits),
            "ignore_result": ignore_result,
            "replaced_task_nesting": 0,
            "stamped_headers": None,
            "stamps": {},
            **({"compression": self._compression} if self._compression else {}),
            **own,
        }
        self._constant = encode_fields(self._headers)
        flags = content.CONTENT_TYPE | content.CONTENT_ENCODING | content.HEADERS | content.DELIVERY_MODE
        self._flags = flags | content.PRIORITY | content.CORRELATION_ID | (content.REPLY_TO if reply_to else 0)
        self._content = short_string(content_type, "content type") + short_string("utf-8", "content encoding")
        self._reply_to = short_string(reply_to, "reply_to") if reply_to else b""
        self._octets = bytes((PERSISTENT, _priority(priority)))

    def encode(
        self,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        *,
        task_id: str | None = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        expires: datetime | None = None,
        expiration_ms: int | None = None,
        argsrepr: str | None = None,
        kwargsrepr: str | None = None,
        embed: Mapping[str, object] | None = None,
        fields: Mapping[str, object] | None = None,
    ) -> Encoded:
        """One message.

        `expires` (aware) is what workers obey, `expiration_ms` what the broker does. `embed` sets callbacks, errbacks,
        chain, chord. `fields` replaces protocol headers (retries, group, group_index, eta, timelimit, stamps, ...) or
        adds headers of ours; it costs a slower path. Raises TaskError for what cannot travel.
        """
        if fields is not None and not _PER_MESSAGE.isdisjoint(fields):
            raise TaskError(f"{', '.join(sorted(_PER_MESSAGE & fields.keys()))}: no fields to replace")
        task_id = task_id or new_id()
        if type(kwargs) is not dict:
            kwargs = dict(kwargs or {})  # JSON and reprs are of plain dicts
        plain = serializers.to_json((args, kwargs))
        body = plain[:-1] + b"," + (_EMBED_JSON if embed is None else _embed_json(embed)) + b"]"
        if self._compression:
            body, _ = serializers.compress(body, self._compression)
        if argsrepr is None:
            argsrepr = short_repr(args, size_hint=len(plain)) if args else "()"
        if kwargsrepr is None:
            kwargsrepr = short_repr(kwargs, size_hint=len(plain)) if kwargs else "{}"
        table = b"".join(
            (
                self._constant if fields is None else encode_fields({**self._headers, **fields}),
                _origin_field(os.getpid()) if fields is None or "origin" not in fields else b"",
                _text_field(b"\x02id", task_id),
                _text_field(b"\x07root_id", root_id or task_id),
                _text_field(b"\x09parent_id", parent_id),
                _text_field(b"\x08argsrepr", argsrepr),
                _text_field(b"\x0akwargsrepr", kwargsrepr),
                b"\x07expiresV" if expires is None else _text_field(b"\x07expires", expires.isoformat()),
            )
        )
        return Encoded(task_id, self._properties(table, task_id, expiration_ms), body)

    def _properties(self, table: bytes, task_id: str, expiration_ms: int | None) -> bytes:
        """The property list around a headers table, in the order of the flags' bits."""
        flags, expiration = self._flags, b""
        if expiration_ms is not None:
            flags |= content.EXPIRATION
            expiration = short_string(str(expiration_ms), "expiration")
        return b"".join(
            (
                _pack_flags(flags),
                self._content,
                _pack_length(len(table)),
                table,
                self._octets,
                short_string(task_id, "task_id"),
                self._reply_to,
                expiration,
            )
        )


def _priority(value: int | None) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 255:
        raise TaskError(f"priority must be a whole number from 0 to 255, not {value!r}")
    return value


def _embed_json(embed: Mapping[str, object]) -> bytes:
    unknown = embed.keys() - _EMBED.keys()
    if unknown:
        raise TaskError(f"a message embeds {', '.join(_EMBED)}; not {', '.join(sorted(unknown))}")
    return serializers.to_json({**_EMBED, **embed})
