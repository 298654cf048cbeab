"""From a planned call to what is published: its route, its bytes, its expiry. Decides; sends nothing. Thread-safe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import cast

from amqtask.clock import Clock
from amqtask.errors import TaskError
from amqtask.routing.router import Route, Router
from amqtask.settings import Settings
from amqtask.tasks.context import current_message
from amqtask.tasks.options import RetryPolicy
from amqtask.tasks.signature import Signature
from amqtask.tasks.task import Task
from amqtask.wire.encoder import TaskEncoder
from amqtask.wire.message import Encoded

_NOTHING: Mapping[str, object] = MappingProxyType({})
_CONSTANT = ("serializer", "compression", "ignore_result", "shadow", "headers", "reply_to")
_MAX_ENCODERS = 4096  # programs may send by names they make up: the cache must not grow with them
# Ten years, the most that RabbitMQ 3.10 to 4.3 take; for more it closes the channel (406, value_too_large).
MAX_EXPIRATION_MS = 3650 * 86_400_000


@dataclass(frozen=True, slots=True)
class Planned:
    """One message, where it goes, and how long its send may take; None: as the settings say."""

    message: Encoded
    route: Route
    deadline_s: float | None = None
    retry: bool | None = None
    retry_policy: RetryPolicy | None = None


class Planner:
    """Plans messages by the settings, the router and the options of tasks."""

    def __init__(self, settings: Settings, router: Router, clock: Clock) -> None:
        self._tasks = settings.tasks
        self._router = router
        self._clock = clock
        self._encoders: dict[tuple[str, int | None], tuple[Task[..., object] | None, TaskEncoder]] = {}

    def plan(self, call: Signature, task: Task[..., object] | None) -> Planned:
        """The message of one call. `task` is what is known of it here, None for one that only others have.

        Raises TaskError for arguments and options that cannot be, SettingsError for an unknown serializer or
        compression, QueueNotDeclared and TopologyError for a destination that does not exist.
        """
        options = call.options
        if task is not None:
            task.check_arguments(call.args, call.kwargs)
        route = self._router.route(
            call.task,
            call.args,
            call.kwargs,
            options,
            task_options=_NOTHING if task is None else task.routing,
            task=task,
        )
        encoder = self._encoder(call, task, route.priority)
        expires = options.get("expires") if options else None
        if expires is None and task is not None:
            expires = task.options.expires
        if expires is None:
            expires = self._tasks.default_expires_s
        moment, expiration_ms = (None, None) if expires is None else self._expiry(call.task, expires)
        origin = current_message()
        root_id, parent_id = (None, None) if origin is None else (origin.root_id, origin.id)
        if not options:
            message = encoder.encode(
                call.args,
                call.kwargs,
                root_id=root_id,
                parent_id=parent_id,
                expires=moment,
                expiration_ms=expiration_ms,
            )
            return Planned(message, route)
        text = _Texts(call.task, options)
        message = encoder.encode(
            call.args,
            call.kwargs,
            task_id=text.get("task_id"),
            root_id=text.get("root_id") or root_id,
            parent_id=text.get("parent_id") or parent_id,
            expires=moment,
            expiration_ms=expiration_ms,
            argsrepr=text.get("argsrepr"),
            kwargsrepr=text.get("kwargsrepr"),
        )
        return Planned(
            message,
            route,
            deadline_s=_seconds(call.task, "deadline_s", options.get("deadline_s")),
            retry=_flag(call.task, "retry", options.get("retry")),
            retry_policy=cast("RetryPolicy | None", options.get("retry_policy")),
        )

    def _encoder(self, call: Signature, task: Task[..., object] | None, priority: int | None) -> TaskEncoder:
        options = call.options
        shadow_name = task.options.shadow_name if task is not None else None
        if shadow_name is not None or any(options.get(name) is not None for name in _CONSTANT):
            shadow = options.get("shadow")
            if shadow is None and shadow_name is not None and task is not None:
                shadow = shadow_name(task, call.args, call.kwargs, options)
            return self._new_encoder(call.task, task, priority, MappingProxyType({**options, "shadow": shadow}))
        key = (call.task, priority)
        cached = self._encoders.get(key)
        if cached is not None and cached[0] is task:
            return cached[1]
        encoder = self._new_encoder(call.task, task, priority, _NOTHING)
        if len(self._encoders) >= _MAX_ENCODERS:
            self._encoders.clear()
        self._encoders[key] = (task, encoder)
        return encoder

    def _new_encoder(
        self, name: str, task: Task[..., object] | None, priority: int | None, options: Mapping[str, object]
    ) -> TaskEncoder:
        settings, own = self._tasks, task.options if task is not None else None
        text = _Texts(name, options)
        ignore_result = _flag(name, "ignore_result", options.get("ignore_result"))
        if ignore_result is None and own is not None:
            ignore_result = own.ignore_result
        return TaskEncoder(
            name,
            serializer=text.get("serializer") or (own and own.serializer) or settings.serializer,
            compression=text.get("compression") or (own and own.compression) or settings.compression,
            priority=priority,
            ignore_result=settings.ignore_result if ignore_result is None else ignore_result,
            shadow=text.get("shadow"),
            headers=cast("Mapping[str, object] | None", options.get("headers")),
            reply_to=text.get("reply_to"),
        )

    def _expiry(self, name: str, expires: object) -> tuple[datetime, int | None]:
        """When workers must not start it any more, and the milliseconds after which the broker drops it.

        A moment without a zone is in this machine's. One that has passed is sent to expire at once, as Celery does.
        """
        now = self._clock.now()
        try:
            if isinstance(expires, datetime):
                moment = expires.astimezone() if expires.tzinfo is None else expires
                left_s = (moment - now).total_seconds()
            elif isinstance(expires, int | float) and not isinstance(expires, bool) and math.isfinite(expires):
                moment, left_s = now + timedelta(seconds=expires), float(expires)
            else:
                raise TaskError(f"task {name!r}: expires must be seconds or a datetime, not {expires!r:.80}")
        except OverflowError as error:
            raise TaskError(f"task {name!r}: expires {expires!r} is out of range") from error
        milliseconds = max(0, math.ceil(left_s * 1000))
        return moment, milliseconds if milliseconds <= MAX_EXPIRATION_MS else None


class _Texts:
    """The options that must be texts."""

    __slots__ = ("_name", "_options")

    def __init__(self, name: str, options: Mapping[str, object]) -> None:
        self._name = name
        self._options = options

    def get(self, option: str) -> str | None:
        value = self._options.get(option)
        if value is not None and not isinstance(value, str):
            raise TaskError(f"task {self._name!r}: {option} must be a text, not {value!r:.80}")
        return value


def _flag(task: str, option: str, value: object) -> bool | None:
    if not isinstance(value, bool | None):
        raise TaskError(f"task {task!r}: {option} must be True or False, not {value!r:.80}")
    return value


def _seconds(task: str, option: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise TaskError(f"task {task!r}: {option} must be seconds above 0, not {value!r:.80}")
    return float(value)
