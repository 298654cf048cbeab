"""Router: a task's name, call and options into the exchange and routing key its message is published with.

Pure and thread-safe: it reads settings and topology, keeps a cache of its own answers and talks to nobody. Whatever it
refuses, it refuses before a byte is sent.

Who decides the destination: the call's own options, else the task's, else the first rule that matches, else the
defaults. The first of them that names a queue or an exchange decides both; a routing key or priority from above it
stays, what stands below it is not looked at. So a call's `queue=` is never bent by a rule's exchange.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from amqtask.errors import TopologyError
from amqtask.routing.rules import Rules, Target, target_of
from amqtask.topology.model import Topology
from amqtask.topology.reach import queues_reached

if TYPE_CHECKING:
    from amqtask.settings import Settings

_NOTHING: Mapping[str, object] = MappingProxyType({})
_MAX_CACHED = 4096  # a program may put a key of its own into every call: the cache must not grow with them


@dataclass(frozen=True, slots=True)
class Route:
    """Where one message goes. `queue` is the declared queue it is meant for, None when only bindings know.

    `priority` is None when nobody gave one.
    """

    exchange: str
    routing_key: str
    queue: str | None = None
    priority: int | None = None


class Router:
    """Routes tasks by the rules of the settings, against the names of the topology.

    Raises QueueNotDeclared or TopologyError at once when a rule names a queue or exchange that does not exist.
    """

    def __init__(self, settings: Settings, topology: Topology) -> None:
        tasks = settings.tasks
        self._topology = topology
        self._rules = Rules(settings.routes)
        key = tasks.default_queue if tasks.default_routing_key is None else tasks.default_routing_key
        self._default = (
            Target(tasks.default_queue, tasks.default_exchange, key)
            if tasks.default_exchange
            else Target(tasks.default_queue, None, tasks.default_routing_key)
        )
        self._default_priority = tasks.priority
        self._cache: dict[tuple[object, ...], Route] = {}
        for target in self._rules.targets():
            self._resolve(target)

    def route(
        self,
        task_name: str,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        options: Mapping[str, object] = _NOTHING,
        *,
        task_options: Mapping[str, object] = _NOTHING,
        task: object = None,
    ) -> Route:
        """The route of one call.

        `options` are the call's own, `task_options` those of the task's declaration; of both only `queue`, `exchange`,
        `routing_key` and `priority` are read. `task` is handed to callables in the rules, as Celery does. Raises
        QueueNotDeclared and TopologyError for names that do not exist, SettingsError for values that cannot be.
        """
        get = options.get
        key: tuple[object, ...] = (task_name, get("queue"), get("exchange"), get("routing_key"), get("priority"))
        if task_options:
            get = task_options.get
            key = (*key, get("queue"), get("exchange"), get("routing_key"), get("priority"))
        try:
            known = self._cache.get(key)
        except TypeError:  # kombu's Queue and Exchange objects have no hash
            return self._route(task_name, args, kwargs or {}, options, task_options, task)[0]
        if known is not None:
            return known
        route, static = self._route(task_name, args, kwargs or {}, options, task_options, task)
        if static:
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            self._cache[key] = route
        return route

    def _route(
        self,
        task_name: str,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        options: Mapping[str, object],
        task_options: Mapping[str, object],
        task: object,
    ) -> tuple[Route, bool]:
        """The route, and whether the same name and options always get the same one."""
        matched, static = self._rules.match(task_name, args, kwargs, options, task)
        target = target_of(options, where=f"options of {task_name!r}")
        target = target.over(target_of(task_options, where=f"task {task_name!r}"))
        if matched is not None:
            target = target.over(matched)
        return self._resolve(target), static

    def _resolve(self, target: Target) -> Route:
        """The exchange and routing key of `target`, every name in it checked."""
        if not target.decides:
            target = self._by_default(target)
        queue, exchange, key = target.queue, target.exchange, target.routing_key
        if queue is not None:
            self._topology.require(queue)
        if exchange:
            key = self._key_for(exchange, key, queue)
            declared = self._topology.require_exchange(exchange).type
            if target.exchange_type not in (None, declared):
                raise TopologyError(f"exchange {exchange!r} is declared as {declared}, not as {target.exchange_type}")
        elif exchange is None and queue is not None:
            exchange, key = self._of_queue(queue, key)
        else:
            exchange, key, queue = self._by_name(key, queue)
        return Route(exchange, key, queue, self._default_priority if target.priority is None else target.priority)

    def _by_default(self, target: Target) -> Target:
        """The destination when nobody named a queue or an exchange: the default queue, or a key at its exchange."""
        key, default = target.routing_key, self._default
        if key is None:
            return Target(default.queue, default.exchange, default.routing_key, target.priority)
        bindings = self._topology.bindings_into(default.queue or "")
        return Target(None, default.exchange or (bindings[0].source if bindings else ""), key, target.priority)

    def _key_for(self, exchange: str, key: str | None, queue: str | None) -> str:
        declared = self._topology.require_exchange(exchange)
        if declared.internal:
            raise TopologyError(f"exchange {exchange!r} is internal: only other exchanges may publish to it")
        if key is not None:
            return key
        if queue is not None:
            for binding in self._topology.bindings_into(queue):
                if binding.source == exchange and "*" not in binding.routing_key and "#" not in binding.routing_key:
                    return binding.routing_key
        if declared.type in ("direct", "topic"):
            raise TopologyError(f"exchange {exchange!r} ({declared.type}) needs a routing_key")
        return ""

    def _of_queue(self, queue: str, key: str | None) -> tuple[str, str]:
        """A queue alone is reached directly; with a routing key through its own exchange, where it has one."""
        bindings = self._topology.bindings_into(queue) if key is not None else ()
        if key is None or not bindings:
            return "", queue
        exchange = bindings[0].source
        reached = queues_reached(self._topology, exchange, key)
        if reached is None or queue in reached:
            return exchange, key
        if key == queue:  # a habit from Celery, where a queue's key is its name: the default exchange takes it there
            return "", queue
        raise TopologyError(
            f"routing key {key!r} does not reach queue {queue!r} through its exchange {exchange!r}, "
            f"which takes {', '.join(repr(binding.routing_key) for binding in bindings)} there"
        )

    def _by_name(self, key: str | None, queue: str | None) -> tuple[str, str, str]:
        """AMQP's default exchange: the routing key is the queue's name."""
        name = queue if key is None else key
        if name is None:
            raise TopologyError("the default exchange needs a routing_key: the name of a queue")
        if queue is not None and name != queue:
            raise TopologyError(f"the default exchange takes routing key {name!r} to that queue, not to {queue!r}")
        self._topology.require(name)
        return "", name, name
