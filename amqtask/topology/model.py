"""Topology: every exchange, queue, binding and policy that an app declares, made from its settings; pure and immutable.

`declared` says which of two worlds holds. Nobody declared a queue: those that routes, task options, pools and `-Q` name
exist, each with its dead-letter queue. Somebody declared one: only declared names exist.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from amqtask.errors import AmqtaskError, QueueNotDeclared, SettingsError, TopologyError, nearest
from amqtask.topology.arguments import exchange_arguments, queue_arguments
from amqtask.topology.check import binding_faults, exchange_faults, first_fault, policy_faults, queue_faults
from amqtask.topology.names import check_name
from amqtask.topology.values import (
    PREDECLARED_EXCHANGES,
    Arguments,
    Binding,
    DestinationType,
    Exchange,
    Policy,
    Queue,
)
from amqtask.topology.versions import Version, parse_version

if TYPE_CHECKING:
    from amqtask.settings import QueueSettings, Settings

__all__ = [
    "Arguments",
    "Binding",
    "DestinationType",
    "Exchange",
    "Policy",
    "Queue",
    "Topology",
    "dead_letter_queue_name",
]

POLICY_PRIORITY = 1  # above a site's catch-all policy, which usually has 0; `queues.NAME.priority` says otherwise
_KEYED = ("direct", "topic")  # exchange types for which a queue's own name is a sensible routing key


def dead_letter_queue_name(queue: str) -> str:
    """The name of `queue`'s dead-letter queue. Its form is a promise: users and other programs write it down."""
    return f"{queue}.dlq"


def policy_name(queue: str) -> str:
    """The name of the policy that `topology apply` sets for `queue`."""
    return f"amqtask.{queue}"


@dataclass(frozen=True, slots=True)
class Topology:
    """What exists as far as this app is concerned. `dead_letters` maps a queue to its dead-letter queue."""

    exchanges: Mapping[str, Exchange] = field(default_factory=dict)
    queues: Mapping[str, Queue] = field(default_factory=dict)
    bindings: tuple[Binding, ...] = ()
    policies: Mapping[str, Policy] = field(default_factory=dict)
    dead_letters: Mapping[str, str] = field(default_factory=dict)
    declared: bool = False

    @classmethod
    def from_settings(cls, settings: Settings, *, extra_queues: Iterable[str] = (), check: bool = True) -> Topology:
        """The topology that `settings` declare.

        `extra_queues` are names from elsewhere: task options and `-Q`. Raises QueueNotDeclared when queues are
        declared and one of those names, a route's or a pool's is not among them; TopologyError for an exchange that
        is named and not declared; SettingsError for a bad name or value; TopologyUnsupported for what `broker.version`
        cannot do (no version can do, where none is given). `check=False` leaves out all but bad names: for `faults`.
        """
        exchanges = {name: _exchange(name, settings) for name in settings.exchanges}
        declared = bool(settings.queues)
        queues = {
            check_name(name, where="queues"): Queue(
                name,
                durable=queue.durable,
                exclusive=queue.exclusive,
                auto_delete=queue.auto_delete,
                arguments=queue_arguments(name, queue),
            )
            for name, queue in settings.queues.items()
        }
        topology = cls(
            exchanges=exchanges,
            queues=queues,
            bindings=tuple(_bindings(settings, exchanges)),
            declared=declared,
        )
        topology = _with_dead_letters(topology, settings.queues)
        if check:
            first_fault(topology.faults(parse_version(settings.broker.version) if settings.broker.version else None))
        named = dict.fromkeys([*_named_queues(settings), *extra_queues])
        if declared:
            for name in named if check else ():
                topology.require(name)
            return topology
        return _with_default_binding(topology.with_queues([settings.tasks.default_queue, *named]), settings)

    def with_queues(self, names: Iterable[str]) -> Topology:
        """This topology and the queues of `names`: classic, durable, no arguments, each with its dead-letter queue.

        Raises QueueNotDeclared when queues are declared and a name is not among them.
        """
        missing = [name for name in dict.fromkeys(names) if name not in self.queues]
        if not missing:
            return self
        if self.declared:
            raise QueueNotDeclared(missing[0], self.queues)
        queues = dict(self.queues) | {check_name(name): Queue(name) for name in missing}
        return _with_dead_letters(replace(self, queues=queues), {})

    def require(self, name: str) -> Queue:
        """The queue of that name.

        Raises QueueNotDeclared, naming the nearest, when queues are declared and it is not among them. Where nobody
        declared any, every good name is a queue.
        """
        queue = self.queues.get(name)
        if queue is not None:
            return queue
        if self.declared:
            raise QueueNotDeclared(name, self.queues)
        return Queue(check_name(name))

    def require_exchange(self, name: str, *, where: str | None = None) -> Exchange:
        """The exchange of that name, the broker's own among them. Raises TopologyError, naming the nearest."""
        exchange = self.exchanges.get(name)
        if exchange is not None:
            return exchange
        kind = PREDECLARED_EXCHANGES.get(name)
        if kind is None:
            near = nearest(name, [*self.exchanges, *PREDECLARED_EXCHANGES])
            hint = f"; did you mean {near!r}?" if near else "; declare it under [exchanges]"
            raise TopologyError(
                f"{where}: exchange {name!r} is not declared{hint}"
                if where
                else f"exchange {name!r} is not declared{hint}"
            )
        return Exchange(name, kind)

    def faults(self, version: Version | None = None) -> Iterator[AmqtaskError]:
        """Everything that a broker of `version` refuses or silently ignores, and every exchange named but not declared.

        Each is an error ready to raise: SettingsError, TopologyError or TopologyUnsupported.
        """
        for exchange in self.exchanges.values():
            yield from exchange_faults(exchange, version)
        for queue in self.queues.values():
            yield from queue_faults(queue, version)
            policy = self.policies.get(policy_name(queue.name))
            if policy is not None:
                yield from policy_faults(policy, queue, version)
        for binding in self.bindings:
            yield from binding_faults(binding)
        for where, name in self._named_exchanges():
            try:
                self.require_exchange(name, where=where)
            except TopologyError as error:
                yield error

    def _named_exchanges(self) -> Iterator[tuple[str, str]]:
        """Every exchange that something refers to, and what does."""
        for binding in self.bindings:
            yield f"{binding.destination_type}s.{binding.destination}", binding.source
        for exchange in self.exchanges.values():
            if exchange.alternate is not None:
                yield f"exchanges.{exchange.name}.alternate_exchange", exchange.alternate
        for queue in self.queues.values():
            if queue.dead_letter_exchange is not None:
                yield f"queues.{queue.name}.dead_letter_exchange", queue.dead_letter_exchange
        for policy in self.policies.values():
            target = policy.definition.get("dead-letter-exchange")
            if isinstance(target, str):
                yield f"policy {policy.name}", target

    def dead_letter_queue(self, queue: str) -> str | None:
        """Where tasks of `queue` that are given up go; None for a stream, an exclusive queue, or when switched off."""
        return self.dead_letters.get(queue)

    def bindings_into(self, queue: str) -> tuple[Binding, ...]:
        """The bindings that end in `queue`, the one of its own `exchange` setting first."""
        return tuple(b for b in self.bindings if b.destination == queue and b.destination_type == "queue")


def _with_dead_letters(topology: Topology, settings: Mapping[str, QueueSettings]) -> Topology:
    """Add the dead-letter queue of each queue that has none yet, and the policy of each queue that needs one."""
    queues, dead_letters, policies = dict(topology.queues), dict(topology.dead_letters), dict(topology.policies)
    # A declared `orders.dlq` is the dead-letter queue of `orders`, with the arguments that its user gave it, and
    # is not given one of its own.
    taken = {dead_letter_queue_name(name) for name in queues}
    for name, queue in topology.queues.items():
        given = settings.get(name)
        wanted = given is None or given.dead_letter
        if wanted and name not in taken and not queue.exclusive and queue.type != "stream":
            dlq = check_name(dead_letter_queue_name(name), where=f"queues.{name}")
            queues.setdefault(dlq, Queue(dlq))
            dead_letters[name] = dlq
        policy = _policy(queue, dead_letters.get(name), given)
        if policy is not None:
            policies.setdefault(policy.name, policy)
    return replace(topology, queues=queues, dead_letters=dead_letters, policies=policies)


def _with_default_binding(topology: Topology, settings: Settings) -> Topology:
    """Bind the default queue to `tasks.default_exchange`, where one is named and nobody declared a queue."""
    tasks = settings.tasks
    if not tasks.default_exchange:
        return topology
    topology.require_exchange(tasks.default_exchange, where="tasks.default_exchange")
    key = tasks.default_queue if tasks.default_routing_key is None else tasks.default_routing_key
    binding = Binding(tasks.default_exchange, tasks.default_queue, "queue", key)
    return replace(topology, bindings=(*topology.bindings, binding))


def _exchange(name: str, settings: Settings) -> Exchange:
    declared = settings.exchanges[name]
    if name not in PREDECLARED_EXCHANGES:
        check_name(name, kind="exchange", where="exchanges")
    elif declared.type != PREDECLARED_EXCHANGES[name]:
        raise SettingsError(
            f"is the broker's own, of type {PREDECLARED_EXCHANGES[name]!r}; only bindings may be given for it",
            where=f"exchanges.{name}",
        )
    return Exchange(
        name,
        declared.type,
        durable=declared.durable,
        auto_delete=declared.auto_delete,
        internal=declared.internal,
        arguments=exchange_arguments(name, declared),
    )


def _bindings(settings: Settings, exchanges: Mapping[str, Exchange]) -> Iterator[Binding]:
    for name, exchange in settings.exchanges.items():
        for bound in exchange.bindings:
            yield Binding(bound.source, name, "exchange", bound.routing_key, dict(bound.arguments))
    for name, queue in settings.queues.items():
        seen: list[Binding] = []
        if queue.exchange:
            key = queue.routing_key
            if key is None:
                source = exchanges.get(queue.exchange)
                kind = source.type if source else PREDECLARED_EXCHANGES.get(queue.exchange, "direct")
                key = name if kind in _KEYED else ""
            seen.append(Binding(queue.exchange, name, "queue", key))
        for to in queue.bindings:
            binding = Binding(to.exchange, name, "queue", to.routing_key, dict(to.arguments))
            if binding not in seen:
                seen.append(binding)
        # Every queue is bound to the default exchange by its name, always: declaring that is refused (403).
        yield from (binding for binding in seen if binding.source)


def _named_queues(settings: Settings) -> Iterator[str]:
    """The queues that rules and pools name."""
    for route in settings.routes:
        queue = getattr(route, "queue", None)
        if queue:
            yield queue
    for pool in settings.pools.values():
        yield from pool.queues
    yield from settings.worker.queues or ()


def _policy(queue: Queue, dlq: str | None, settings: QueueSettings | None) -> Policy | None:
    """The policy of `queue`: what its settings say, and the way to its dead-letter queue for deaths in the broker.

    A message that expires, overflows or exceeds the delivery limit never meets a worker of ours. Only a policy can
    send it on without putting an argument on the queue, and only one policy applies to a queue: hence one for both.
    """
    given: Arguments = settings.policy if settings else {}
    definition: dict[str, object] = {}
    if dlq is not None and queue.dead_letter_exchange is None and "dead-letter-exchange" not in given:
        definition = {"dead-letter-exchange": "", "dead-letter-routing-key": dlq}
    definition |= given
    if not definition:
        return None
    priority = settings.priority if settings and settings.priority is not None else POLICY_PRIORITY
    return Policy(policy_name(queue.name), f"^{re.escape(queue.name)}$", definition, priority=priority)
