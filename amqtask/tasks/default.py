"""The default-app cell: which app `shared_task` and free-standing signatures belong to.

The only state of this package that lives in a module. Apps set it when they are made; library code, which knows no app,
declares its tasks with `shared_task`, and every app takes those in.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Concatenate, Literal, ParamSpec, TypeVar, Unpack, overload

from amqtask.errors import TaskError
from amqtask.tasks.declare import BoundTask, as_callable, declare
from amqtask.tasks.options import DeclareOptions
from amqtask.tasks.sender import Sender
from amqtask.tasks.task import Task

P = ParamSpec("P")
R = TypeVar("R")


class DefaultApp:
    """Holds the app made last, and the tasks that belong to whichever it is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._app: Sender | None = None
        self._shared: list[Task[..., object]] = []

    def set(self, app: Sender) -> None:
        """Make `app` the default."""
        self._app = app

    def get(self) -> Sender:
        """The default app. Raises TaskError when none was made."""
        if self._app is None:
            raise TaskError("no app was made yet: make one with App(...) before sending tasks")
        return self._app

    @property
    def main(self) -> str | None:
        """The name that stands for `__main__` in the names of tasks."""
        return self._app.main if self._app is not None else None

    def share(self, task: Task[..., object]) -> None:
        """Add a task for all apps."""
        with self._lock:
            self._shared.append(task)

    def shared_after(self, count: int) -> list[Task[..., object]]:
        """The shared tasks without the first `count`, which the caller has."""
        with self._lock:
            return self._shared[count:]


DEFAULT = DefaultApp()


@overload
def shared_task(function: Callable[P, R], /, **options: Unpack[DeclareOptions]) -> Task[P, R]: ...
@overload
def shared_task(
    *, bind: Literal[True], **options: Unpack[DeclareOptions]
) -> Callable[[Callable[Concatenate[BoundTask, P], R]], Task[P, R]]: ...
@overload
def shared_task(
    *, bind: Literal[False] = False, **options: Unpack[DeclareOptions]
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def shared_task(function: object = None, /, **options: object) -> object:
    """Declare a task that belongs to no app of its own: every app has it, and it is sent by the default one.

    For code that is used in several programs; takes what `App.task` takes, and raises as that does.
    """

    def decorate(function: Callable[..., object]) -> Task[..., object]:
        task = declare(function, options, app=DEFAULT.get, main=DEFAULT.main)
        DEFAULT.share(task)
        return task

    return decorate if function is None else decorate(as_callable(function))
