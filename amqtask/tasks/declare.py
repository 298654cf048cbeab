"""Declaring: from a function and the options of its decorator to a Task, or to an error that says what to change."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

from amqtask.errors import TaskError
from amqtask.tasks.options import class_options, declared_options
from amqtask.tasks.sender import Sender
from amqtask.tasks.task import Task

# The first parameter of a function declared with bind=True: users annotate it as Task or as their own subclass of it,
# which only Any lets them.
BoundTask: TypeAlias = Any


def declare(
    function: Callable[..., object],
    given: Mapping[str, object],
    *,
    app: Callable[[], Sender],
    main: str | None,
    base: type[Task[..., object]] = Task,
) -> Task[..., object]:
    """The task that `function` and its decorator's options make; not yet registered.

    `app` is asked for the sender each time the task is sent, `main` stands for `__main__` in its name, `base` is the
    class when the options name none. Raises TaskError.
    """
    options = dict(given)
    name, bind, cls = options.pop("name", None), options.pop("bind", False), options.pop("base", None) or base
    if not (isinstance(cls, type) and issubclass(cls, Task)):
        raise TaskError(f"base must be a subclass of amqtask.Task, not {cls!r:.80}")
    if name is None:
        name = getattr(cls, "name", None)
    if name is not None and (not isinstance(name, str) or not name):
        raise TaskError(f"a task's name must be a text, not {name!r:.80}")
    _check_function(name or str(getattr(function, "__name__", function)), function)
    name = name or default_name(function, main)
    if not isinstance(bind, bool):
        raise TaskError(f"task {name!r}: bind must be True or False, not {bind!r:.80}")
    checked = declared_options(name, {**class_options(cls, Task), **options})
    return cast("type[Task[..., object]]", cls).make(function, name=name, options=checked, bind=bind, app=app)


def as_callable(function: object) -> Callable[..., object]:
    """What stands under a decorator. TaskError for what cannot be called: usually a name meant for `name=`."""
    if not callable(function) and not isinstance(function, staticmethod | classmethod):
        raise TaskError(f"a task is made of a function, not of {function!r:.80}; a name is given with name=")
    return cast("Callable[..., object]", function)


def _check_function(name: str, function: object) -> None:
    """Raise TaskError, saying what to do, when `function` cannot be a task."""
    if isinstance(function, Task):
        raise TaskError(f"{name!r} is a task already ({function!r}): one decorator that makes tasks is enough")
    if isinstance(function, staticmethod | classmethod):
        kind = type(function).__name__
        raise TaskError(f"task {name!r}: a {kind} cannot be a task; use a function of the module")
    if inspect.isclass(function):
        raise TaskError(f"task {name!r}: a class cannot be a task; give it with base= and decorate a function")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TaskError(f"task {name!r}: this version of amqtask does not run async functions yet")


def default_name(function: Callable[..., object], main: str | None) -> str:
    """`module.function`; the app's name, if it has one, stands for the module `__main__`. TaskError for a lambda."""
    module, own = getattr(function, "__module__", None), getattr(function, "__name__", None)
    if not module or not own or own == "<lambda>":
        raise TaskError(f"{function!r} has no name of its own: give it one with name=")
    return f"{main if main and module == '__main__' else module}.{own}"
