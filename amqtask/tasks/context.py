"""What runs at the moment: the task and its request, in a context variable, so that threads and coroutines differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amqtask.tasks.task import Task
    from amqtask.wire.task import TaskCall

_NOT_SENT = (None, None)


class Request:
    """What a running task may know about its call (`self.request`).

    Made by an executor for a message, or for a direct call in the same process: then `called_directly` is true and all
    that only a message has is None. Times are aware datetimes in UTC; `timelimit` is (hard, soft) in seconds.
    """

    __slots__ = ("_call", "args", "called_directly", "exchange", "hostname", "kwargs", "redelivered", "routing_key")

    is_eager = False
    utc = True
    logfile: str | None = None
    loglevel: int | None = None

    def __init__(
        self,
        call: TaskCall | None = None,
        *,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        hostname: str | None = None,
        exchange: str | None = None,
        routing_key: str | None = None,
        redelivered: bool = False,
    ) -> None:
        """Of a message (`call`), or of a direct call with `args` and `kwargs`."""
        self._call = call
        self.called_directly = call is None
        self.args = args if call is None else call.args
        self.kwargs = (kwargs or {}) if call is None else call.kwargs
        self.hostname = hostname
        self.exchange = exchange
        self.routing_key = routing_key
        self.redelivered = redelivered

    @property
    def id(self) -> str | None:
        """The task's id; the same on each retry."""
        return self._call.id if self._call else None

    @property
    def task(self) -> str | None:
        """The task's name."""
        return self._call.name if self._call else None

    @property
    def root_id(self) -> str | None:
        """The id of the first task of the workflow."""
        return self._call.root_id if self._call else None

    @property
    def parent_id(self) -> str | None:
        """The id of the task that sent this one."""
        return self._call.parent_id if self._call else None

    @property
    def correlation_id(self) -> str | None:
        """The message's property of that name: usually the task's id."""
        return self._call.correlation_id if self._call else None

    @property
    def reply_to(self) -> str | None:
        """The queue that wants the result."""
        return self._call.reply_to if self._call else None

    @property
    def group(self) -> str | None:
        """The id of the group that the task belongs to."""
        return self._call.group if self._call else None

    @property
    def group_index(self) -> int | None:
        """The task's place in its group."""
        return self._call.group_index if self._call else None

    @property
    def shadow(self) -> str | None:
        """The name to show instead of the task's."""
        return self._call.shadow if self._call else None

    @property
    def origin(self) -> str | None:
        """Who sent it."""
        return self._call.origin if self._call else None

    @property
    def argsrepr(self) -> str | None:
        """The positional arguments as the sender showed them."""
        return self._call.argsrepr if self._call else None

    @property
    def kwargsrepr(self) -> str | None:
        """The keyword arguments as the sender showed them."""
        return self._call.kwargsrepr if self._call else None

    @property
    def retries(self) -> int:
        """How often it was retried so far."""
        return self._call.retries if self._call else 0

    @property
    def replaced_task_nesting(self) -> int:
        """How often it stands for a task that replaced itself."""
        return self._call.replaced_task_nesting if self._call else 0

    @property
    def eta(self) -> datetime | None:
        """When it was to run at the earliest."""
        return self._call.eta if self._call else None

    @property
    def expires(self) -> datetime | None:
        """When it was no longer to be started."""
        return self._call.expires if self._call else None

    @property
    def timelimit(self) -> tuple[float | None, float | None]:
        """The limits that the message carries: (hard, soft)."""
        return self._call.timelimit if self._call else _NOT_SENT

    @property
    def time_limit(self) -> float | None:
        """The hard limit that the message carries."""
        return self.timelimit[0]

    @property
    def soft_time_limit(self) -> float | None:
        """The soft limit that the message carries."""
        return self.timelimit[1]

    @property
    def ignore_result(self) -> bool | None:
        """Whether the sender wants no result; None when it left that to the task."""
        return self._call.ignore_result if self._call else None

    @property
    def callbacks(self) -> list[dict[str, object]] | None:
        """What is called with the return value."""
        return self._call.callbacks if self._call else None

    @property
    def errbacks(self) -> list[dict[str, object]] | None:
        """What is called when it fails."""
        return self._call.errbacks if self._call else None

    @property
    def errback(self) -> list[dict[str, object]] | None:
        """Another spelling of `errbacks`."""
        return self.errbacks

    @property
    def chain(self) -> list[dict[str, object]] | None:
        """What follows in its chain, last first."""
        return self._call.chain if self._call else None

    @property
    def chord(self) -> dict[str, object] | None:
        """The body of the chord that it is a part of."""
        return self._call.chord if self._call else None

    @property
    def stamped_headers(self) -> list[str] | None:
        """The names of its stamps."""
        return self._call.stamped_headers if self._call else None

    @property
    def stamps(self) -> Mapping[str, object]:
        """The stamps that the sender put on it."""
        return self._call.stamps if self._call else {}

    @property
    def headers(self) -> Mapping[str, object]:
        """The sender's own headers."""
        return self._call.user_headers if self._call else {}

    @property
    def properties(self) -> Mapping[str, object]:
        """The properties of the message."""
        return asdict(self._call.properties) if self._call else {}

    @property
    def delivery_info(self) -> Mapping[str, object]:
        """How the message came: exchange, routing_key, priority, redelivered."""
        return {
            "exchange": self.exchange,
            "routing_key": self.routing_key,
            "priority": self._call.priority if self._call else None,
            "redelivered": self.redelivered,
        }

    def get(self, name: str, default: object = None) -> object:
        """An attribute by its name; `reply-to` is `reply_to`."""
        return getattr(self, name.replace("-", "_"), default)

    def __repr__(self) -> str:
        return f"<Request {self.task} {self.id}>" if self._call else "<Request of a direct call>"


class Running:
    """One task that runs, and its request.

    `message` is the request of the message that an executor works on: that of an outer task in a direct call.
    `entered` once the function has been reached.
    """

    __slots__ = ("entered", "message", "request", "task")

    def __init__(self, task: Task[..., object], request: Request, *, message: Request | None, entered: bool) -> None:
        self.task = task
        self.request = request
        self.message = message
        self.entered = entered


RUNNING: ContextVar[Running | None] = ContextVar("amqtask_running", default=None)


def current_task() -> Task[..., object] | None:
    """The task that runs here, None outside of any. In a direct call of a task from a task, the inner one."""
    running = RUNNING.get()
    return running.task if running else None


def current_message() -> Request | None:
    """The request of the message that is worked on here: what is sent now descends from it. None outside of one."""
    running = RUNNING.get()
    return running.message if running else None
