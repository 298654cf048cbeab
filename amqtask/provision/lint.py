"""Looks at a configuration's topology, routes and pools without a broker, and says what will not work or surprise.

`error`: it cannot work. `warning`: it works and is hardly meant. `note`: worth knowing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

from amqtask.errors import AmqtaskError, TopologyError
from amqtask.routing.router import Router
from amqtask.routing.rules import is_exact, matcher_of
from amqtask.settings import RouteSettings
from amqtask.topology.capabilities import TRANSIENT_DEPRECATED
from amqtask.topology.model import Topology, policy_name
from amqtask.topology.reach import patterns_overlap, queues_reached, topic_matches
from amqtask.topology.values import Binding
from amqtask.topology.versions import Version, parse_version, show_version

if TYPE_CHECKING:
    from amqtask.settings import Settings

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a person should look at: how bad, where in the configuration, and what about it."""

    level: Level
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.level}: {self.where}: {self.text}"


def lint(settings: Settings, *, extra_queues: Iterable[str] = (), version: Version | None = None) -> list[Finding]:
    """Everything there is to say, errors first. `version` stands in for `broker.version`."""
    if version is None and settings.broker.version:
        version = parse_version(settings.broker.version)
    topology = Topology.from_settings(settings, check=False)
    found: list[Finding] = []
    if version is None:
        text = "not set: features that depend on the RabbitMQ version were not checked"
        found.append(Finding("note", "broker.version", text))
    found += (Finding("error", "topology", str(fault)) for fault in topology.faults(version))
    found += _names(settings, topology, extra_queues)
    found += _exchanges(topology)
    found += _queues(settings, topology, version)
    found += _bindings(topology)
    found += _overlaps(topology)
    found += _routes(settings, topology)
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(found, key=lambda finding: order[finding.level])


def _names(settings: Settings, topology: Topology, extra_queues: Iterable[str]) -> Iterator[Finding]:
    """Queues that are named and do not exist."""
    if not topology.declared:
        return
    named = [(f"pools.{name}.queues", queue) for name, pool in settings.pools.items() for queue in pool.queues]
    named += [("worker.queues", queue) for queue in settings.worker.queues or ()]
    named += [("a task", queue) for queue in extra_queues]
    for where, queue in named:
        try:
            topology.require(queue)
        except TopologyError as error:
            yield Finding("error", where, str(error))
    if settings.tasks.default_queue not in topology.queues:
        text = f"{settings.tasks.default_queue!r} is not declared: a task that no rule routes cannot be sent"
        yield Finding("warning", "tasks.default_queue", text)


def _exchanges(topology: Topology) -> Iterator[Finding]:
    for name, exchange in topology.exchanges.items():
        where = f"exchanges.{name}"
        if exchange.predeclared:
            continue
        if not any(binding.source == name for binding in topology.bindings):
            if exchange.alternate is None:
                yield Finding("warning", where, "nothing is bound to it: whatever is published to it comes back")
            else:
                yield Finding("note", where, f"nothing is bound to it: all goes to {exchange.alternate!r}")
        if not exchange.durable:
            yield Finding("warning", where, "not durable: it and its bindings are gone when the broker restarts")


def _queues(settings: Settings, topology: Topology, version: Version | None) -> Iterator[Finding]:
    served = {queue for pool in settings.pools.values() for queue in pool.queues} | set(settings.worker.queues or ())
    dead_letter_queues = set(topology.dead_letters.values())
    for name, queue in topology.queues.items():
        where = f"queues.{name}"
        if name in dead_letter_queues:
            continue
        if served and name not in served:
            yield Finding("note", where, "no pool of this configuration consumes it")
        if topology.dead_letter_queue(name) is None and queue.type != "stream" and not queue.exclusive:
            yield Finding("warning", where, "no dead-letter queue: tasks that are given up are lost")
        if queue.type == "quorum" and "x-delivery-limit" not in queue.arguments:
            policy = topology.policies.get(policy_name(name))
            if policy is None or "delivery-limit" not in policy.definition:
                text = "no delivery_limit: none below RabbitMQ 4.0, then 20; give one above worker.max_crashes"
                yield Finding("note", where, text)
        if not queue.durable and not queue.exclusive and (version or TRANSIENT_DEPRECATED) >= TRANSIENT_DEPRECATED:
            text = f"neither durable nor exclusive: deprecated since RabbitMQ {show_version(TRANSIENT_DEPRECATED)}"
            yield Finding("warning", where, text)


def _bindings(topology: Topology) -> Iterator[Finding]:
    for binding in topology.bindings:
        source = topology.exchanges.get(binding.source)
        kind = source.type if source else "topic" if binding.source == "amq.topic" else None
        where = f"{binding.destination_type}s.{binding.destination}"
        wild = "*" in binding.routing_key.split(".") or "#" in binding.routing_key.split(".")
        if kind == "direct" and wild:
            text = (
                f"exchange {binding.source!r} is direct: it takes {binding.routing_key!r} literally, not as a pattern"
            )
            yield Finding("warning", where, text)
        if kind == "headers" and not set(binding.arguments) - {"x-match"}:
            text = f"the binding to headers exchange {binding.source!r} names no header: it takes all messages or none"
            yield Finding("warning", where, text)
        if kind in ("direct", "topic", "fanout") and binding.arguments:
            text = f"exchange {binding.source!r} is {kind}: it does not look at the binding's arguments"
            yield Finding("warning", where, text)
        if kind == "fanout" and binding.routing_key:
            yield Finding("note", where, f"exchange {binding.source!r} is fanout: it does not look at the routing key")


def _overlaps(topology: Topology) -> Iterator[Finding]:
    """Topic bindings that take the same key. To one queue that is idle, to two it runs a task twice."""
    for name, exchange in topology.exchanges.items():
        if exchange.type != "topic":
            continue
        into = [b for b in topology.bindings if b.source == name and b.destination_type == "queue"]
        for one, other in combinations(into, 2):
            if not patterns_overlap(one.routing_key, other.routing_key):
                continue
            where = f"exchanges.{name}"
            if one.destination == other.destination:
                if (covered := _covered(one, other)) is not None:
                    text = (
                        f"binding {covered.routing_key!r} of queue {one.destination!r} adds nothing: another covers it"
                    )
                    yield Finding("note", where, text)
            else:
                text = (
                    f"{one.routing_key!r} of queue {one.destination!r} and {other.routing_key!r} of queue "
                    f"{other.destination!r} overlap: a key that both take runs its task in both. To catch what no "
                    f"other queue takes, use an alternate_exchange"
                )
                yield Finding("warning", where, text)


def _covered(one: Binding, other: Binding) -> Binding | None:
    """The binding that takes only keys which the other takes too, where that is plain to see."""
    for wide, narrow in ((one, other), (other, one)):
        if wide.routing_key == "#" or topic_matches(wide.routing_key, narrow.routing_key):
            return narrow
    return None


def _routes(settings: Settings, topology: Topology) -> Iterator[Finding]:
    earlier: list[tuple[int, RouteSettings]] = []
    for position, rule in enumerate(settings.routes):
        where = f"routes[{position}]"
        if not isinstance(rule, RouteSettings):
            continue  # which tasks a callable takes is not known
        if (first := _shadowed(rule, earlier)) is not None:
            yield Finding("warning", where, f"never decides: routes[{first}] fits every task that {rule.task!r} fits")
        earlier.append((position, rule))
        yield from _route(settings, topology, rule, where)


def _route(settings: Settings, topology: Topology, rule: RouteSettings, where: str) -> Iterator[Finding]:
    try:
        alone = settings.model_copy(update={"routes": (rule.model_copy(update={"task": "it"}),)})
        route = Router(alone, topology).route("it")
        reached = queues_reached(topology, route.exchange, route.routing_key)
    except AmqtaskError as error:
        yield Finding("error", where, str(error))
        return
    queue = topology.queues.get(route.queue or "")
    if rule.priority and queue is not None and queue.type == "classic" and "x-max-priority" not in queue.arguments:
        yield Finding("warning", where, f"queue {queue.name!r} has no max_priority: the rule's priority does nothing")
    if reached is None or route.exchange == "":
        return
    if not reached:
        text = f"routing key {route.routing_key!r} reaches no queue through exchange {route.exchange!r}"
        yield Finding("error", where, text)
    elif len(reached) > 1:
        text = f"routing key {route.routing_key!r} reaches {', '.join(sorted(reached))}: the task runs in each of them"
        yield Finding("warning", where, text)


def _shadowed(rule: RouteSettings, earlier: Sequence[tuple[int, RouteSettings]]) -> int | None:
    """The position of an earlier rule that takes everything this one could."""
    for position, before in earlier:
        if before.task in ("*", rule.task):
            return position
        if is_exact(rule.task) and not is_exact(before.task) and matcher_of(before.task, where="routes")(rule.task):
            return position
    return None
