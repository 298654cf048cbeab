"""A connection declares what its app declares: all of it, whatever fails, and nothing in the modes that only look."""

from __future__ import annotations

from collections.abc import Sequence

from amqtask.errors import AccessRefused, AmqtaskError, TopologyConflict, TopologyError
from amqtask.topology.declare import Bind, DeclareExchange, DeclareQueue, Operation, operations
from amqtask.topology.model import Topology
from amqtask.topology.values import Binding, Exchange, Queue
from amqtask.transport.connector import Connector
from amqtask.transport.declarer import Declared, Declarer, Mode
from amqtask.transport.loop import Loop
from amqtask.transport.url import parse_urls
from tests.support.proxy import Proxy
from tests.support.publishing import message, publishing, settings_for
from tests.support.rabbit import Rabbit
from tests.support.raw import Raw


def declare(url: str, mode: Mode, wanted: Sequence[Operation]) -> Declared:
    """Declare on a connection of its own."""
    outcome: list[Declared] = []
    loop = Loop()
    declarer = Declarer(mode)

    def done(declared: Declared) -> None:
        outcome.append(declared)
        connector.stop(loop.stop)

    connector = Connector(
        loop,
        parse_urls(url),
        settings=settings_for(url).broker,
        name="test",
        on_session=lambda session: declarer.run(session, wanted, done),
        on_down=declarer.lost,
    )
    connector.start()
    loop.call_later(20, loop.stop)
    loop.run()
    loop.close()
    return outcome[0]


def failures(declared: Declared) -> dict[str, type[AmqtaskError]]:
    return {str(operation): type(error) for operation, error in declared.failures}


ORDERS: list[Operation] = [
    DeclareExchange(Exchange("orders", "topic")),
    DeclareExchange(Exchange("all", "fanout")),
    DeclareQueue(Queue("new", arguments={"x-max-length": 10})),
    DeclareQueue(Queue("old")),
    Bind(Binding("all", "orders", "exchange")),
    Bind(Binding("orders", "new", routing_key="new.*")),
]


def test_k10_manage_declares_all_and_is_idempotent(vhost_url: str) -> None:
    for _ in range(2):
        assert declare(vhost_url, "manage", ORDERS) == Declared(6, ())
    with Raw(vhost_url) as raw:
        assert raw.publish("new.order", b"x", exchange="all") == "ack"
        assert raw.count("new") == 1


def test_c02_verify_and_off_create_nothing(vhost_url: str) -> None:
    looked = declare(vhost_url, "verify", ORDERS)
    assert looked.done == 0
    assert failures(looked) == {
        "exchange 'orders'": TopologyError,
        "exchange 'all'": TopologyError,
        "queue 'new'": TopologyError,
        "queue 'old'": TopologyError,
    }
    assert "does not exist" in str(looked.failures[2][1])
    assert declare(vhost_url, "off", ORDERS) == Declared(0, ())
    with Raw(vhost_url) as raw:
        assert not raw.exists("old")
    assert declare(vhost_url, "manage", ORDERS).done == 6
    assert declare(vhost_url, "verify", ORDERS) == Declared(4, ())


def test_pain15_a_conflict_is_told_field_by_field_and_stops_nothing_else(vhost_url: str) -> None:
    with Raw(vhost_url) as raw:
        raw.declare_queue("new", arguments={"x-max-length": 9})
        raw.declare_exchange("orders", "direct")
    outcome = declare(vhost_url, "manage", ORDERS)
    assert failures(outcome) == {"exchange 'orders'": TopologyConflict, "queue 'new'": TopologyConflict}
    assert outcome.done == 4
    error = outcome.failures[1][1]
    assert isinstance(error, TopologyConflict)
    assert error.differences == {"x-max-length": (10, 9)}
    assert "max_length (x-max-length): declared 10, live 9" in str(error)
    with Raw(vhost_url) as raw:
        assert raw.exists("old")


def test_pain14_without_the_right_to_configure_each_refusal_is_told(broker: Rabbit, vhost: str) -> None:
    broker.api("PUT", "users/plain", {"password": "pw", "tags": ""})
    broker.api("PUT", f"permissions/{vhost}/plain", {"configure": "^new$", "write": ".*", "read": ".*"})
    url = broker.url(vhost).replace("guest:guest", "plain:pw")
    outcome = declare(url, "manage", ORDERS[:4])
    assert failures(outcome) == {
        "exchange 'orders'": AccessRefused,
        "exchange 'all'": AccessRefused,
        "queue 'old'": AccessRefused,
    }
    assert outcome.done == 1


def test_two_hundred_existing_queues_are_declared_in_one_go(vhost_url: str) -> None:
    many = [DeclareQueue(Queue(f"q{number}")) for number in range(200)]
    assert declare(vhost_url, "manage", many).done == 200
    assert declare(vhost_url, "manage", many) == Declared(200, ())


def test_k10_a_publisher_declares_before_it_publishes_and_on_every_connection(
    broker: Rabbit, vhost: str, proxy: Proxy
) -> None:
    url = broker.url(vhost)
    topology = Topology.from_settings(settings_for(url, queues={"work": {}}))
    with Raw(url) as raw, publishing(broker.url(vhost, port=proxy.port), topology=topology) as publisher:
        for _ in range(2):
            publisher.publish(message(), exchange="", routing_key="work").result()
            raw.delete_queue("work")
            proxy.cut()
        publisher.publish(message(), exchange="", routing_key="work").result()
        assert raw.count("work") == 1
        assert [str(op) for op in operations(topology)] == ["queue 'work.dlq'", "queue 'work'"]


def test_c02_a_publisher_that_only_looks_creates_nothing_and_still_publishes(vhost_url: str) -> None:
    topology = Topology.from_settings(settings_for(vhost_url, queues={"work": {}, "other": {}}))
    with Raw(vhost_url) as raw, publishing(vhost_url, topology=topology, topology_={"mode": "verify"}) as publisher:
        raw.declare_queue("other")
        publisher.publish(message(), exchange="", routing_key="other").result()
        assert not raw.exists("work")
