"""What no single value shows: names that do not fit together. Pure; every fault is found, not only the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from amqtask.errors import SettingProblem, nearest
from amqtask.settings.layers import DEFAULT, hint
from amqtask.settings.models import RouteSettings, Settings
from amqtask.settings.schema import Path, dotted

# Every virtual host has these, and nobody can declare more under their prefix (AMQP 0-9-1: "reserved").
PREDECLARED = frozenset(
    {"", "amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match"}
    | {"amq.rabbitmq.trace", "amq.rabbitmq.log", "amq.rabbitmq.event"}
)
DLQ = ".dlq"

OriginOf = Callable[[Path], str]


def check(settings: Settings, origin_of: OriginOf) -> list[SettingProblem]:
    """All that does not fit together in `settings`. `origin_of` tells which source a key came from."""
    found: list[SettingProblem] = []
    for path, text, near in (
        *_reserved_names(settings),
        *_undeclared_queues(settings, is_set=lambda path: origin_of(path) != DEFAULT),
        *_undeclared_exchanges(settings),
        *_consumed_twice(settings),
        *_pointless_routes(settings),
    ):
        found.append(SettingProblem(dotted(path), text, origin_of(path), near))
    return found


_Fault = tuple[Path, str, str | None]


def _reserved_names(settings: Settings) -> Iterator[_Fault]:
    for name in settings.queues:
        if name.startswith("amq."):
            yield ("queues", name), "the broker keeps names that begin with 'amq.' for itself", None
    for name in settings.exchanges:
        if name.startswith("amq.") and name not in PREDECLARED:
            yield ("exchanges", name), "the broker keeps names that begin with 'amq.' for itself", None


def queues_named(settings: Settings) -> Iterator[tuple[Path, str]]:
    """Every place that names a queue, and the name."""
    for index, rule in enumerate(settings.routes):
        if isinstance(rule, RouteSettings) and rule.queue is not None:
            yield ("routes", str(index), "queue"), rule.queue
    for name, pool in settings.pools.items():
        yield from ((("pools", name, "queues"), queue) for queue in pool.queues)
    yield from ((("worker", "queues"), queue) for queue in settings.worker.queues or ())


def _undeclared_queues(settings: Settings, *, is_set: Callable[[Path], bool]) -> Iterator[_Fault]:
    """As soon as one queue is declared, only declared ones exist, and the dead-letter queues that they bring."""
    if not settings.queues:
        return
    declared = {*settings.queues, *(name + DLQ for name, queue in settings.queues.items() if queue.dead_letter)}
    named = list(queues_named(settings))
    if is_set(("tasks", "default_queue")):
        named.append((("tasks", "default_queue"), settings.tasks.default_queue))
    for path, queue in named:
        if queue not in declared:
            near = nearest(queue, declared)
            yield path, f"queue {queue!r} is not declared{hint(near) or _list(settings.queues)}", near


def _list(names: Iterable[str]) -> str:
    return f"; declared: {', '.join(sorted(names))}"


def exchanges_named(settings: Settings) -> Iterator[tuple[Path, str]]:
    """Every place that names an exchange to bind to or to publish to, and the name."""
    for name, queue in settings.queues.items():
        if queue.exchange:
            yield ("queues", name, "exchange"), queue.exchange
        yield from ((("queues", name, "bindings"), binding.exchange) for binding in queue.bindings)
    for name, exchange in settings.exchanges.items():
        yield from ((("exchanges", name, "bindings"), binding.source) for binding in exchange.bindings)
    for index, rule in enumerate(settings.routes):
        if isinstance(rule, RouteSettings) and rule.exchange:
            yield ("routes", str(index), "exchange"), rule.exchange
    if settings.tasks.default_exchange:
        yield ("tasks", "default_exchange"), settings.tasks.default_exchange


def _undeclared_exchanges(settings: Settings) -> Iterator[_Fault]:
    known = {*settings.exchanges, *PREDECLARED}
    for path, exchange in exchanges_named(settings):
        if exchange not in known:
            near = nearest(exchange, known)
            yield path, f"exchange {exchange!r} is not declared{hint(near) or '; declare it under [exchanges]'}", near


def _consumed_twice(settings: Settings) -> Iterator[_Fault]:
    """Two pools of one node on one queue would race for it, and neither concurrency would be what it says."""
    by: dict[str, str] = {}
    for name, pool in settings.pools.items():
        for queue in dict.fromkeys(pool.queues):
            first = by.setdefault(queue, name)
            if first != name:
                yield ("pools", name, "queues"), f"queue {queue!r} is served by pool {first!r} already", None
        if len(set(pool.queues)) != len(pool.queues):
            yield ("pools", name, "queues"), "names a queue twice", None
        if not pool.queues:
            yield ("pools", name, "queues"), "names no queue", None
    if settings.worker.queues is not None and len(set(settings.worker.queues)) != len(settings.worker.queues):
        yield ("worker", "queues"), "names a queue twice", None


def _pointless_routes(settings: Settings) -> Iterator[_Fault]:
    for index, rule in enumerate(settings.routes):
        if isinstance(rule, RouteSettings) and rule.queue is None and rule.exchange is None:
            if rule.routing_key is None and rule.priority is None:
                yield ("routes", str(index)), f"the rule for {rule.task!r} says nothing: no queue, no exchange", None
            elif rule.routing_key is not None and not settings.tasks.default_exchange:
                text = f"the rule for {rule.task!r} has a routing_key, but no queue, exchange or tasks.default_exchange"
                yield ("routes", str(index)), text, None
