"""What the template tells the node once it has imported the app: all that the node needs to know, as plain data.

The node imports no user code and no settings machinery. So everything that the app, its files and the command line
decided crosses here, decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from amqtask.topology.model import Topology
from amqtask.topology.values import Binding, Exchange, Queue


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """One pool: its queues and the executors that serve them. `prefetch` None: adaptive."""

    name: str
    queues: tuple[str, ...]
    kind: str
    concurrency: int
    early_ack: bool
    prefetch: int | None
    max_buffer_bytes: int


@dataclass(frozen=True, slots=True)
class BrokerPlan:
    """How to reach the broker. Durations in seconds."""

    url: str
    heartbeat_s: int
    connect_timeout_s: float
    reconnect_max_s: float


@dataclass(frozen=True, slots=True)
class PublishPlan:
    """How the node publishes what follows from tasks."""

    deadline_s: float
    max_body_bytes: int
    retry: bool = True
    retry_policy: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodePlan:
    """Everything that one node runs by."""

    name: str
    broker: BrokerPlan
    publish: PublishPlan
    topology_mode: Literal["manage", "verify", "off"]
    topology: Topology
    pools: tuple[PoolPlan, ...]
    tasks: tuple[str, ...]
    drain_s: float
    max_crashes: int
    restart_backoff_max_s: float
    log_level: str
    log_format: str
    log_file: str | None
    pidfile: str | None
    notes: tuple[str, ...] = ()

    @property
    def queues(self) -> tuple[str, ...]:
        """All queues that the node consumes, in the order of its pools; a hand-over names a queue by its position."""
        return tuple(queue for pool in self.pools for queue in pool.queues)

    def to_document(self) -> dict[str, Any]:
        """As JSON values."""
        document = asdict(self)
        document["topology"] = {
            "exchanges": [asdict(exchange) for exchange in self.topology.exchanges.values()],
            "queues": [asdict(queue) for queue in self.topology.queues.values()],
            "bindings": [asdict(binding) for binding in self.topology.bindings],
            "dead_letters": dict(self.topology.dead_letters),
            "declared": self.topology.declared,
        }
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> NodePlan:
        """Back from JSON values."""
        fields = dict(document)
        topology = fields["topology"]
        fields["topology"] = Topology(
            exchanges={given["name"]: Exchange(**given) for given in topology["exchanges"]},
            queues={given["name"]: Queue(**given) for given in topology["queues"]},
            bindings=tuple(Binding(**given) for given in topology["bindings"]),
            dead_letters=topology["dead_letters"],
            declared=topology["declared"],
        )
        fields["broker"] = BrokerPlan(**fields["broker"])
        fields["publish"] = PublishPlan(**fields["publish"])
        fields["pools"] = tuple(PoolPlan(**{**given, "queues": tuple(given["queues"])}) for given in fields["pools"])
        fields["tasks"] = tuple(fields["tasks"])
        fields["notes"] = tuple(fields["notes"])
        return cls(**fields)
