"""Carries a plan out by the management API: makes what is missing, destroys only what it was told it may."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from amqtask.errors import AmqtaskError, BrokerError, TopologyConflict
from amqtask.provision.management import Management
from amqtask.provision.plan import Change, Kind, Plan
from amqtask.topology.conflict import refusal
from amqtask.topology.values import Binding, Exchange, Policy, Queue


@dataclass(frozen=True, slots=True)
class Allowed:
    """What `apply` may destroy. Nothing by default.

    `recreate`: exchanges and queues that differ are deleted and made again. `unbind`: live bindings into declared
    queues and exchanges that no configuration has. `delete`: what is live and not declared, bindings included.
    `discard_messages`: also where that loses messages or takes a queue from under a consumer.
    """

    recreate: bool = False
    unbind: bool = False
    delete: bool = False
    discard_messages: bool = False

    @property
    def destructive(self) -> bool:
        """Whether anything may go."""
        return self.recreate or self.unbind or self.delete

    def takes(self, change: Change) -> bool:
        """Whether `change` destroys something and may."""
        if change.action == "conflict":
            return self.recreate
        return change.action == "extra" and (self.delete or (self.unbind and change.kind == "binding"))


@dataclass(slots=True)
class Applied:
    """What came of it: changes carried out, in order, those that failed with their error, those that were left."""

    done: list[Change] = field(default_factory=list)
    failed: list[tuple[Change, AmqtaskError]] = field(default_factory=list)
    left: list[Change] = field(default_factory=list)


_NOTHING = Allowed()


def apply(
    plan: Plan, client: Management, *, allowed: Allowed = _NOTHING, on_done: Callable[[Change], None] | None = None
) -> Applied:
    """Carry `plan` out; what is not `allowed` is left and listed.

    One object's failure does not keep the others from being made: a mismatch of one queue is no reason for another
    not to exist. Raises the first of the plan's faults, before anything is sent, when this broker cannot have what is
    declared; ConnectionLost when the API stops answering: nothing more can be done then.
    """
    if plan.faults:
        raise plan.faults[0]
    run = _Run(plan, client, allowed)
    applied = Applied()
    for change in _in_order(plan.changes):
        if change.action == "unchanged":
            continue
        if change.action in ("conflict", "extra") and not allowed.takes(change):
            applied.left.append(change)
            continue
        try:
            run.carry_out(change)
        except BrokerError as error:
            if error.code is None:
                raise
            applied.failed.append((change, error))
        except AmqtaskError as error:
            applied.failed.append((change, error))
        else:
            applied.done.append(change)
            if on_done is not None:
                on_done(change)
    return applied


_MAKING: dict[Kind, int] = {"exchange": 0, "policy": 1, "queue": 2, "binding": 3}


def _in_order(changes: Iterable[Change]) -> list[Change]:
    """Make before destroying; policies before queues, so that no queue is ever without its way to the dead letters.

    Bindings come after all they join, and go before them.
    """
    destroying: dict[Kind, int] = {"binding": 4, "queue": 5, "exchange": 6, "policy": 7}
    return sorted(changes, key=lambda c: destroying[c.kind] if c.action == "extra" else _MAKING[c.kind])


class _Run:
    """One run of `apply`."""

    def __init__(self, plan: Plan, client: Management, allowed: Allowed) -> None:
        self._plan = plan
        self._client = client
        self._allowed = allowed
        self._vhost = plan.vhost

    def carry_out(self, change: Change) -> None:
        """Do what `change` says."""
        if change.action == "extra":
            self._destroy(change.live)
            return
        if change.action == "conflict":
            self._destroy(change.live)
        self._make(change)
        if change.action == "conflict":
            self._bind_again(change)

    def _make(self, change: Change) -> None:
        match change.declared:
            case Exchange() as exchange:
                self._declare("exchanges", exchange, _exchange_body(exchange))
            case Queue() as queue:
                self._declare("queues", queue, _queue_body(queue))
            case Binding() as binding:
                self._bind(binding)
            case Policy() as policy:
                self._client.put("policies", self._vhost, policy.name, body=policy_body(policy))
            case None:
                raise AssertionError(f"{change.action} of {change.name} without what is declared")

    def _declare(self, kind: str, thing: Exchange | Queue, body: dict[str, object]) -> None:
        try:
            self._client.put(kind, self._vhost, thing.name, body=body)
        except BrokerError as error:
            if error.code != 400:
                raise
            # Somebody declared it since the plan was made, or this broker cannot have it.
            raise refusal(str(error), thing) from error

    def _bind(self, binding: Binding) -> None:
        kind = "q" if binding.destination_type == "queue" else "e"
        self._client.post(
            "bindings",
            self._vhost,
            "e",
            binding.source,
            kind,
            binding.destination,
            body={"routing_key": binding.routing_key, "arguments": dict(binding.arguments)},
        )

    def _bind_again(self, change: Change) -> None:
        """What was bound to a recreated object, by whomever, is bound again: its bindings went with it."""
        for binding in self._plan.live.bindings:
            into = binding.destination == change.name and binding.destination_type == change.kind
            from_it = change.kind == "exchange" and binding.source == change.name
            dropped = binding not in self._plan.topology.bindings and (self._allowed.unbind or self._allowed.delete)
            if (into or from_it) and not dropped:
                self._bind(binding)

    def _destroy(self, thing: Exchange | Queue | Binding | Policy | None) -> None:
        match thing:
            case Exchange():
                self._client.delete("exchanges", self._vhost, thing.name)
            case Queue():
                self._delete_queue(thing)
            case Binding():
                self._unbind(thing)
            case Policy():
                self._client.delete("policies", self._vhost, thing.name)
            case None:
                raise AssertionError("nothing to destroy")

    def _unbind(self, binding: Binding) -> None:
        kind = "q" if binding.destination_type == "queue" else "e"
        key = self._plan.live.bindings[binding]
        self._client.delete("bindings", self._vhost, "e", binding.source, kind, binding.destination, key)

    def _delete_queue(self, queue: Queue) -> None:
        """Delete a queue; one that holds messages or has consumers only when messages may be discarded.

        The counts of a listing are seconds old. A classic queue is deleted under the broker's own condition, which
        quorum queues and streams do not have: those are looked at once more.
        """
        query = ""
        if not self._allowed.discard_messages:
            now = self._client.get("queues", self._vhost, queue.name)
            row: dict[str, object] = now if isinstance(now, dict) else {}
            held, used = row.get("messages") or 0, row.get("consumers") or 0
            if held or used:
                raise _in_use(queue.name, f"it holds {held} messages and has {used} consumers")
            if queue.type == "classic":
                query = "if-empty=true&if-unused=true"
        try:
            self._client.delete("queues", self._vhost, queue.name, query=query)
        except BrokerError as error:
            if error.code == 400 and query:
                raise _in_use(queue.name, str(error)) from error
            raise


def _in_use(name: str, why: str) -> TopologyConflict:
    return TopologyConflict(
        f"queue {name!r} is left as it is: {why}. Let its messages be worked off and its consumers stop, or lose them "
        f"with --discard-messages"
    )


def _exchange_body(exchange: Exchange) -> dict[str, object]:
    return {
        "type": exchange.type,
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": dict(exchange.arguments),
    }


def _queue_body(queue: Queue) -> dict[str, object]:
    return {"durable": queue.durable, "auto_delete": queue.auto_delete, "arguments": dict(queue.arguments)}


def policy_body(policy: Policy) -> dict[str, object]:
    """A policy as the API takes it."""
    return {
        "pattern": policy.pattern,
        "definition": dict(policy.definition),
        "apply-to": policy.apply_to,
        "priority": policy.priority,
    }
