"""Runs one delivery inside an executor: bytes in, the task's function called, an outcome out. One call at a time.

Nothing that a message or a task does may raise out of `run`: what is not understood is refused with a reason, what the
task raises becomes text.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from amqtask.errors import Ignore, MessageError, NotRegistered, Reject, TaskError
from amqtask.execute.outcome import Kind, Outcome, cut, describe, format_traceback, text_of
from amqtask.tasks.context import Request
from amqtask.tasks.task import Task
from amqtask.wire.task import JSON_ONLY, TaskCall, parse_task

MAX_REASON_CHARS = 200

_NO_LIMITS = (None, None)
_FOLLOW_UPS = (
    ("chain", "the rest of a chain"),
    ("callbacks", "callbacks (link)"),
    ("errbacks", "error callbacks (link_error)"),
    ("chord", "a chord"),
)

log = logging.getLogger("amqtask.execute")  # users' logging: an executor is their process
MAX_NAME_CHARS = 500  # of a task that is not registered: a sender may write what it likes


class Runner:
    """Runs deliveries with the tasks of one app.

    `queues` and `early` have one entry per queue of the node: its name, and whether its pool acknowledges early.
    `close` is called once, before the process ends.
    """

    def __init__(
        self,
        tasks: Mapping[str, Task[..., object]],
        *,
        node: str,
        queues: Sequence[str],
        early: Sequence[bool],
        now: Callable[[], datetime],
        max_body_bytes: int,
        accept: frozenset[str] = JSON_ONLY,
        close: Callable[[], None],
    ) -> None:
        self._tasks = tasks
        self._node = node
        self._queues = tuple(queues)
        self._early = tuple(early)
        self._now = now
        self._max_body_bytes = max_body_bytes
        self._accept = accept
        self._close = close
        self._limits_said: set[str] = set()

    def run(
        self,
        queue: int,
        *,
        handover: int,
        redelivered: bool,
        crashes: int,
        route: bytes,
        properties: bytes,
        body: bytes,
        acknowledge: Callable[[int], None],
    ) -> Outcome | None:
        """Run one delivery to its end; None: it succeeded."""
        name = ""
        try:
            call = parse_task(properties, body, accept=self._accept, max_body_bytes=self._max_body_bytes)
            name = call.name
            task = self._tasks[name]
            refused = self._refusal(call, task)
            if refused is not None:
                return refused
        except MessageError as error:
            return Outcome(Kind.REFUSED, error.reason, describe(error), task=cut(name, MAX_NAME_CHARS))
        except NotRegistered as error:
            return Outcome(Kind.REFUSED, "not_registered", cut(str(error), 500), task=cut(name, MAX_NAME_CHARS))
        late = task.options.acks_late
        if (self._early[queue] and not late) or late is False:
            acknowledge(handover)
        exchange_end = 1 + route[0]
        request = Request(
            call,
            hostname=self._node,
            exchange=route[1:exchange_end].decode("utf-8", "backslashreplace"),
            routing_key=route[exchange_end + 1 :].decode("utf-8", "backslashreplace"),
            redelivered=redelivered or crashes > 0,
        )
        return self._execute(task, request)

    def close(self) -> None:
        """Let go of what the tasks opened."""
        self._close()

    def _refusal(self, call: TaskCall, task: Task[..., object]) -> Outcome | None:
        """Why a call that is understood must not run now."""
        if call.expires is not None and self._now() >= call.expires:
            return Outcome(Kind.REFUSED, "expired", f"it expired at {call.expires.isoformat()}", task=call.name)
        asked = self._not_had(call)
        if asked is not None:
            error = f"it asks for {asked}, which this version of amqtask does not have"
            return Outcome(Kind.REFUSED, "not_in_this_version", error, task=call.name)
        try:
            task.check_arguments(tuple(call.args), call.kwargs)
        except TaskError as error:
            # Usually a message from before a deploy, or for after one: not a failure of the task.
            return Outcome(Kind.REFUSED, "bad_arguments", describe(error), task=call.name)
        return None

    def _not_had(self, call: TaskCall) -> str | None:
        """What a Celery program may ask for and would be lost in silence if the task were simply run."""
        embed = call.embed
        if call.eta is not None and call.eta > self._now():
            return f"a start at {call.eta.isoformat()}"
        if embed:
            for field, what in _FOLLOW_UPS:
                if embed.get(field):
                    return what
        if call.timelimit != _NO_LIMITS and call.name not in self._limits_said:
            # Run without them rather than not at all: Celery sends each task's own limits along with every call.
            self._limits_said.add(call.name)
            log.warning("time limits of %s are not enforced by this version of amqtask", call.name)
        return None

    @staticmethod
    def _execute(task: Task[..., object], request: Request) -> Outcome | None:
        try:
            task.execute(request)
        except Ignore:
            return Outcome(Kind.IGNORED, "ignored", task=task.name)
        except Reject as directive:
            kind = Kind.REQUEUED if directive.requeue else Kind.REJECTED
            reason = "" if directive.reason is None else text_of(directive.reason, MAX_REASON_CHARS)
            return Outcome(kind, "rejected", error=reason or "rejected", task=task.name)
        except BaseException as exception:  # noqa: BLE001 - sys.exit() and whatever else it raises ends the task only
            return Outcome(Kind.FAILED, "failed", describe(exception), format_traceback(exception), task.name)
        return None
