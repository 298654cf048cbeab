"""The registry: one function per name, and no task hidden under another decorator."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from amqtask.errors import NotRegistered, TaskError
from amqtask.tasks.declare import declare
from amqtask.tasks.default import DEFAULT, DefaultApp, shared_task
from amqtask.tasks.registry import Registry, check_outermost
from amqtask.tasks.task import Task


def make(function: Any, name: str | None = None) -> Task[..., object]:
    options: dict[str, object] = {} if name is None else {"name": name}
    return declare(function, options, app=DEFAULT.get, main=None)


def one() -> int:
    return 1


def two() -> int:
    return 2


def test_s14_two_functions_cannot_share_a_name() -> None:
    registry = Registry()
    task = make(one, "same")
    registry.register(task)
    registry.register(task)
    with pytest.raises(TaskError, match=r"two tasks are named 'same': .*test_registry\.py:\d+ and .*test_registry\.py"):
        registry.register(make(two, "same"))
    assert registry["same"] is task


def test_s14_the_same_function_again_replaces_it() -> None:
    registry = Registry()
    registry.register(make(one, "same"))
    again = make(one, "same")
    registry.register(again)
    assert registry["same"] is again


def test_s14_functions_made_in_a_loop_are_different() -> None:
    def maker(number: int) -> Any:
        def made() -> int:
            return number

        return made

    registry = Registry()
    registry.register(make(maker(1), "same"))
    with pytest.raises(TaskError, match="two tasks"):
        registry.register(make(maker(2), "same"))


def test_an_unknown_name_suggests_the_nearest() -> None:
    registry = Registry()
    registry.register(make(one, "orders.ship"))
    with pytest.raises(NotRegistered, match="did you mean"):
        registry["orders.shop"]
    assert registry.get("orders.shop") is None
    assert ("orders.ship" in registry, list(registry), len(registry)) == (True, ["orders.ship"], 1)


@pytest.fixture
def module() -> Iterator[ModuleType]:
    made = ModuleType("decorated_tasks")
    sys.modules["decorated_tasks"] = made
    yield made
    del sys.modules["decorated_tasks"]


def timed(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: object) -> object:
        return function(*args)

    return wrapper


def plain(function: Any) -> Any:
    return lambda *args: function(*args)


class Wrapping:
    def __init__(self, function: Any) -> None:
        functools.update_wrapper(self, function)

    def __call__(self) -> None: ...


def declared_in(module: ModuleType, decorator: Any) -> dict[str, Task[..., object]]:
    def job() -> None: ...

    job.__module__, job.__qualname__ = module.__name__, "job"
    task = make(job)
    module.job = decorator(task)  # type: ignore[attr-defined]
    return {task.name: task}


@pytest.mark.parametrize(
    ("decorator", "said"), [(timed, "@timed"), (plain, "@plain"), (Wrapping, "a decorator that makes a Wrapping")]
)
def test_c13_a_task_under_another_decorator_is_named(module: ModuleType, decorator: Any, said: str) -> None:
    with pytest.raises(TaskError, match="move it below") as caught:
        check_outermost(declared_in(module, decorator))
    assert str(caught.value).startswith(f"decorated_tasks.job: {said} stands above")


@pytest.mark.parametrize("decorator", [lambda task: task, lambda task: None, lambda task: len, lambda task: timed(len)])
def test_c13_other_things_of_that_name_are_not_judged(module: ModuleType, decorator: Any) -> None:
    check_outermost(declared_in(module, decorator))


def test_c13_a_decorator_below_is_right(module: ModuleType) -> None:
    def job() -> None: ...

    job.__module__, job.__qualname__ = module.__name__, "job"
    task = make(timed(job))
    module.job = task  # type: ignore[attr-defined]
    check_outermost({task.name: task})


def test_s14_a_reloaded_module_replaces_its_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "reloaded_tasks.py"
    path.write_text("def job():\n    return 1\n")
    registry = Registry()
    module = importlib.import_module("reloaded_tasks")
    registry.register(make(module.job))
    importlib.reload(module)
    registry.register(make(module.job))
    assert registry["reloaded_tasks.job"].run is module.job
    del sys.modules["reloaded_tasks"]


def test_shared_tasks_belong_to_whichever_app_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = DefaultApp()
    monkeypatch.setattr("amqtask.tasks.default.DEFAULT", cell)

    @shared_task
    def first() -> None: ...

    @shared_task(name="second", bind=True)
    def second(self: Any, x: int) -> int:
        return x

    assert [task.name for task in cell.shared_after(0)] == [f"{__name__}.first", "second"]
    assert cell.shared_after(1) == [second]
    assert second(3) == 3
    with pytest.raises(TaskError, match="no app was made yet"):
        first.delay()
