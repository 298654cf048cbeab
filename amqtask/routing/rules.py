"""The rules of the settings: which one a task's name meets, and what it says about the destination."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from amqtask.errors import SettingsError, nearest

if TYPE_CHECKING:
    from amqtask.settings import RouteSettings

RouteCallable = Callable[..., object]  # (name, args, kwargs, options, task=None, **kw) -> dict | str | None
KEYS = ("queue", "exchange", "exchange_type", "routing_key", "priority")
REGEX_PREFIX = "re:"
_WILDCARDS = frozenset("*?[")
MAX_PRIORITY = 255  # AMQP's priority is one byte


@dataclass(frozen=True, slots=True)
class Target:
    """What one level (call, task, rule, defaults) says about a destination; None where it says nothing."""

    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    priority: int | None = None
    exchange_type: str | None = None  # Celery's callables give it; it must be what is declared

    @property
    def decides(self) -> bool:
        """Whether it names a queue or an exchange, so that lower levels' destination is not looked at."""
        return self.queue is not None or self.exchange is not None

    def over(self, lower: Target) -> Target:
        """This level laid over a lower one."""
        priority = lower.priority if self.priority is None else self.priority
        if self.decides:
            return replace(self, priority=priority)
        key = lower.routing_key if self.routing_key is None else self.routing_key
        return replace(lower, routing_key=key, priority=priority)


@dataclass(frozen=True, slots=True)
class _Static:
    """A rule that looks at the name alone."""

    matches: Callable[[str], object]
    target: Target


class Rules:
    """An ordered list of rules: the first that fits decides. A callable passes by returning None."""

    def __init__(self, routes: Sequence[RouteSettings | RouteCallable]) -> None:
        self._rules: list[_Static | RouteCallable] = []
        for position, route in enumerate(routes):
            if callable(route):
                self._rules.append(route)
            else:
                target = Target(route.queue, route.exchange, route.routing_key, route.priority)
                self._rules.append(_Static(matcher_of(route.task, where=f"routes[{position}].task"), target))

    def match(
        self,
        name: str,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        options: Mapping[str, object],
        task: object,
    ) -> tuple[Target | None, bool]:
        """What the first rule that fits says, and whether no callable had a say in it."""
        static = True
        for rule in self._rules:
            if isinstance(rule, _Static):
                if rule.matches(name):
                    return rule.target, static
                continue
            static = False
            where = f"route callable {getattr(rule, '__name__', rule)!r} for {name!r}"
            answer = rule(name, args, kwargs, dict(options), task=task)
            if isinstance(answer, Mapping):
                _check_keys(answer, where=where)
            target = target_of(answer, where=where)
            if target != Target():
                return target, static
        return None, static

    def targets(self) -> Iterator[Target]:
        """What all static rules say: they can be checked before any task is sent."""
        return (rule.target for rule in self._rules if isinstance(rule, _Static))


def is_exact(task: str) -> bool:
    """Whether a rule's `task` is a plain name: no regular expression, no wildcard."""
    return not task.startswith(REGEX_PREFIX) and not _WILDCARDS & set(task)


def matcher_of(task: str, *, where: str) -> Callable[[str], object]:
    """What tells whether a rule for `task` fits a name: the name itself, a glob, or `re:` and a regular expression.

    A regular expression is matched from the name's beginning, as Celery does. Raises SettingsError.
    """
    if task.startswith(REGEX_PREFIX):
        try:
            return re.compile(task.removeprefix(REGEX_PREFIX)).match
        except re.error as error:
            raise SettingsError(f"{task!r} is not a regular expression: {error}", where=where) from error
    return task.__eq__ if is_exact(task) else re.compile(fnmatch.translate(task)).match


def target_of(answer: object, *, where: str) -> Target:
    """What options, or a callable's answer (a dict, a queue's name or None), say about the destination.

    Options carry much else, which is not looked at. Raises SettingsError for a value of the wrong kind.
    """
    if answer is None:
        return Target()
    if isinstance(answer, str):
        return Target(queue=answer or None)
    if not isinstance(answer, Mapping):
        raise SettingsError(f"must be a dict, the name of a queue, or None, not {type(answer).__name__}", where=where)
    return Target(
        _name(answer.get("queue"), "queue", where),
        _name(answer.get("exchange"), "exchange", where),
        _name(answer.get("routing_key"), "routing_key", where),
        _priority(answer.get("priority"), where),
        _name(answer.get("exchange_type"), "exchange_type", where),
    )


def _check_keys(answer: Mapping[str, object], *, where: str) -> None:
    """Refuse a key in a callable's answer that no route has: to drop it would be silent."""
    for key in answer:
        if key not in KEYS:
            near = nearest(key, KEYS)
            hint = f"; did you mean {near!r}?" if near else f"; a route has {', '.join(KEYS)}"
            raise SettingsError(f"unknown key {key!r}{hint}", where=where)


def _name(value: object, key: str, where: str) -> str | None:
    """A name, given as text or as an object that has one (kombu's Queue and Exchange)."""
    if value is None or isinstance(value, str):
        return value
    name = getattr(value, "name", None)
    if isinstance(name, str):
        return name
    raise SettingsError(f"{key} must be text, not {type(value).__name__}", where=where)


def _priority(value: object, where: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_PRIORITY:
        raise SettingsError(f"priority must be a whole number from 0 to {MAX_PRIORITY}, not {value!r}", where=where)
    return value
