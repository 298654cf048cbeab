"""A refused declaration (AMQP 406), explained field by field against what the broker really has."""

from __future__ import annotations

from amqtask.errors import BrokerError, TopologyError
from amqtask.provision.live import exchange_from, queue_from
from amqtask.provision.management import Management
from amqtask.topology.conflict import refusal
from amqtask.topology.values import Exchange, Queue


def explain_406(reply_text: str, declared: Queue | Exchange, live: Queue | Exchange | None = None) -> TopologyError:
    """The error for a declare that was refused with `reply_text`: every difference when `live` is known.

    Without it, the one difference that the broker names. TopologyConflict, or TopologyUnsupported when the broker
    cannot have such a thing at all.
    """
    return refusal(reply_text, declared, live)


def explain_with(client: Management, vhost: str, reply_text: str, declared: Queue | Exchange) -> TopologyError:
    """As `explain_406`, asking the management API for the live object; when it cannot say, by the reply alone."""
    live: Queue | Exchange | None = None
    kind = "queues" if isinstance(declared, Queue) else "exchanges"
    try:
        row = client.get(kind, vhost, declared.name)
    except BrokerError:
        row = None
    if isinstance(row, dict):
        live = queue_from(row) if kind == "queues" else exchange_from(row)
    return explain_406(reply_text, declared, live)
