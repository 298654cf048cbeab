"""Task: a named function with options, that runs here when it is called and elsewhere when it is sent."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar, Unpack, cast

from amqtask.errors import TaskError
from amqtask.tasks.arguments import ArgumentCheck
from amqtask.tasks.context import RUNNING, Request, Running
from amqtask.tasks.handle import AsyncResult
from amqtask.tasks.options import SendOptions, TaskOptions
from amqtask.tasks.signature import Signature

if TYPE_CHECKING:
    from amqtask.tasks.sender import Sender

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

_NOTHING: Mapping[str, object] = MappingProxyType({})
# What Celery's tasks have and later versions of amqtask will have.
_LATER = frozenset(
    {"si", "retry", "update_state", "apply", "replace", "map", "starmap", "chunks", "signature_from_request"}
)


class Task(Generic[P, R_co]):
    """What `@app.task` makes of a function.

    `name` is what messages call it by, `options` are its declaration's, `run` is the function (with the task as its
    first argument already given when it was declared with `bind`), `__wrapped__` the function as it was written.
    Subclasses (`base=`) may override `__call__`, which then runs around the function in workers too, and `__init__`,
    which is called without arguments once the task is complete.
    """

    name: str
    options: TaskOptions
    bind: bool
    run: Callable[P, R_co]
    __wrapped__: Callable[..., R_co]
    __name__: str

    def __init__(self) -> None:
        """For subclasses; tasks are made by `make`."""

    @classmethod
    def make(
        cls,
        function: Callable[..., R_co],
        *,
        name: str,
        options: TaskOptions,
        bind: bool,
        app: Callable[[], Sender],
    ) -> Task[P, R_co]:
        """A complete task. `app` is asked each time it is sent."""
        task = cls.__new__(cls)
        functools.update_wrapper(task, function, updated=())
        task.name = name
        task.options = options
        task.bind = bind
        arguments = ArgumentCheck(name, function, bound=bind)
        task._app, task._arguments = app, arguments  # noqa: SLF001 - its own class
        task.__signature__ = arguments.signature
        task.routing = options.routing()
        run = functools.partial(function, task) if bind else function
        task.run = cast("Callable[P, R_co]", run)
        task.__init__()  # type: ignore[misc]  # only now is there anything that a subclass could look at
        return task

    _app: Callable[[], Sender]
    _arguments: ArgumentCheck
    __signature__: inspect.Signature
    routing: Mapping[str, object]
    """The options that a router looks at."""

    @property
    def app(self) -> Sender:
        """The app that sends it."""
        return self._app()

    @property
    def request(self) -> Request:
        """The call that runs here at the moment; that of a direct call without arguments when none does."""
        running = RUNNING.get()
        return running.request if running is not None and running.task is self else Request()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the function here and now; nothing is sent."""
        running = RUNNING.get()
        if running is not None and running.task is self and not running.entered:
            running.entered = True  # a worker's call, perhaps through a subclass's __call__: its request stands already
            return self.run(*args, **kwargs)
        message = running.message if running is not None else None
        token = RUNNING.set(Running(self, Request(args=args, kwargs=kwargs), message=message, entered=True))
        try:
            return self.run(*args, **kwargs)
        finally:
            RUNNING.reset(token)

    def execute(self, request: Request) -> R_co:
        """Run it for a message: what an executor calls. Whatever the function raises comes through."""
        token = RUNNING.set(Running(self, request, message=request, entered=False))
        try:
            call: Callable[..., R_co] = self  # what arrived fits, or the call itself says so
            return call(*request.args, **request.kwargs)
        finally:
            RUNNING.reset(token)

    def check_arguments(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        """Raise TaskError when the function cannot be called with these; nothing when declared with `typing=False`."""
        if self.options.typing:
            self._arguments.check(args, kwargs)

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R_co]:
        """Send it with these arguments; returns when the broker has it, and says so by its result's id.

        Raises TaskError for arguments that do not fit, TopologyError for a destination that is not declared,
        PublishError or BrokerError, with their fate, when the broker did not take it.
        """
        return cast("AsyncResult[R_co]", self.app.send(Signature(self.name, args, kwargs, type=self)))

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R_co]:
        """`delay` for coroutines."""
        return cast("AsyncResult[R_co]", await self.app.asend(Signature(self.name, args, kwargs, type=self)))

    def apply_async(
        self,
        args: tuple[object, ...] | list[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        **options: Unpack[SendOptions],
    ) -> AsyncResult[R_co]:
        """Send it with options. Raises as `delay` does, and TaskError for an option that is unknown or cannot be.

        `expires` is in seconds or a moment; a naive one is in this machine's time zone. `deadline_s` bounds the whole
        send. `retry` and `retry_policy` are about an unreachable broker, not about the task.
        """
        return cast("AsyncResult[R_co]", self.app.send(self._planned(args, kwargs, options)))

    async def aapply_async(
        self,
        args: tuple[object, ...] | list[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        **options: Unpack[SendOptions],
    ) -> AsyncResult[R_co]:
        """`apply_async` for coroutines."""
        return cast("AsyncResult[R_co]", await self.app.asend(self._planned(args, kwargs, options)))

    def _planned(self, args: object, kwargs: object, options: SendOptions) -> Signature:
        positional, named = plain_arguments(self.name, args, kwargs)
        return Signature(self.name, positional, named, cast("Mapping[str, object]", options), type=self)

    def s(self, *args: object, **kwargs: object) -> Signature:
        """A call of this task with these arguments, to be sent later."""
        return Signature(self.name, args, MappingProxyType(kwargs), type=self)

    def signature(
        self,
        args: tuple[object, ...] | list[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        **options: Unpack[SendOptions],
    ) -> Signature:
        """A call of this task with arguments and options, to be sent later."""
        return self._planned(args, kwargs, options)

    def __repr__(self) -> str:
        return f"<Task {self.name!r}>"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            if name in _LATER:
                raise AttributeError(f"this version of amqtask does not have Task.{name} yet")
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def plain_arguments(task: str, args: object, kwargs: object) -> tuple[tuple[object, ...], Mapping[str, object]]:
    """Arguments as a tuple and a mapping of texts. TaskError for anything else, such as a text instead of a list."""
    if not isinstance(args, tuple | list | None):
        raise TaskError(f"task {task!r}: args must be a list or a tuple, not {args!r:.80}")
    if not isinstance(kwargs, Mapping | None):
        raise TaskError(f"task {task!r}: kwargs must be a mapping, not {kwargs!r:.80}")
    for key in kwargs or ():
        if not isinstance(key, str):
            raise TaskError(f"task {task!r}: kwargs are named by texts, not {key!r:.80}")
    return tuple(args or ()), kwargs or _NOTHING
