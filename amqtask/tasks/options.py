"""The options of a task's declaration and of a single send: their names, their types, and what is said about others.

An option that is not known is an error that names the nearest one; so is an option of Celery's that this version does
not have. None is ignored silently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, TypedDict

from amqtask.errors import TaskError, nearest
from amqtask.wire.encoder import check_headers

if TYPE_CHECKING:
    from amqtask.tasks.task import Task

# Of (task, args, kwargs, options): the name to show instead of the task's.
ShadowName = Callable[["Task[..., object]", tuple[object, ...], Mapping[str, object], Mapping[str, object]], str | None]


class RetryPolicy(TypedDict, total=False):
    """How a publish is tried again while the broker cannot be reached; Celery's names, times in seconds."""

    max_retries: int | None
    interval_start: float
    interval_step: float
    interval_max: float


class DeclareOptions(TypedDict, total=False):
    """What `@app.task(...)` takes beside `bind`; each overrides the setting of its name."""

    name: str
    base: type[Task[..., object]]
    queue: str | None
    exchange: str | None
    routing_key: str | None
    serializer: str | None
    compression: str | None
    priority: int | None
    expires: float | datetime | None
    ignore_result: bool | None
    acks_late: bool | None
    typing: bool
    shadow_name: ShadowName | None


class SendOptions(TypedDict, total=False):
    """What `apply_async`, `send_task` and `Signature.set` take; each overrides the task's own."""

    task_id: str | None
    queue: str | None
    exchange: str | None
    routing_key: str | None
    priority: int | None
    expires: float | datetime | None
    headers: Mapping[str, object] | None
    shadow: str | None
    serializer: str | None
    compression: str | None
    retry: bool | None
    retry_policy: RetryPolicy | None
    deadline_s: float | None
    ignore_result: bool | None
    reply_to: str | None
    root_id: str | None
    parent_id: str | None
    argsrepr: str | None
    kwargsrepr: str | None
    countdown: float | None
    eta: datetime | None


SEND_OPTIONS = frozenset(SendOptions.__annotations__)
RETRY_POLICY = frozenset(RetryPolicy.__annotations__)

# Celery's options of features that come in later versions.
_LATER_DECLARED = frozenset(
    {
        "max_retries", "default_retry_delay", "autoretry_for", "dont_autoretry_for", "retry_kwargs", "retry_backoff",
        "retry_backoff_max", "retry_jitter", "rate_limit", "time_limit", "soft_time_limit", "track_started", "throws",
        "send_events", "trail", "store_errors_even_if_ignored", "store_eager_result", "resultrepr_maxsize", "backend",
        "acks_on_failure_or_timeout", "reject_on_worker_lost", "pydantic", "on_success", "on_failure", "on_retry",
        "before_start", "after_return",
    }
)  # fmt: skip
_LATER_SENT = frozenset(
    {
        "link", "link_error", "chain", "chord", "group_id", "group_index", "time_limit", "soft_time_limit",
        "stamped_headers", "add_to_parent",
    }
)  # fmt: skip
_MEANINGLESS_SENT = {
    "connection": "an app keeps its own connection; make another App for another broker",
    "producer": "an app keeps its own publisher",
    "publisher": "an app keeps its own publisher",
    "router": "rules belong into the settings, under routes",
    "delivery_mode": "every message is persistent",
    "mandatory": "every message is mandatory: one that no queue takes is an error",
    "declare": "publishing declares nothing; queues belong into the settings",
    "confirm_timeout": "use deadline_s",
    "timeout": "use deadline_s",
}
_ROUTING = ("queue", "exchange", "routing_key", "priority")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """A task's own options; None where it leaves the settings to decide. `expires` is in seconds when a number."""

    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    serializer: str | None = None
    compression: str | None = None
    priority: int | None = None
    expires: float | datetime | None = None
    ignore_result: bool | None = None
    acks_late: bool | None = None
    typing: bool = True
    shadow_name: ShadowName | None = None

    def routing(self) -> Mapping[str, object]:
        """Those that a router looks at, without those that say nothing."""
        named = {name: getattr(self, name) for name in _ROUTING}
        return MappingProxyType({name: value for name, value in named.items() if value is not None})


DECLARED = frozenset(field.name for field in fields(TaskOptions))
_DECORATOR = DECLARED | {"name", "bind", "base"}


def declared_options(task: str, given: Mapping[str, object]) -> TaskOptions:
    """The options of a declaration. TaskError for one that is unknown or not in this version."""
    for name in given:
        if name in DECLARED:
            continue
        if name in _LATER_DECLARED:
            raise TaskError(f"task {task!r}: this version of amqtask does not have the option {name!r} yet")
        raise TaskError(f"task {task!r}: unknown option {name!r}{hint(name, _DECORATOR)}")
    for name in ("typing", "ignore_result", "acks_late"):
        if not isinstance(given.get(name, None), bool | None):
            raise TaskError(f"task {task!r}: {name} must be True or False, not {given[name]!r}")
    return TaskOptions(**given)  # type: ignore[arg-type]  # names are checked; values where they are used


def class_options(base: type, root: type) -> dict[str, object]:
    """The options that `base`, a subclass of `root`, sets as class attributes; also those of later versions."""
    names = DECLARED | _LATER_DECLARED
    found: dict[str, object] = {}
    for cls in reversed(base.__mro__):
        if cls not in root.__mro__:
            found |= {name: value for name, value in vars(cls).items() if name in names}
    return found


def check_send_options(task: str, options: Mapping[str, object]) -> None:
    """Raise TaskError when a send has an option that is unknown, not in this version, or cannot be."""
    unknown = options.keys() - SEND_OPTIONS
    for name in sorted(unknown):
        if name in _LATER_SENT:
            raise TaskError(f"task {task!r}: this version of amqtask does not have the option {name!r} yet")
        if name in _MEANINGLESS_SENT:
            raise TaskError(f"task {task!r}: no option {name!r}: {_MEANINGLESS_SENT[name]}")
        raise TaskError(f"task {task!r}: unknown option {name!r}{hint(name, SEND_OPTIONS)}")
    if options.get("countdown") or options.get("eta") is not None:
        raise TaskError(f"task {task!r}: this version of amqtask does not have delayed tasks (countdown, eta) yet")
    headers = options.get("headers")
    if headers is not None:
        if not isinstance(headers, Mapping):
            raise TaskError(f"task {task!r}: headers must be a mapping, not {headers!r:.80}")
        check_headers(headers)
    policy = options.get("retry_policy")
    if policy is not None:
        if not isinstance(policy, Mapping):
            raise TaskError(f"task {task!r}: retry_policy must be a mapping, not {policy!r:.80}")
        for name in policy:
            if name not in RETRY_POLICY:
                raise TaskError(f"task {task!r}: unknown key {name!r} in retry_policy{hint(name, RETRY_POLICY)}")


def hint(name: str, known: Iterable[str]) -> str:
    """How the nearest known name is offered; all of them when none is near."""
    names = sorted(known)
    near = nearest(name, names)
    return f"; did you mean {near!r}?" if near else f". There are: {', '.join(names)}"
