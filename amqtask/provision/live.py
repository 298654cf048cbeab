"""What one virtual host of a broker has: read once by the management API, held as the same values as a topology."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from amqtask.errors import AccessRefused, BrokerError
from amqtask.provision.management import Management
from amqtask.topology.values import PREDECLARED_EXCHANGES, Binding, Exchange, Policy, Queue

_QUEUE_COLUMNS = (
    "columns=name,durable,auto_delete,exclusive,arguments,policy,messages_ready,messages_unacknowledged,consumers"
)


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """Messages and consumers of a queue. The broker refreshes them every few seconds."""

    ready: int = 0
    unacked: int = 0
    consumers: int = 0

    @property
    def messages(self) -> int:
        """All that would be lost with the queue."""
        return self.ready + self.unacked


@dataclass(frozen=True, slots=True)
class Live:
    """A virtual host's content. What the broker has by itself (`amq.*`, bindings by a queue's name) is left out."""

    vhost: str
    version: str
    exchanges: Mapping[str, Exchange] = field(default_factory=dict)
    queues: Mapping[str, Queue] = field(default_factory=dict)
    bindings: Mapping[Binding, str] = field(default_factory=dict)  # to the key that the API deletes it by
    policies: Mapping[str, Policy] = field(default_factory=dict)
    counts: Mapping[str, QueueCounts] = field(default_factory=dict)
    policy_of: Mapping[str, str] = field(default_factory=dict)  # which policy applies to a queue
    default_queue_type: str = "classic"


def live(client: Management, vhost: str) -> Live:
    """Read virtual host `vhost`.

    Raises BrokerError when there is no such virtual host, and what Management raises.
    """
    version = client.version()
    # The list, as one entry of it is shown to administrators only.
    described = next((row for row in _rows(client.get("vhosts")) if row.get("name") == vhost), None)
    if described is None:
        raise BrokerError(f"there is no virtual host {vhost!r} at this broker, or none that this user may see")
    queues = _rows(client.get("queues", vhost, query=_QUEUE_COLUMNS))
    return Live(
        vhost=vhost,
        version=version,
        exchanges={
            exchange.name: exchange
            for exchange in map(exchange_from, _rows(client.get("exchanges", vhost)))
            if exchange.name not in PREDECLARED_EXCHANGES
        },
        queues={queue.name: queue for queue in map(queue_from, queues)},
        bindings={
            binding_from(row): str(row.get("properties_key", ""))
            for row in _rows(client.get("bindings", vhost))
            if row.get("source")
        },
        policies=_policies(client, vhost),
        counts={str(row["name"]): _counts(row) for row in queues},
        policy_of={str(row["name"]): str(row["policy"]) for row in queues if row.get("policy")},
        default_queue_type=_default_queue_type(described),
    )


def exchange_from(row: Mapping[str, object]) -> Exchange:
    """An exchange as the API and definitions files write it."""
    return Exchange(
        str(row["name"]),
        str(row.get("type", "direct")),
        durable=bool(row.get("durable", True)),
        auto_delete=bool(row.get("auto_delete", False)),
        internal=bool(row.get("internal", False)),
        arguments=_mapping(row.get("arguments")),
    )


def queue_from(row: Mapping[str, object]) -> Queue:
    """A queue as the API and definitions files write it."""
    arguments = _mapping(row.get("arguments"))
    if arguments.get("x-queue-type") == "classic":  # 4.0 and up write it into every classic queue
        del arguments["x-queue-type"]
    return Queue(
        str(row["name"]),
        durable=bool(row.get("durable", True)),
        exclusive=bool(row.get("exclusive", False)),
        auto_delete=bool(row.get("auto_delete", False)),
        arguments=arguments,
    )


def binding_from(row: Mapping[str, object]) -> Binding:
    """A binding as the API and definitions files write it."""
    return Binding(
        str(row["source"]),
        str(row["destination"]),
        "exchange" if row.get("destination_type") == "exchange" else "queue",
        str(row.get("routing_key", "")),
        _mapping(row.get("arguments")),
    )


def policy_from(row: Mapping[str, object]) -> Policy:
    """A policy as the API and definitions files write it."""
    priority = row.get("priority", 0)
    return Policy(
        str(row["name"]),
        str(row.get("pattern", "")),
        _mapping(row.get("definition")),
        apply_to=str(row.get("apply-to", "all")),
        priority=priority if isinstance(priority, int) else 0,
    )


def _policies(client: Management, vhost: str) -> dict[str, Policy]:
    try:
        rows = client.get("policies", vhost)
    except AccessRefused:  # without the tag 'policymaker' they cannot be read: then none of ours can be seen there
        return {}
    return {policy.name: policy for policy in map(policy_from, _rows(rows))}


def _default_queue_type(described: Mapping[str, object]) -> str:
    kind = described.get("default_queue_type")
    return kind if kind in ("quorum", "stream") else "classic"


def _counts(row: Mapping[str, object]) -> QueueCounts:
    def count(key: str) -> int:
        value = row.get(key)
        return value if isinstance(value, int) else 0

    return QueueCounts(count("messages_ready"), count("messages_unacknowledged"), count("consumers"))


def _rows(answer: object) -> list[Mapping[str, object]]:
    if not isinstance(answer, Iterable):
        raise BrokerError("the management API gave no list; is the broker still starting?")
    return [row for row in answer if isinstance(row, Mapping)]


def _mapping(value: object) -> dict[str, object]:
    return dict(value) if isinstance(value, Mapping) else {}
