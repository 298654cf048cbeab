"""What stands between a topology and a live virtual host, as data: people read it and `apply` carries it out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from amqtask.errors import AmqtaskError
from amqtask.provision.live import Live
from amqtask.topology.conflict import Differences, differences, field_label
from amqtask.topology.declare import Bind, DeclareExchange, DeclareQueue, operations
from amqtask.topology.model import Topology
from amqtask.topology.values import Binding, Exchange, Policy, Queue
from amqtask.topology.versions import parse_version

# create: missing on the broker. update: a policy that says something else; setting it again replaces it.
# conflict: declared otherwise; only deleting and making it again brings it over. extra: live and not declared.
Action = Literal["create", "update", "conflict", "extra", "unchanged"]
Kind = Literal["exchange", "queue", "binding", "policy"]
OURS = "amqtask."  # the prefix of policies that `apply` sets, and therefore may take away


@dataclass(frozen=True, slots=True)
class Change:
    """One object, and what would have to be done about it. `note` says what a person should know before."""

    action: Action
    kind: Kind
    name: str
    declared: Exchange | Queue | Binding | Policy | None = None
    live: Exchange | Queue | Binding | Policy | None = None
    differences: Differences = field(default_factory=dict, hash=False)
    note: str | None = None

    @property
    def drift(self) -> bool:
        """Whether the broker is not what is declared.

        Queues and exchanges that somebody else declared are not drift; a binding into or between declared ones is.
        """
        return self.action in ("create", "update", "conflict") or (
            self.action == "extra" and self.kind in ("binding", "policy")
        )

    def lines(self) -> Iterator[str]:
        """What differs, a line each."""
        for name, (declared, live) in self.differences.items():
            yield f"{field_label(name)}: declared {_show(declared)}, live {_show(live)}"
        if self.note:
            yield self.note


@dataclass(frozen=True, slots=True)
class Plan:
    """Every object of both sides. `faults` are what a broker of this version refuses or silently ignores."""

    vhost: str
    version: str
    changes: tuple[Change, ...]
    faults: tuple[AmqtaskError, ...]
    topology: Topology = field(hash=False)
    live: Live = field(hash=False)

    @property
    def drift(self) -> bool:
        """Whether anything declared is not so on the broker."""
        return any(change.drift for change in self.changes)

    def of(self, *actions: Action) -> tuple[Change, ...]:
        """The changes with one of these actions."""
        return tuple(change for change in self.changes if change.action in actions)


def plan(topology: Topology, live: Live) -> Plan:
    """Compare; nothing is sent."""
    changes = [*_declared(topology, live), *_policies(topology, live), *_extras(topology, live)]
    faults = tuple(topology.faults(parse_version(live.version)))
    return Plan(live.vhost, live.version, tuple(changes), faults, topology, live)


def _declared(topology: Topology, live: Live) -> Iterator[Change]:
    for operation in operations(topology):
        match operation:
            case DeclareExchange(exchange):
                yield _compared("exchange", exchange, live.exchanges.get(exchange.name), live)
            case DeclareQueue(queue):
                if queue.exclusive:
                    note = "exclusive: declared by the connection that owns it"
                    yield Change("unchanged", "queue", queue.name, queue, live.queues.get(queue.name), note=note)
                else:
                    yield _compared("queue", queue, live.queues.get(queue.name), live)
            case Bind(binding):
                there = binding in live.bindings
                action: Action = "unchanged" if there else "create"
                yield Change(action, "binding", str(binding), binding, binding if there else None)


def _compared(kind: Kind, declared: Exchange | Queue, there: Exchange | Queue | None, live: Live) -> Change:
    if there is None:
        return Change("create", kind, declared.name, declared)
    found = differences(declared, there, default_queue_type=live.default_queue_type)
    if not found:
        return Change("unchanged", kind, declared.name, declared, there)
    counts = live.counts.get(declared.name)
    note = None
    if kind == "queue" and counts is not None:
        note = f"it holds {counts.messages} messages and has {counts.consumers} consumers"
    return Change("conflict", kind, declared.name, declared, there, found, note)


def _policies(topology: Topology, live: Live) -> Iterator[Change]:
    for name, policy in topology.policies.items():
        there = live.policies.get(name)
        queue = name.removeprefix(OURS)
        applied = live.policy_of.get(queue)
        note = None
        if there is not None and applied is not None and applied != name:
            note = f"policy {applied!r} is applied to queue {queue!r} instead: it has a higher priority"
        if there is None:
            others = f"it takes the place of policy {applied!r} on queue {queue!r}" if applied else None
            yield Change("create", "policy", name, policy, note=others)
            continue
        found = _policy_differences(policy, there)
        yield Change("update" if found else "unchanged", "policy", name, policy, there, found, note)


def _policy_differences(declared: Policy, live: Policy) -> Differences:
    found: Differences = {
        key: (getattr(declared, key), getattr(live, key))
        for key in ("pattern", "apply_to", "priority")
        if getattr(declared, key) != getattr(live, key)
    }
    for key in dict.fromkeys([*declared.definition, *live.definition]):
        here, there = declared.definition.get(key), live.definition.get(key)
        if here != there:
            found[key] = (here, there)
    return found


def _extras(topology: Topology, live: Live) -> Iterator[Change]:
    """What is live and not declared, save names that the broker makes up and queues of one connection."""
    for binding in live.bindings:
        if binding not in topology.bindings and _concerns(topology, binding):
            yield Change("extra", "binding", str(binding), live=binding)
    for name, queue in live.queues.items():
        if name not in topology.queues and not queue.exclusive and not name.startswith("amq."):
            counts = live.counts.get(name)
            note = f"it holds {counts.messages} messages and has {counts.consumers} consumers" if counts else None
            yield Change("extra", "queue", name, live=queue, note=note)
    for name, exchange in live.exchanges.items():
        if name not in topology.exchanges:
            yield Change("extra", "exchange", name, live=exchange)
    for name, policy in live.policies.items():
        if name.startswith(OURS) and name not in topology.policies:
            yield Change("extra", "policy", name, live=policy)


def _concerns(topology: Topology, binding: Binding) -> bool:
    """Whether a live binding ends in something declared, so that it brings messages there that nobody declared."""
    declared: Mapping[str, object] = topology.queues if binding.destination_type == "queue" else topology.exchanges
    return binding.destination in declared


def _show(value: object) -> str:
    return "nothing" if value is None else repr(value)
