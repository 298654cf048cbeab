"""Registry: the tasks of an app by name. Filled while modules are imported, read by everybody after that."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType

from amqtask.errors import NotRegistered, TaskError
from amqtask.tasks.task import Task


class Registry(Mapping[str, "Task[..., object]"]):
    """Tasks by name. Looking up a name that is not there raises NotRegistered, which names the nearest."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task[..., object]] = {}

    def __getitem__(self, name: str) -> Task[..., object]:
        try:
            return self._tasks[name]
        except KeyError:
            raise NotRegistered(name, self._tasks) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, name: object) -> bool:
        return name in self._tasks

    def register(self, task: Task[..., object]) -> None:
        """Add a task. The same function again, as from a module that is reloaded, replaces it; another is TaskError."""
        present = self._tasks.get(task.name)
        if present is not None and present is not task and not _same_body(present, task):
            raise TaskError(
                f"two tasks are named {task.name!r}: {_place(present)} and {_place(task)}; give one another name="
            )
        self._tasks[task.name] = task


def _place(task: Task[..., object]) -> str:
    function = _innermost(task)
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if isinstance(code, CodeType) else repr(function)


def _innermost(task: Task[..., object]) -> object:
    function: object = task.__wrapped__
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _same_body(one: Task[..., object], other: Task[..., object]) -> bool:
    """Whether both are one function, perhaps from its module's first import and from a later reload."""
    first, second = _innermost(one), _innermost(other)
    if first is second:
        return True
    if not isinstance(first, FunctionType) or not isinstance(second, FunctionType):
        return False
    mine, yours = first.__code__, second.__code__
    if mine is yours:  # made twice by one function around them: equal unless that gave them something of its own
        return first.__closure__ is None and first.__defaults__ == second.__defaults__
    return (first.__module__, mine.co_qualname, mine.co_filename) == (
        second.__module__,
        yours.co_qualname,
        yours.co_filename,
    ) and (mine.co_firstlineno == yours.co_firstlineno or mine.co_code == yours.co_code)


def check_outermost(tasks: Mapping[str, Task[..., object]]) -> None:
    """Raise TaskError for a task that stands under another decorator, saying which one to move.

    Then the name in the module is the other decorator's wrapper: `delay` is missing from it, and workers run the
    function without it. Looks at modules that are imported already; only names that hide a task are judged.
    """
    for task in tasks.values():
        module = sys.modules.get(task.__module__)
        found = getattr(module, task.__name__, None)
        if found is None or found is task or "<locals>" in getattr(task, "__qualname__", ""):
            continue
        wrapper = _wrapper_of(found, task)
        if wrapper is not None:
            raise TaskError(
                f"{task.__module__}.{task.__name__}: {wrapper} stands above the task's decorator; "
                f"move it below, next to the function, so that the task is outermost"
            )


def _wrapper_of(found: object, task: Task[..., object]) -> str | None:
    """The decorator that made `found` around `task`, None when it is not around it."""
    seen = 0
    inner = found
    while inner is not task:
        cells = [cell.cell_contents for cell in getattr(inner, "__closure__", None) or () if _filled(cell)]
        if any(content is task for content in cells):
            break
        inner = getattr(inner, "__wrapped__", None)
        seen += 1
        if inner is None or (isinstance(inner, Task) and inner is not task) or seen > 50:
            return None
    code = getattr(found, "__code__", None)
    if isinstance(code, CodeType):
        # functools.wraps renames the function, not its code: that still says where it was written.
        return f"@{code.co_qualname.partition('.<locals>')[0]}"
    return f"a decorator that makes a {type(found).__name__}"


def _filled(cell: object) -> bool:
    try:
        cell.cell_contents  # type: ignore[attr-defined]  # noqa: B018
    except ValueError:
        return False
    return True
