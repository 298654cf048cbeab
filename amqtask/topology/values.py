"""The values a topology is made of, exactly as the broker is told them: immutable, comparable, free of I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Arguments = Mapping[str, object]
DestinationType = Literal["queue", "exchange"]

# Every virtual host has these; declaring one is refused (403), binding to one is not.
PREDECLARED_EXCHANGES: Mapping[str, str] = {
    "": "direct",
    "amq.direct": "direct",
    "amq.fanout": "fanout",
    "amq.topic": "topic",
    "amq.headers": "headers",
    "amq.match": "headers",
    "amq.rabbitmq.trace": "topic",
    "amq.rabbitmq.log": "topic",
    "amq.rabbitmq.event": "topic",
}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange. `arguments` are the x-arguments as sent, `alternate-exchange` among them."""

    name: str
    type: str = "direct"
    durable: bool = True
    auto_delete: bool = False
    internal: bool = False
    arguments: Arguments = field(default_factory=dict, hash=False)

    @property
    def predeclared(self) -> bool:
        """Whether the broker has it from the start, so that nobody may declare it."""
        return self.name in PREDECLARED_EXCHANGES

    @property
    def alternate(self) -> str | None:
        """The exchange that takes what this one cannot route."""
        name = self.arguments.get("alternate-exchange")
        return name if isinstance(name, str) else None


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue. `arguments` are the x-arguments as sent, times in milliseconds."""

    name: str
    durable: bool = True
    exclusive: bool = False
    auto_delete: bool = False
    arguments: Arguments = field(default_factory=dict, hash=False)

    @property
    def type(self) -> str:
        """`classic`, `quorum` or `stream`. Without an `x-queue-type` it is classic."""
        return str(self.arguments.get("x-queue-type", "classic"))

    @property
    def dead_letter_exchange(self) -> str | None:
        """Where the broker itself sends what dies here, if an argument says so."""
        name = self.arguments.get("x-dead-letter-exchange")
        return name if isinstance(name, str) else None


@dataclass(frozen=True, slots=True)
class Binding:
    """One binding, from an exchange to a queue or to another exchange."""

    source: str
    destination: str
    destination_type: DestinationType = "queue"
    routing_key: str = ""
    arguments: Arguments = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        by = f" by {self.routing_key!r}" + (f" {dict(self.arguments)}" if self.arguments else "")
        return f"exchange {self.source!r} -> {self.destination_type} {self.destination!r}{by}"


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy of the virtual host. AMQP cannot set it; the management API can.

    `definition` has the policy's keys (`dead-letter-exchange`, `max-length`), without `x-`, times in milliseconds.
    """

    name: str
    pattern: str
    definition: Arguments = field(default_factory=dict, hash=False)
    apply_to: str = "queues"
    priority: int = 0
