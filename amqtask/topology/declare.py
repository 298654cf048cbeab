"""The order in which a topology is declared, as data: whoever has a channel runs it, nobody else decides it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from amqtask.topology.model import Topology
from amqtask.topology.values import Binding, Exchange, Queue


@dataclass(frozen=True, slots=True)
class DeclareExchange:
    """exchange.declare; passive when the topology is only verified."""

    exchange: Exchange

    def __str__(self) -> str:
        return f"exchange {self.exchange.name!r}"


@dataclass(frozen=True, slots=True)
class DeclareQueue:
    """queue.declare; passive when the topology is only verified."""

    queue: Queue

    def __str__(self) -> str:
        return f"queue {self.queue.name!r}"


@dataclass(frozen=True, slots=True)
class Bind:
    """queue.bind or exchange.bind. AMQP has no passive form: who only verifies leaves it out."""

    binding: Binding

    def __str__(self) -> str:
        return f"binding {self.binding}"


Operation = DeclareExchange | DeclareQueue | Bind


def operations(topology: Topology, *, queues: Collection[str] | None = None) -> tuple[Operation, ...]:
    """What to declare, in order: exchanges, dead-letter queues, queues, bindings among exchanges, bindings of queues.

    With that order nothing can be dead-lettered or routed into a void while it runs. What the broker has from the
    start (`amq.*`) is not declared. With `queues`, only these, their dead-letter queues, their bindings, and every
    exchange and binding among exchanges.
    """
    wanted = set(topology.queues) if queues is None else {topology.require(name).name for name in queues}
    wanted |= {dlq for name, dlq in topology.dead_letters.items() if name in wanted}
    dead_letter_queues = set(topology.dead_letters.values())
    first = [queue for name, queue in topology.queues.items() if name in wanted and name in dead_letter_queues]
    then = [queue for name, queue in topology.queues.items() if name in wanted and name not in dead_letter_queues]
    between = [binding for binding in topology.bindings if binding.destination_type == "exchange"]
    into = [b for b in topology.bindings if b.destination_type == "queue" and b.destination in wanted]
    return (
        *(DeclareExchange(exchange) for exchange in topology.exchanges.values() if not exchange.predeclared),
        *(DeclareQueue(queue) for queue in (*first, *then)),
        *(Bind(binding) for binding in (*between, *into)),
    )
