"""kombu's objects and ours are one topology: what either declares, the other finds as it should be."""

from __future__ import annotations

import pytest
from kombu import Connection, Exchange, Queue, binding

from amqtask.app import App
from amqtask.errors import TaskError, TopologyConflict, TopologyUnsupported
from amqtask.provision.apply import apply
from amqtask.provision.declare import declare
from amqtask.provision.plan import plan
from amqtask.settings import Settings, load
from amqtask.topology import values
from amqtask.topology.model import Topology
from tests.broker.test_provision import World
from tests.support.rabbit import Rabbit
from tests.support.raw import Raw

FEEDS = Exchange("feeds", type="topic", arguments={"alternate-exchange": "rest"})
REST = Exchange("rest", type="fanout")
QUEUES = [
    Queue("feed_tasks", FEEDS, routing_key="feed.#", max_priority=5, message_ttl=2.5, max_length=100, expires=3600),
    Queue("regular", Exchange("regular"), routing_key="task.#"),
    Queue("many", [binding(FEEDS, routing_key="a"), binding(FEEDS, routing_key="b.*"), binding(REST)]),
    Queue("quorum", FEEDS, routing_key="q", queue_arguments={"x-queue-type": "quorum", "x-delivery-limit": 5}),
    Queue("by_headers", Exchange("meta", type="headers"), binding_arguments={"x-match": "any", "kind": "big"}),
    Queue("celery"),
]


@pytest.fixture
def world(broker: Rabbit, vhost: str) -> World:
    return World(broker, vhost)


def settings(world: World) -> Settings:
    address = {"broker.url": world.url, "broker.management_url": world.broker.management_url}
    return load(python={"task_queues": QUEUES}, environ={}, overrides=address)


def test_s39_task_queues_declare_what_kombu_itself_declares(world: World) -> None:
    with Connection(world.url) as connection:
        for queue in QUEUES:
            queue(connection.default_channel).declare()
    declared = Topology.from_settings(settings(world))
    made = plan(declared, world.live())
    assert [change for change in made.changes if change.action == "conflict"] == []
    assert [change.name for change in made.of("extra")] == []
    dead_letter_queues = set(declared.dead_letters.values())
    assert {change.name for change in made.of("create") if change.kind == "queue"} == dead_letter_queues
    assert [change.name for change in made.of("create") if change.kind in ("exchange", "binding")] == []


def test_s39_kombu_finds_what_we_declared_as_it_should_be(world: World) -> None:
    with world.client() as client:
        assert apply(plan(Topology.from_settings(settings(world)), world.live()), client).failed == []
    with Connection(world.url) as connection:
        for queue in QUEUES:
            queue(connection.default_channel).declare()  # a 406 would raise


def test_s40_declaring_at_run_time_is_a_bound_working_call(world: World) -> None:
    app = App("late", broker=world.url, set_as_current=False)
    app.declare(FEEDS, REST, QUEUES[0], Queue("late", FEEDS, routing_key="late.*"))
    app.declare(
        values.Exchange("ours", "topic"),
        values.Queue("ours", arguments={"x-max-length": 5}),
        values.Binding("ours", "ours", "queue", "#"),
    )
    with Raw(world.url) as raw:
        assert raw.publish("late.x", b"1", exchange="feeds") == "ack"
        assert raw.publish("feed.x", b"1", exchange="feeds") == "ack"
        assert raw.publish("any", b"1", exchange="ours") == "ack"
        assert (raw.count("late"), raw.count("feed_tasks"), raw.count("ours")) == (1, 1, 1)
    assert set(world.live().queues) == {"feed_tasks", "late", "ours"}, "exactly these: no default, no dead letters"


def test_s40_one_that_cannot_be_declared_does_not_keep_the_others(world: World) -> None:
    broker = world.settings()
    declare(broker, values.Queue("q"))
    with pytest.raises(TopologyConflict):
        declare(broker, values.Queue("q", arguments={"x-max-length": 5}), values.Queue("r"))
    # 3.10 closes the whole connection over an exchange type that it does not know
    with pytest.raises((TopologyUnsupported, TopologyConflict), match="x-none"):
        declare(broker, values.Exchange("e", "x-none"), values.Queue("s"))
    assert set(world.live().queues) == {"q", "r", "s"}
    with pytest.raises(TaskError, match="not int"):
        declare(broker, 5)
