"""Messages to calls of tasks: Celery's protocol 2 from any sender, every field checked, every size bounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeGuard

from amqtask.errors import ContentRefused, MalformedMessage
from amqtask.wire import serializers
from amqtask.wire.content import decode_properties
from amqtask.wire.encoder import OWN_PREFIX, PROTOCOL_HEADERS, TaskEncoder
from amqtask.wire.message import Properties

__all__ = ["JSON_ONLY", "MAX_BODY_BYTES", "TaskCall", "TaskEncoder", "parse_task"]

MAX_BODY_BYTES = 64 << 20  # what parse_task unpacks unless it is told another bound
JSON_ONLY = frozenset({serializers.JSON})


@dataclass(frozen=True, slots=True)
class TaskCall:
    """One call of a task as it arrived.

    What decides over the execution is checked and converted: `eta` and `expires` are aware, in UTC; `timelimit` is
    (hard, soft) seconds. The descriptive fields are read from `headers` on demand, and are None when the sender left
    them out or sent something else than the protocol has. `headers` and `properties` hold everything as it came.
    """

    id: str
    name: str
    args: list[object]
    kwargs: dict[str, object]
    embed: Mapping[str, object]
    retries: int
    eta: datetime | None
    expires: datetime | None
    timelimit: tuple[float | None, float | None]
    properties: Properties
    headers: Mapping[str, object]

    @property
    def callbacks(self) -> list[dict[str, object]] | None:
        """Signatures to call with the return value."""
        return _signatures(self.embed.get("callbacks"))

    @property
    def errbacks(self) -> list[dict[str, object]] | None:
        """Signatures to call when it fails."""
        return _signatures(self.embed.get("errbacks"))

    @property
    def chain(self) -> list[dict[str, object]] | None:
        """The rest of the chain, last first: the next to run is the last element."""
        return _signatures(self.embed.get("chain"))

    @property
    def chord(self) -> dict[str, object] | None:
        """The body of the chord that this task is a part of."""
        value = self.embed.get("chord")
        return value if isinstance(value, dict) else None

    @property
    def root_id(self) -> str:
        """The first task of the workflow; its own id when it is the first."""
        return self._text("root_id") or self.id

    @property
    def parent_id(self) -> str | None:
        """The task that sent this one."""
        return self._text("parent_id")

    @property
    def group(self) -> str | None:
        """The group that it is a part of."""
        return self._text("group")

    @property
    def group_index(self) -> int | None:
        """Its place in the group."""
        return self._int("group_index")

    @property
    def shadow(self) -> str | None:
        """A name to show in logs instead of the task's."""
        return self._text("shadow")

    @property
    def origin(self) -> str | None:
        """Who sent it: `gen<pid>@<host>` or a node's name."""
        return self._text("origin")

    @property
    def argsrepr(self) -> str | None:
        """The positional arguments for people, shortened."""
        return self._text("argsrepr")

    @property
    def kwargsrepr(self) -> str | None:
        """The keyword arguments for people, shortened."""
        return self._text("kwargsrepr")

    @property
    def ignore_result(self) -> bool | None:
        """Whether the sender wants no result; None: the task decides."""
        value = self.headers.get("ignore_result")
        return value if isinstance(value, bool) else None

    @property
    def replaced_task_nesting(self) -> int:
        """How often it stands for a task that replaced itself."""
        return self._int("replaced_task_nesting") or 0

    @property
    def stamped_headers(self) -> list[str] | None:
        """The names of the stamps."""
        value = self.headers.get("stamped_headers")
        return [item for item in value if isinstance(item, str)] if isinstance(value, list) else None

    @property
    def stamps(self) -> Mapping[str, object]:
        """Marks that the sender put on it and that its follow-ups inherit."""
        value = self.headers.get("stamps")
        return value if isinstance(value, dict) else {}

    @property
    def reply_to(self) -> str | None:
        """The queue that wants the result."""
        return self.properties.reply_to or None

    @property
    def correlation_id(self) -> str | None:
        """The property of that name; Celery sets it to the task's id."""
        return self.properties.correlation_id

    @property
    def priority(self) -> int | None:
        """The message's priority."""
        return self.properties.priority

    @property
    def content_type(self) -> str | None:
        """The content type of the body."""
        return self.properties.content_type

    @property
    def user_headers(self) -> dict[str, object]:
        """The headers that are neither the protocol's nor ours: the sender's own and the broker's (`x-death`)."""
        return {
            name: value
            for name, value in self.headers.items()
            if name not in PROTOCOL_HEADERS and not name.startswith(OWN_PREFIX)
        }

    def _text(self, name: str) -> str | None:
        value = self.headers.get(name)
        return value if isinstance(value, str) else None

    def _int(self, name: str) -> int | None:
        value = self.headers.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None


def _signatures(value: object) -> list[dict[str, object]] | None:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else None


def parse_task(
    properties: bytes,
    body: bytes,
    *,
    accept: frozenset[str] = JSON_ONLY,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> TaskCall:
    """Read a task message: `properties` as in Encoded, from any sender.

    `accept` holds content types (`serializers.accepted` makes them from names). Raises MalformedMessage or
    ContentRefused, and nothing else, whatever the bytes are; their `reason` is one of: bad_headers, no_task_name,
    protocol_1_unsupported, no_id, no_content_type, content_refused, too_large, bad_body.
    """
    if len(body) > max_body_bytes:
        raise _refused(f"the body has {len(body)} bytes, more than {max_body_bytes}", "too_large")
    props, headers = decode_properties(properties)
    name = headers.get("task")
    if not isinstance(name, str) or not name:
        raise _no_task(headers, props, body)
    task_id = headers.get("id")
    if not isinstance(task_id, str) or not task_id:
        raise _malformed("it has no id", "no_id")
    if len(task_id) > 63 and len(task_id.encode("utf-8", "replace")) > 255:
        raise _malformed("its id is longer than 255 bytes", "bad_headers")
    value = _decode_body(props, headers, body, accept, max_body_bytes)
    if not isinstance(value, list) or len(value) != 3:
        raise _malformed("its body is not [args, kwargs, embed]", "bad_body")
    args, kwargs, embed = value
    if not isinstance(args, list) or not isinstance(kwargs, dict) or not (embed is None or isinstance(embed, dict)):
        raise _malformed("its body is not [list, object, object or null]", "bad_body")
    eta, expires, limits = headers.get("eta"), headers.get("expires"), headers.get("timelimit")
    return TaskCall(
        task_id,
        name,
        args,
        kwargs,
        embed or {},
        _retries(headers.get("retries")),
        None if eta is None else _moment(eta, "eta"),
        None if expires is None else _moment(expires, "expires"),
        (None, None) if limits is None or limits == _NO_LIMITS else _limits(limits),
        props,
        headers,
    )


_NO_LIMITS = [None, None]


def _malformed(text: str, reason: str) -> MalformedMessage:
    error = MalformedMessage(text)
    error.reason = reason
    return error


def _refused(text: str, reason: str) -> ContentRefused:
    error = ContentRefused(text)
    error.reason = reason
    return error


def _no_task(headers: Mapping[str, object], props: Properties, body: bytes) -> MalformedMessage:
    """Why there is no task name: an older Celery's message (all fields in the body), or none of anybody's."""
    if props.content_type == serializers.JSON and "task" not in headers and b'"task"' in body:
        try:
            value = serializers.from_json(body, props.content_encoding)
        except (MalformedMessage, ContentRefused):
            value = None
        if isinstance(value, dict) and "task" in value:
            return _malformed(
                "it is in Celery's protocol 1, which this version does not read", "protocol_1_unsupported"
            )
    return _malformed("it names no task", "no_task_name")


def _decode_body(
    props: Properties, headers: Mapping[str, object], body: bytes, accept: frozenset[str], max_bytes: int
) -> object:
    content_type = props.content_type
    if not content_type:
        raise _malformed("it has no content type", "no_content_type")
    if content_type not in accept:
        content_type = content_type.partition(";")[0].strip().lower()
        if content_type not in accept:
            raise _refused(f"the content type {props.content_type!r} is not accepted here", "content_refused")
    if content_type != serializers.JSON:
        raise _refused(f"the content type {props.content_type!r} is not in this version", "content_refused")
    compression = headers.get("compression")
    if compression is not None:
        if not isinstance(compression, str):
            raise _malformed("its compression is not a text", "bad_headers")
        body = serializers.decompress(body, compression, max_bytes=max_bytes)
    return serializers.from_json(body, props.content_encoding)


def _retries(value: object) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _malformed(f"retries is {value!r:.80}", "bad_headers")
    return value


def _moment(value: object, what: str) -> datetime:
    """An aware UTC datetime from ISO 8601 text or an AMQP timestamp; without an offset it is UTC."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if not isinstance(moment, datetime):
            raise _malformed(f"{what} is {value!r:.80}", "bad_headers")
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _malformed(f"{what} is {value!r:.80}", "bad_headers") from error


def _limits(value: object) -> tuple[float | None, float | None]:
    """Hard and soft limit in seconds. 0 and less mean none, as in Celery's pool."""
    if isinstance(value, list) and len(value) == 2:
        hard, soft = value
        if _is_limit(hard) and _is_limit(soft):
            return (hard or None), (soft or None)
    raise _malformed(f"timelimit is {value!r:.80}", "bad_headers")


def _is_limit(value: object) -> TypeGuard[float | None]:
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
