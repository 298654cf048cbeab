"""`task_routes` and `CELERY_ROUTES` in all of Celery's forms, turned into rules of ours."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from amqtask.errors import SettingsError, nearest
from amqtask.settings.layers import hint, kind_of_value

KEYS = ("queue", "exchange", "routing_key", "priority")
# What apply_async takes too. Celery merges it from a route into the call; a route here says where, and nothing else.
_OPTIONS = (
    "compression", "countdown", "delivery_mode", "eta", "expires", "headers", "ignore_result", "immediate", "mandatory",
    "retry", "retry_policy", "serializer", "soft_time_limit", "time_limit",
)  # fmt: skip


class WrongRoute(ValueError):
    """A route that cannot be understood; the text says why."""


@dataclass(frozen=True, slots=True)
class NamedRouter:
    """A router given by its import path: imported when the first task is routed, as it may import the app itself."""

    path: str

    def __call__(self, name: str, args: object, kwargs: object, options: object, task: object = None) -> object:
        """What the router at `path` answers. Raises SettingsError when there is none."""
        return ask(resolve(self.path), name, args, kwargs, options, task)


@dataclass(frozen=True, slots=True)
class RouterObject:
    """A router of Celery's older kind: an object with `route_for_task`."""

    router: object

    def __call__(self, name: str, args: object, kwargs: object, options: object, task: object = None) -> object:
        """What the object's `route_for_task` answers."""
        return ask(self.router, name, args, kwargs, options, task)


def ask(router: object, name: str, args: object, kwargs: object, options: object, task: object) -> object:
    """Ask a router of either kind."""
    old = getattr(router, "route_for_task", None)
    if old is not None:
        return old(name, args, kwargs)
    assert callable(router)
    return router(name, args, kwargs, options, task=task)


def resolve(path: str) -> object:
    """The router that `pkg.module.name` or `pkg.module:name` is; a class of the older kind is instantiated."""
    module, colon, attribute = path.partition(":")
    if not colon:
        module, _, attribute = path.rpartition(".")
    if not module or not attribute:
        raise SettingsError(f"{path!r} is not the path of a router; write module:name", where="routes")
    try:
        found: object = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"the router {path!r} cannot be imported: {error}", where="routes") from error
    return found() if isinstance(found, type) and hasattr(found, "route_for_task") else found


def rules(value: object, *, exchange_types: dict[str, str]) -> list[object]:
    """The rules that `value` spells, in order. `exchange_types` collects the types that routes give for exchanges.

    Raises WrongRoute.
    """
    if value is None:
        return []
    items = value if isinstance(value, list | tuple) else (value,)
    if _is_pair(items) and not isinstance(items[1], str):
        items = (items,)
    return [rule for item in items for rule in _rules_of(item, exchange_types)]


def _rules_of(item: object, exchange_types: dict[str, str]) -> Iterator[object]:
    if isinstance(item, Mapping):
        # Celery looks for a dict's exact name before it tries the dict's patterns; here the first that fits decides.
        for task, route in sorted(item.items(), key=lambda pair: not isinstance(pair[0], str) or "*" in pair[0]):
            yield _rule(task, route, exchange_types)
    elif isinstance(item, list | tuple):
        for task, route in [item] if _is_pair(item) else _pairs(item):
            yield _rule(task, route, exchange_types)
    elif isinstance(item, str):
        if not re.fullmatch(r"[\w.]+[.:]\w+", item):
            raise WrongRoute(f"{item!r} is neither a rule nor the import path of a router")
        yield NamedRouter(item)
    elif hasattr(item, "route_for_task"):
        yield RouterObject(item)
    elif callable(item):
        yield item
    else:
        raise WrongRoute(f"a rule is a dict, a (task, route) pair or a callable, not {kind_of_value(item)}")


def _is_pair(item: list[object] | tuple[object, ...]) -> bool:
    return len(item) == 2 and isinstance(item[0], str | re.Pattern) and isinstance(item[1], str | Mapping)


def _pairs(items: list[object] | tuple[object, ...]) -> Iterator[tuple[object, object]]:
    for item in items:
        if not isinstance(item, list | tuple) or len(item) != 2:
            raise WrongRoute(f"a list of rules holds (task, route) pairs, not {item!r}")
        yield item[0], item[1]


def _rule(task: object, route: object, exchange_types: dict[str, str]) -> dict[str, object]:
    if not isinstance(task, str | re.Pattern):
        raise WrongRoute(f"a rule begins with a task's name or pattern, not {task!r}")
    where = task if isinstance(task, str) else task.pattern
    if isinstance(route, str):
        return {"task": task, "queue": route}
    if not isinstance(route, Mapping):
        raise WrongRoute(f"the route of {where!r} is a dict or a queue's name, not {kind_of_value(route)}")
    rule: dict[str, object] = {"task": task}
    for key, value in route.items():
        if key in KEYS:
            rule[key] = _name_of(value)
        elif key == "exchange_type" and isinstance(route.get("exchange"), str) and isinstance(value, str):
            exchange_types[str(route["exchange"])] = value
        elif key in _OPTIONS:
            raise WrongRoute(f"the route of {where!r} has {key!r}: a route says where a task goes; give it to the task")
        else:
            near = nearest(str(key), KEYS)
            raise WrongRoute(f"the route of {where!r} has an unknown key {key!r}{hint(near)}")
    return rule


def _name_of(value: object) -> object:
    """A kombu Queue or Exchange stands for its name."""
    module = type(value).__module__.partition(".")[0]
    name: object = getattr(value, "name", value) if module == "kombu" else value
    return name
