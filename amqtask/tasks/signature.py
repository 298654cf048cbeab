"""Signature: one planned call of a task, as a value that can be kept, sent, and written into a message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Unpack, cast

from amqtask.errors import TaskError
from amqtask.tasks.handle import AsyncResult
from amqtask.tasks.options import SendOptions, check_send_options

if TYPE_CHECKING:
    from amqtask.tasks.sender import Sender
    from amqtask.tasks.task import Task

_NOTHING: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Signature:
    """A task's name, arguments and send options. Two are equal when those are; who sends it does not count.

    Nothing is checked but the options' names until it is sent: a part of the arguments may be given then.
    """

    task: str
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] = field(default_factory=lambda: _NOTHING)
    options: Mapping[str, object] = field(default_factory=lambda: _NOTHING)
    type: Task[..., object] | None = field(default=None, compare=False, repr=False)
    sender: Sender | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.options:
            check_send_options(self.task, self.options)

    def set(self, **options: Unpack[SendOptions]) -> Signature:
        """The same call with these send options over its own."""
        return replace(self, options=MappingProxyType({**self.options, **options}))

    def delay(self, *args: object, **kwargs: object) -> AsyncResult[object]:
        """Send it; `args` come before its own, `kwargs` over its own."""
        return self._sender().send(self.with_arguments(args, kwargs))

    def apply_async(
        self,
        args: tuple[object, ...] | list[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        **options: Unpack[SendOptions],
    ) -> AsyncResult[object]:
        """Send it with more arguments and options: the ones given here come first and win."""
        call = self.with_arguments(tuple(args or ()), kwargs or _NOTHING)
        return self._sender().send(call.set(**options) if options else call)

    def with_arguments(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Signature:
        """The same call with `args` before its own and `kwargs` over its own."""
        if not args and not kwargs:
            return self
        return replace(self, args=(*args, *self.args), kwargs=MappingProxyType({**self.kwargs, **kwargs}))

    def to_dict(self) -> dict[str, object]:
        """As Celery writes it into messages; all of it must be what JSON can carry when it is sent."""
        return {
            "task": self.task,
            "args": list(self.args),
            "kwargs": dict(self.kwargs),
            "options": dict(self.options),
            "subtask_type": None,
            "immutable": False,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, object], *, sender: Sender | None = None) -> Signature:
        """The reverse of `to_dict`. Raises TaskError for what is no plain signature."""
        task, args, kwargs, options = (value.get(name) for name in ("task", "args", "kwargs", "options"))
        if not isinstance(task, str) or not isinstance(args or [], list | tuple):
            raise TaskError(f"this is no signature: {value!r:.200}")
        if not isinstance(kwargs or {}, Mapping) or not isinstance(options or {}, Mapping):
            raise TaskError(f"this is no signature: {value!r:.200}")
        if value.get("subtask_type") is not None or value.get("immutable"):
            raise TaskError(f"this version of amqtask has plain signatures only, not {value.get('subtask_type')!r}")
        return cls(
            task,
            tuple(cast("list[object]", args or ())),
            MappingProxyType(dict(cast("dict[str, object]", kwargs or {}))),
            MappingProxyType(dict(cast("dict[str, object]", options or {}))),
            sender=sender,
        )

    def _sender(self) -> Sender:
        if self.type is not None:
            return self.type.app
        if self.sender is None:
            raise TaskError(f"the signature of {self.task!r} belongs to no app: send it with app.send(signature)")
        return self.sender
