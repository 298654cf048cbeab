"""Plan and apply against a live broker: what it lists is what is declared, drift is seen, nothing goes by accident."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import pytest

from amqtask.errors import AccessRefused, BrokerError, ConnectionLost, TopologyConflict
from amqtask.provision.apply import Allowed, Applied, apply
from amqtask.provision.counts import counts_by_amqp
from amqtask.provision.definitions import as_toml, export_definitions, import_definitions
from amqtask.provision.live import Live, live
from amqtask.provision.management import Endpoint, Management, endpoints
from amqtask.provision.plan import Plan, plan
from amqtask.settings import Settings
from amqtask.topology.model import Topology
from tests.conftest import ProxyTo
from tests.support.rabbit import Rabbit, Rabbits, until
from tests.support.raw import Raw

RICH: dict[str, object] = {
    "exchanges": {
        "in": {"type": "topic", "alternate_exchange": "rest"},
        "rest": {"type": "fanout", "durable": False},
        "meta": {"type": "headers", "internal": True, "bindings": [{"source": "in", "routing_key": "meta.#"}]},
        "short": {"type": "direct", "auto_delete": True, "bindings": [{"source": "amq.topic", "routing_key": "s"}]},
    },
    "queues": {
        "text ü/%": {"bindings": [{"exchange": "in", "routing_key": key} for key in ("text.*", "ü/#", "a b")]},
        "limited": {
            "exchange": "short",
            "message_ttl_s": 1.5,
            "expires_s": 3600,
            "max_length": 10,
            "max_length_bytes": 10_000,
            "overflow": "reject-publish-dlx",
            "dead_letter_exchange": "",
            "dead_letter_routing_key": "limited.dlq",
            "max_priority": 10,
            "single_active_consumer": True,
        },
        "safe": {
            "type": "quorum",
            "delivery_limit": 20,
            "quorum_initial_group_size": 1,
            "queue_leader_locator": "balanced",
            "overflow": "reject-publish",
            "dead_letter_exchange": "rest",
            "dead_letter_strategy": "at-least-once",
            "policy": {"max-length": 100},
        },
        "log": {
            "type": "stream",
            "max_age": "7D",
            "max_length_bytes": 10_000_000,
            "stream_max_segment_size_bytes": 1_000_000,
            "initial_cluster_size": 1,
        },
        "sized": {"bindings": [{"exchange": "meta", "arguments": {"x-match": "any-with-x", "x-size": "big", "n": 5}}]},
        "off": {"dead_letter": False},
    },
}


class World:
    """One virtual host, and what the tests do with it."""

    def __init__(self, broker: Rabbit, vhost: str) -> None:
        self.broker = broker
        self.vhost = vhost
        self.url = broker.url(vhost)

    def settings(self, **values: object) -> Settings:
        address = {"url": self.url, "management_url": self.broker.management_url}
        return Settings.model_validate({**values, "broker": address})

    def topology(self, values: Mapping[str, object]) -> Topology:
        return Topology.from_settings(self.settings(**values))

    def client(self) -> Management:
        return Management(endpoints(self.settings()))

    def live(self) -> Live:
        with self.client() as client:
            return live(client, self.vhost)

    def plan(self, values: Mapping[str, object]) -> Plan:
        return plan(self.topology(values), self.live())

    def apply(self, values: Mapping[str, object], **allowed: bool) -> Applied:
        with self.client() as client:
            return apply(self.plan(values), client, allowed=Allowed(**allowed))

    def listing(self, kind: str) -> list[dict[str, object]]:
        rows = self.broker.api("GET", f"{kind}/{quote(self.vhost, safe='')}")
        assert isinstance(rows, list)
        return rows


@pytest.fixture
def world(broker: Rabbit, vhost: str) -> World:
    return World(broker, vhost)


def test_k01_k02_k03_the_brokers_own_listing_is_what_is_declared(world: World) -> None:
    applied = world.apply(RICH)
    assert applied.failed == []
    declared = world.topology(RICH)
    exchanges = {
        str(row["name"]): (row["type"], row["durable"], row["auto_delete"], row["internal"], row["arguments"])
        for row in world.listing("exchanges")
        if row["name"] and not str(row["name"]).startswith("amq.")
    }
    assert exchanges == {
        exchange.name: (exchange.type, exchange.durable, exchange.auto_delete, exchange.internal, exchange.arguments)
        for exchange in declared.exchanges.values()
    }
    queues = {}
    for row in world.listing("queues"):
        arguments = dict(row["arguments"])  # type: ignore[call-overload]
        kind = arguments.pop("x-queue-type", "classic")
        queues[str(row["name"])] = (kind, row["durable"], row["auto_delete"], arguments)
    assert queues == {
        queue.name: (
            queue.type,
            queue.durable,
            queue.auto_delete,
            {name: value for name, value in queue.arguments.items() if name != "x-queue-type"},
        )
        for queue in declared.queues.values()
    }
    bindings = [
        (str(row["source"]), str(row["destination"]), str(row["routing_key"]), json.dumps(row["arguments"]))
        for row in world.listing("bindings")
        if row["source"]
    ]
    assert sorted(bindings) == sorted(
        (one.source, one.destination, one.routing_key, json.dumps(dict(sorted(one.arguments.items()))))
        for one in declared.bindings
    )
    policies = {str(row["name"]): (row["pattern"], row["definition"]) for row in world.listing("policies")}
    assert policies == {one.name: (one.pattern, one.definition) for one in declared.policies.values()}
    for _ in until(30, "the broker does not list the policies that apply"):
        if {str(row["name"]): row["policy"] for row in world.listing("queues") if row.get("policy")} == {
            "text ü/%": "amqtask.text ü/%",
            "safe": "amqtask.safe",
            "sized": "amqtask.sized",
        }:
            break
    after = world.plan(RICH)
    assert [change for change in after.changes if change.action != "unchanged"] == []
    assert world.apply(RICH).done == [], "a second apply has nothing to do"


CHANGES: list[tuple[str, str, object, dict[str, tuple[object, object]]]] = [
    ("limited", "message_ttl_s", 2, {"x-message-ttl": (2000, 1500)}),
    ("limited", "expires_s", None, {"x-expires": (None, 3_600_000)}),
    ("limited", "max_length", 11, {"x-max-length": (11, 10)}),
    ("limited", "overflow", "drop-head", {"x-overflow": ("drop-head", "reject-publish-dlx")}),
    ("limited", "max_priority", 5, {"x-max-priority": (5, 10)}),
    ("limited", "single_active_consumer", False, {"x-single-active-consumer": (None, True)}),
    ("limited", "auto_delete", True, {"auto_delete": (True, False)}),
    ("safe", "delivery_limit", 21, {"x-delivery-limit": (21, 20)}),
    ("log", "max_age", "8D", {"x-max-age": ("8D", "7D")}),
    ("off", "type", "quorum", {"x-queue-type": ("quorum", "classic")}),
    ("off", "max_length", 1, {"x-max-length": (1, None)}),
]


def changed(queue: str, setting: str, value: object) -> dict[str, object]:
    queues = {name: dict(table) for name, table in RICH["queues"].items()}  # type: ignore[attr-defined]
    queues[queue][setting] = value
    return {**RICH, "queues": queues}


def test_k05_one_changed_argument_reads_as_that_one_difference(world: World) -> None:
    world.apply(RICH)
    for queue, setting, value, differences in CHANGES:
        made = world.plan(changed(queue, setting, value))
        touched = [change for change in made.changes if change.drift]
        assert [(change.action, change.name, change.differences) for change in touched] == [
            ("conflict", queue, differences)
        ], f"{queue}.{setting}"
    exchanges = {**RICH["exchanges"], "rest": {"type": "topic", "durable": False}}  # type: ignore[dict-item]
    (change,) = [one for one in world.plan({**RICH, "exchanges": exchanges}).changes if one.drift]
    assert (change.kind, change.name, change.differences) == ("exchange", "rest", {"type": ("topic", "fanout")})


def test_k05_a_conflict_is_left_alone_while_the_rest_is_made(world: World) -> None:
    world.apply({"queues": {"a": {"max_length": 5}}})
    applied = world.apply({"queues": {"a": {"max_length": 6}, "b": {}}})
    assert [change.name for change in applied.left] == ["a"]
    assert {"b", "b.dlq"} <= {change.name for change in applied.done}
    assert world.live().queues["a"].arguments == {"x-max-length": 5}


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_k05_recreate_spares_a_queue_that_holds_messages_unless_told(world: World, kind: str) -> None:
    before = {
        "exchanges": {"e": {"type": "topic"}},
        "queues": {"a": {"type": kind, "exchange": "e", "routing_key": "#"}},
    }
    after = {
        "exchanges": {"e": {"type": "topic"}},
        "queues": {"a": {"type": kind, "exchange": "e", "routing_key": "#", "max_length": 9}},
    }
    world.apply(before)
    with Raw(world.url) as raw:
        assert raw.publish("a", b"precious") == "ack"
        for _ in until(30, "the API does not see the message"):
            row = world.broker.api("GET", f"queues/{quote(world.vhost, safe='')}/a")
            if isinstance(row, dict) and row.get("messages"):
                break
        applied = world.apply(after, recreate=True)
        assert [type(error) for _, error in applied.failed] == [TopologyConflict]
        assert raw.count("a") == 1
        assert world.apply(after, recreate=True, discard_messages=True).failed == []
        assert raw.count("a") == 0
        assert raw.publish("k", b"new", exchange="e") == "ack", "bound again"
    assert world.live().queues["a"].arguments["x-max-length"] == 9


def test_k03_a_binding_that_the_configuration_dropped_goes_with_the_flag_only(world: World) -> None:
    both = {"exchanges": {"e": {}}, "queues": {"a": {"bindings": [{"exchange": "e", "routing_key": k} for k in "xy"]}}}
    one = {"exchanges": {"e": {}}, "queues": {"a": {"bindings": [{"exchange": "e", "routing_key": "x"}]}}}
    world.apply(both)
    assert world.plan(one).drift
    world.apply(one)
    assert {binding.routing_key for binding in world.live().bindings} == {"x", "y"}
    world.apply(one, unbind=True)
    assert {binding.routing_key for binding in world.live().bindings} == {"x"}
    assert not world.plan(one).drift


def test_k05_delete_takes_what_nobody_declares(world: World) -> None:
    world.apply(RICH)
    small = {"queues": {"off": {"dead_letter": False}}}
    made = world.plan(small)
    assert {change.name for change in made.of("extra") if change.kind == "queue"} >= {"limited", "safe", "log"}
    assert world.apply(small, delete=True).failed == []
    there = world.live()
    assert set(there.queues) == {"off"}
    assert there.exchanges == {}
    assert there.policies == {}


def test_what_dies_in_the_broker_reaches_the_dead_letter_queue(world: World) -> None:
    world.apply({"queues": {"short": {"message_ttl_s": 0.05}, "full": {"max_length": 1}}})
    with Raw(world.url) as raw:
        raw.publish("short", b"expired")
        raw.publish("full", b"overflown")
        raw.publish("full", b"stays")
        raw.wait_count("short.dlq", 1)
        raw.wait_count("full.dlq", 1)
        assert [message.body for message in raw.drain("short.dlq")] == [b"expired"]
        assert [message.body for message in raw.drain("full.dlq")] == [b"overflown"]


def test_a_dead_letter_policy_leaves_the_queue_as_others_declare_it(world: World) -> None:
    world.apply({"queues": {"celery": {}}})
    with Raw(world.url) as raw:
        raw.publish("celery", b"x")
        assert raw.declare_queue("celery") == (1, 0)  # durable, without arguments: as Celery does; a 406 would raise


def test_k04_definitions_go_out_and_in(world: World, broker: Rabbit, tmp_path: Path) -> None:
    declared = world.topology(RICH)
    file = tmp_path / "definitions.json"
    file.write_text(json.dumps(export_definitions(declared, world.vhost)))
    file.chmod(0o644)
    broker.ctl("import_definitions", str(file) if broker.version == "3.10" else _inside(broker, file))
    assert not world.plan(RICH).drift, "what rabbitmqctl imported is what is declared"
    document = broker.api("GET", f"definitions/{quote(world.vhost, safe='')}")
    tree = import_definitions(document)
    if "meta" not in tree["exchanges"]:  # 4.3 exports no internal exchange
        assert as_toml(tree).startswith("# Exchange 'meta' is bound here and is not in the file")
        source = [{"source": "in", "routing_key": "meta.#"}]
        tree["exchanges"]["meta"] = {"type": "headers", "internal": True, "bindings": source}
    text = as_toml(tree)
    again = world.topology(tomllib.loads(text))
    assert dict(again.exchanges) == dict(declared.exchanges)
    assert dict(again.queues) == dict(declared.queues)
    assert set(again.bindings) == set(declared.bindings)
    assert dict(again.policies) == dict(declared.policies)


def _inside(broker: Rabbit, file: Path) -> str:
    """The file's path as a node in a folder of its own sees it."""
    copy = broker._folder / file.name
    copy.write_text(file.read_text())
    return str(broker._inside / file.name)


def test_counts_by_amqp_are_the_brokers(world: World) -> None:
    world.apply({"queues": {"a": {}, "b": {"type": "quorum"}}})
    with Raw(world.url) as raw:
        for _ in range(3):
            raw.publish("a", b"x")
        assert counts_by_amqp(world.settings(), ["a", "gone", "b", "also gone", "a.dlq"]) == {
            "a": (3, 0),
            "gone": None,
            "b": (0, 0),
            "also gone": None,
            "a.dlq": (0, 0),
        }
    refused = Settings.model_validate({"broker": {"url": world.url.replace("guest:guest", "guest:wrong")}})
    with pytest.raises(AccessRefused):
        counts_by_amqp(refused, ["a"])
    with pytest.raises(ConnectionLost):
        counts_by_amqp(Settings.model_validate({"broker": {"url": "amqp://127.0.0.1:1/"}}), ["a"])


def test_the_management_client_says_what_is_wrong(world: World, broker: Rabbit) -> None:
    def client(**changes: object) -> Management:
        given = {"host": "127.0.0.1", "port": broker.management_port, "user": "guest", "password": "guest", **changes}
        return Management([Endpoint(**given)], timeout_s=5)  # type: ignore[arg-type]

    with pytest.raises(AccessRefused, match="refuses user 'guest'"):
        live(client(password="wrong"), world.vhost)
    with pytest.raises(BrokerError, match="no virtual host 'nowhere'"):
        live(client(), "nowhere")
    with pytest.raises(ConnectionLost, match="rabbitmq-plugins enable rabbitmq_management"):
        live(client(port=1), world.vhost)
    with pytest.raises(BrokerError, match=r"not RabbitMQ's management API|does not answer"):
        live(client(port=broker.port), world.vhost)
    first_dead = Management(
        [
            Endpoint("127.0.0.1", 1, "guest", "guest"),
            Endpoint("127.0.0.1", broker.management_port, "guest", "guest"),
        ]
    )
    with first_dead:
        assert live(first_dead, world.vhost).version.startswith(broker.version)


def test_the_management_client_outlives_a_cut_and_gives_up_on_silence(
    world: World, broker: Rabbit, proxy_to: ProxyTo
) -> None:
    proxy = proxy_to(broker.management_port)
    with Management([Endpoint("127.0.0.1", proxy.port, "guest", "guest")], timeout_s=1) as client:
        assert client.version()
        assert client.version(), "over the same connection"
        assert proxy.links == 1
        proxy.cut()
        assert client.version(), "a kept connection that is gone is opened again"
        proxy.stall()
        with pytest.raises(ConnectionLost, match="no answer in time"):
            client.version()


def test_k05_a_user_without_rights_is_told_and_the_rest_is_made(world: World, broker: Rabbit) -> None:
    name = f"reader-{world.vhost}"[:60]
    broker.api("PUT", f"users/{name}", {"password": "secret", "tags": "management"})
    vhost = quote(world.vhost, safe="")
    broker.api("PUT", f"permissions/{vhost}/{name}", {"configure": "^a", "write": ".*", "read": ".*"})
    try:
        with Management([Endpoint("127.0.0.1", broker.management_port, name, "secret")]) as client:
            wanted = world.topology({"queues": {"a": {}, "b": {}}})
            applied = apply(plan(wanted, live(client, world.vhost)), client)
    finally:
        broker.api("DELETE", f"users/{name}")
    assert [change.name for change in applied.done] == ["a.dlq", "a"]
    failed = {change.name: error for change, error in applied.failed}
    assert set(failed) == {"amqtask.a", "amqtask.b", "b.dlq", "b"}
    assert all(isinstance(error, AccessRefused) for error in failed.values())
    assert "policymaker" in str(failed["amqtask.a"])


def test_a_virtual_host_that_makes_quorum_queues_by_default_is_understood(broker: Rabbit, vhost: str) -> None:
    world = World(broker, vhost)
    if broker.version != "3.10":  # 3.10 has no such default
        broker.api("PUT", f"vhosts/{quote(vhost, safe='')}", {"default_queue_type": "quorum"})
    values = {"queues": {"a": {}}}
    assert world.apply(values).failed == []
    expected = "classic" if broker.version == "3.10" else "quorum"
    assert world.live().queues["a"].type == expected
    assert not world.plan(values).drift


def test_k01_plugin_exchanges_are_declared_by_name(rabbits: Rabbits, broker_version: str) -> None:
    node = rabbits.make(broker_version)
    plugins = ("management", "consistent_hash_exchange", "random_exchange", "recent_history_exchange")
    (node._folder / "enabled_plugins").write_text(f"[{', '.join('rabbitmq_' + plugin for plugin in plugins)}].\n")
    try:
        world = World(node.start(), "/")
        values = {
            "exchanges": {
                "hash": {"type": "x-consistent-hash", "arguments": {"hash-header": "user"}},
                "random": {"type": "x-random"},
                "recent": {"type": "x-recent-history", "arguments": {"x-recent-history-length": 5}},
            },
            "queues": {"q": {"bindings": [{"exchange": "hash", "routing_key": "1"}, {"exchange": "random"}]}},
        }
        assert world.apply(values).failed == []
        assert not world.plan(values).drift
        with Raw(world.url) as raw:
            assert raw.publish("any", b"x", exchange="hash") == "ack"
    finally:
        node.remove()
