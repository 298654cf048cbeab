"""The capability table and the broker say the same: argument by argument, type by type, exchange type by type."""

from __future__ import annotations

import pytest

from amqtask.errors import TopologyConflict, TopologyUnsupported
from amqtask.provision.explain import explain_406, explain_with
from amqtask.provision.management import Management, endpoints
from amqtask.settings import Settings
from amqtask.topology.capabilities import QUEUE_TYPES
from amqtask.topology.check import queue_faults
from amqtask.topology.model import Exchange, Queue, Topology
from amqtask.topology.versions import parse_version
from tests.support.rabbit import Rabbit
from tests.support.raw import Raw, RawClosed
from tests.unit.topology.test_capabilities import TABLE

# What a broker takes although the table says that it is of no use there: it means nothing, or something else.
TAKEN_SILENTLY = {
    "x-consumer-timeout",
    "x-delayed-retry-type",
    "x-delayed-retry-min",
    "x-delayed-retry-max",
    "x-stream-filter-size-bytes",
    "x-delivery-limit",  # -1 below 4.0
    "x-queue-mode",
    "x-queue-version",
    "x-max-in-memory-length",
    "x-overflow",  # reject-publish-dlx on a quorum queue
    "x-queue-master-locator",
}


def refused(raw: Raw, queue: Queue) -> str | None:
    """Declare it, and delete it again; the broker's words when it says no."""
    try:
        raw.declare_queue(queue.name, durable=queue.durable, arguments=queue.arguments)
    except RawClosed as error:
        return str(error)
    raw.delete_queue(queue.name)
    return None


def reopened(raw: Raw, url: str) -> Raw:
    """Some refusals end the whole connection."""
    try:
        raw.exists("whatever")
    except (OSError, RawClosed):
        return Raw(url)
    return raw


@pytest.mark.parametrize("kind", QUEUE_TYPES)
def test_k02_each_argument_against_a_live_broker(broker: Rabbit, vhost_url: str, kind: str) -> None:
    version = parse_version(str(broker.api("GET", "overview")["rabbitmq_version"]))  # type: ignore[index]
    raw = Raw(vhost_url)
    wrong: list[str] = []
    for argument, value, beside, *_ in TABLE:
        typed = {} if kind == "classic" else {"x-queue-type": kind}
        queue = Queue("probe", arguments={**typed, **beside, argument: value})
        faults = list(queue_faults(queue, version))
        said = refused(raw, queue)
        if not faults and said:
            wrong.append(f"{argument}={value}: the table has it, the broker says {said}")
        if faults and not said and argument not in TAKEN_SILENTLY:
            wrong.append(f"{argument}={value}: the broker has it, the table says {faults[0]}")
        raw = reopened(raw, vhost_url)
    raw.close()
    assert wrong == []


@pytest.mark.parametrize(
    ("declared", "live"),
    [
        (
            Queue("q", arguments={"x-max-length": 6, "x-overflow": "drop-head"}),
            Queue("q", durable=True, auto_delete=True, arguments={"x-max-length": 5, "x-expires": 60_000}),
        ),
        (Queue("q", arguments={"x-queue-type": "quorum"}), Queue("q")),
        (Queue("q"), Queue("q", arguments={"x-queue-type": "quorum", "x-delivery-limit": 5})),
        (Queue("q", arguments={"x-message-ttl": 1000}), Queue("q")),
        (Queue("q"), Queue("q", arguments={"x-dead-letter-exchange": ""})),
        (Exchange("e", "topic", arguments={"alternate-exchange": "amq.fanout"}), Exchange("e", "direct")),
    ],
)
def test_k05_a_406_is_explained_field_by_field(
    broker: Rabbit, vhost: str, vhost_url: str, declared: Queue | Exchange, live: Queue | Exchange
) -> None:
    def declare(raw: Raw, thing: Queue | Exchange) -> None:
        if isinstance(thing, Queue):
            raw.declare_queue(thing.name, auto_delete=thing.auto_delete, arguments=thing.arguments)
        else:
            raw.declare_exchange(thing.name, thing.type, arguments=thing.arguments)

    with Raw(vhost_url) as raw:
        declare(raw, live)
        with pytest.raises(RawClosed) as caught:
            declare(raw, declared)
    assert caught.value.code == 406
    reply = str(caught.value)
    by_words = explain_406(reply, declared)
    assert isinstance(by_words, TopologyConflict)
    assert len(by_words.differences) == 1
    settings = Settings.model_validate({"broker": {"management_url": broker.management_url}})
    with Management(endpoints(settings)) as client:
        told = explain_with(client, vhost, reply, declared)
    assert isinstance(told, TopologyConflict)
    expected = {
        name: (declared.arguments.get(name), live.arguments.get(name))
        for name in {*declared.arguments, *live.arguments} - {"x-queue-type"}
        if declared.arguments.get(name) != live.arguments.get(name)
    }
    for name in ("type", "auto_delete"):
        if name != "type" or isinstance(declared, Exchange):
            here, there = getattr(declared, name), getattr(live, name)
            expected |= {name: (here, there)} if here != there else {}
    if isinstance(declared, Queue) and declared.type != getattr(live, "type", ""):
        expected["x-queue-type"] = (declared.type, getattr(live, "type", ""))
    assert told.differences == expected
    assert next(iter(by_words.differences)) in told.differences


def test_k05_what_a_broker_cannot_have_is_told_apart_from_a_conflict(vhost_url: str) -> None:
    queue = Queue("q", arguments={"x-queue-type": "quorum", "x-max-priority": 5})
    with Raw(vhost_url) as raw:
        said = refused(raw, queue)
    assert said is not None
    assert isinstance(explain_406(said, queue), TopologyUnsupported)


def test_k01_a_plugins_exchange_type_is_unsupported_until_the_plugin_is_there(vhost_url: str) -> None:
    settings = Settings.model_validate({"exchanges": {"e": {"type": "x-recent-history"}}})
    exchange = Topology.from_settings(settings).exchanges["e"]
    with Raw(vhost_url) as raw, pytest.raises(RawClosed) as caught:
        raw.declare_exchange(exchange.name, exchange.type)
    error = explain_406(str(caught.value), exchange)
    assert isinstance(error, TopologyUnsupported)
    assert "x-recent-history" in str(error)
