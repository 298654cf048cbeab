"""A topology from settings: which queues exist, what they carry, what is bound, and which names are refused."""

from __future__ import annotations

import re

import pytest

from amqtask.errors import QueueNotDeclared, SettingsError, TopologyError, TopologyUnsupported
from amqtask.settings import Settings
from amqtask.topology.declare import Bind, DeclareExchange, DeclareQueue, operations
from amqtask.topology.model import Binding, Exchange, Queue, Topology


def topology(*, extra_queues: tuple[str, ...] = (), **values: object) -> Topology:
    return Topology.from_settings(Settings.model_validate(values), extra_queues=extra_queues)


def test_s41_nothing_declared_gives_the_queues_that_are_named() -> None:
    made = topology(
        routes=[{"task": "a", "queue": "routed"}],
        pools={"slow": {"queues": ["pooled"]}},
        worker={"queues": ["selected"]},
        extra_queues=("of-a-task",),
    )
    assert not made.declared
    names = ["celery", "routed", "pooled", "selected", "of-a-task"]
    assert set(made.queues) == {*names, *(f"{name}.dlq" for name in names)}
    assert all(queue == Queue(queue.name) for queue in made.queues.values()), "classic, durable, without arguments"
    assert made.require("whatever") == Queue("whatever")


def test_s41_one_declared_queue_makes_undeclared_names_errors() -> None:
    made = topology(queues={"feeds": {}, "images": {}})
    assert made.declared
    assert set(made.queues) == {"feeds", "images", "feeds.dlq", "images.dlq"}, "the default queue is not conjured up"
    with pytest.raises(QueueNotDeclared, match="did you mean 'feeds'") as caught:
        made.require("feedz")
    assert caught.value.nearest == "feeds"
    with pytest.raises(QueueNotDeclared):
        made.with_queues(["imagess"])


@pytest.mark.parametrize(
    "naming",
    [
        {"routes": [{"task": "a", "queue": "feedz"}]},
        {"pools": {"p": {"queues": ["feedz"]}}},
        {"worker": {"queues": ["feedz"]}},
        {"extra_queues": ("feedz",)},
    ],
)
def test_pain_15_a_typo_anywhere_names_the_nearest_queue(naming: dict[str, object]) -> None:
    with pytest.raises(QueueNotDeclared, match="'feedz' is not declared; did you mean 'feeds'"):
        topology(queues={"feeds": {}}, **naming)  # type: ignore[arg-type]


def test_k02_typed_settings_become_arguments_in_milliseconds() -> None:
    made = topology(
        queues={
            "c": {
                "message_ttl_s": 1.5,
                "expires_s": 60,
                "max_length": 10,
                "max_length_bytes": 1000,
                "overflow": "reject-publish",
                "dead_letter_exchange": "",
                "dead_letter_routing_key": "c.dlq",
                "max_priority": 10,
                "single_active_consumer": True,
            },
            "q": {
                "type": "quorum",
                "delivery_limit": 5,
                "quorum_initial_group_size": 3,
                "queue_leader_locator": "balanced",
                "consumer_timeout_s": 7200,
                "dead_letter_exchange": "",
                "dead_letter_strategy": "at-least-once",
                "overflow": "reject-publish",
                "arguments": {"x-delayed-retry-type": "all"},
            },
            "s": {
                "type": "stream",
                "max_age": "7D",
                "max_length_bytes": 10**9,
                "stream_max_segment_size_bytes": 10**6,
                "initial_cluster_size": 1,
            },
        }
    )
    assert made.queues["c"].arguments == {
        "x-message-ttl": 1500,
        "x-expires": 60_000,
        "x-max-length": 10,
        "x-max-length-bytes": 1000,
        "x-overflow": "reject-publish",
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "c.dlq",
        "x-max-priority": 10,
        "x-single-active-consumer": True,
    }
    assert made.queues["q"].arguments == {
        "x-queue-type": "quorum",
        "x-overflow": "reject-publish",
        "x-dead-letter-exchange": "",
        "x-dead-letter-strategy": "at-least-once",
        "x-delivery-limit": 5,
        "x-quorum-initial-group-size": 3,
        "x-queue-leader-locator": "balanced",
        "x-consumer-timeout": 7_200_000,
        "x-delayed-retry-type": "all",
    }
    assert made.queues["s"].arguments == {
        "x-queue-type": "stream",
        "x-max-length-bytes": 10**9,
        "x-max-age": "7D",
        "x-stream-max-segment-size-bytes": 10**6,
        "x-initial-cluster-size": 1,
    }
    assert all(isinstance(value, int) for name, value in made.queues["c"].arguments.items() if "ttl" in name)


def test_k02_a_declared_queue_carries_no_argument_of_ours() -> None:
    assert topology(queues={"plain": {}}).queues["plain"] == Queue("plain")
    assert topology(queues={"plain": {"single_active_consumer": False}}).queues["plain"].arguments == {}


def test_k02_the_same_argument_given_twice_must_agree() -> None:
    same = {"max_length": 5, "arguments": {"x-max-length": 5}}
    assert topology(queues={"q": same}).queues["q"].arguments == {"x-max-length": 5}
    with pytest.raises(SettingsError, match=r"queues\.q\.arguments: x-max-length is 6 here and 5 by 'max_length'"):
        topology(queues={"q": {"max_length": 5, "arguments": {"x-max-length": 6}}})


def test_k02_the_broker_version_of_the_settings_decides() -> None:
    queues = {"q": {"type": "quorum", "delivery_limit": -1}}
    assert topology(queues=queues, broker={"version": "4.0"})
    with pytest.raises(TopologyUnsupported, match=r"needs RabbitMQ 4\.0, this is 3\.13"):
        topology(queues=queues, broker={"version": "3.13.7"})


def test_each_queue_has_a_dead_letter_queue_and_a_policy_that_leads_there() -> None:
    made = topology(queues={"orders": {"max_length": 5}})
    assert made.dead_letter_queue("orders") == "orders.dlq"
    assert made.queues["orders.dlq"] == Queue("orders.dlq")
    assert made.dead_letter_queue("orders.dlq") is None
    policy = made.policies["amqtask.orders"]
    assert policy.definition == {"dead-letter-exchange": "", "dead-letter-routing-key": "orders.dlq"}
    assert re.fullmatch(policy.pattern, "orders")
    assert not re.search(policy.pattern, "orders.dlq")
    assert "x-dead-letter-exchange" not in made.queues["orders"].arguments


def test_streams_exclusive_queues_and_those_switched_off_have_no_dead_letter_queue() -> None:
    made = topology(
        queues={"log": {"type": "stream"}, "mine": {"exclusive": True}, "off": {"dead_letter": False}},
    )
    assert set(made.queues) == {"log", "mine", "off"}
    assert made.policies == {}


def test_a_declared_dead_letter_queue_is_used_as_it_is_and_gets_none_itself() -> None:
    made = topology(queues={"orders": {}, "orders.dlq": {"message_ttl_s": 60}})
    assert made.dead_letters == {"orders": "orders.dlq"}
    assert set(made.queues) == {"orders", "orders.dlq"}
    assert made.queues["orders.dlq"].arguments == {"x-message-ttl": 60_000}
    assert set(made.policies) == {"amqtask.orders"}


def test_a_policy_of_the_settings_is_merged_with_ours_since_only_one_applies() -> None:
    made = topology(queues={"orders": {"policy": {"max-length": 5}, "priority": 7}})
    policy = made.policies["amqtask.orders"]
    assert policy.definition == {
        "dead-letter-exchange": "",
        "dead-letter-routing-key": "orders.dlq",
        "max-length": 5,
    }
    assert policy.priority == 7
    own = topology(queues={"orders": {"policy": {"dead-letter-exchange": "amq.fanout"}}}).policies["amqtask.orders"]
    assert own.definition == {"dead-letter-exchange": "amq.fanout"}
    by_argument = topology(queues={"orders": {"dead_letter_exchange": "amq.fanout"}})
    assert by_argument.policies == {}, "the queue's own argument says where the broker's dead letters go"


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        ({"max_length": 5}, "did you mean 'max-length'"),
        ({"queue-type": "quorum"}, "cannot be set by a policy"),
        ({"max-length": -1}, "must be at least 0"),
        ({"delivery-limit": 5}, "does not exist for classic queues"),
    ],
)
def test_policy_keys_are_checked(policy: dict[str, object], text: str) -> None:
    with pytest.raises((SettingsError, TopologyUnsupported), match=text):
        topology(queues={"orders": {"policy": policy}})


def test_k03_bindings_many_per_queue_headers_and_between_exchanges() -> None:
    made = topology(
        exchanges={
            "in": {"type": "topic", "alternate_exchange": "rest"},
            "rest": {"type": "fanout"},
            "meta": {"type": "headers", "bindings": [{"source": "in", "routing_key": "meta.#"}]},
        },
        queues={
            "text": {
                "exchange": "in",
                "routing_key": "file.text.*",
                "bindings": [{"exchange": "in", "routing_key": "t"}],
            },
            "all": {"exchange": "rest"},
            "big": {"bindings": [{"exchange": "meta", "arguments": {"x-match": "any-with-x", "size": "big"}}]},
            "direct": {"exchange": "amq.direct"},
        },
    )
    assert made.bindings == (
        Binding("in", "meta", "exchange", "meta.#"),
        Binding("in", "text", "queue", "file.text.*"),
        Binding("in", "text", "queue", "t"),
        Binding("rest", "all", "queue", ""),
        Binding("meta", "big", "queue", "", {"x-match": "any-with-x", "size": "big"}),
        Binding("amq.direct", "direct", "queue", "direct"),
    )
    assert made.exchanges["in"] == Exchange("in", "topic", arguments={"alternate-exchange": "rest"})
    assert made.exchanges["in"].alternate == "rest"


def test_k03_x_match_has_four_forms() -> None:
    def bound(match: str) -> Topology:
        arguments = {"x-match": match, "a": 1}
        return topology(queues={"q": {"bindings": [{"exchange": "amq.headers", "arguments": arguments}]}})

    for match in ("all", "any", "all-with-x", "any-with-x"):
        assert bound(match).bindings[0].arguments["x-match"] == match
    with pytest.raises(SettingsError, match="x-match must be one of"):
        bound("some")


@pytest.mark.parametrize(
    "values",
    [
        {"queues": {"q": {"exchange": "evnts"}}},
        {"queues": {"q": {"bindings": [{"exchange": "evnts"}]}}},
        {"queues": {"q": {"dead_letter_exchange": "evnts"}}},
        {"queues": {"q": {"policy": {"dead-letter-exchange": "evnts"}}}},
        {"exchanges": {"other": {"alternate_exchange": "evnts"}}},
        {"exchanges": {"other": {"bindings": [{"source": "evnts"}]}}},
    ],
)
def test_k01_an_exchange_that_nobody_declares_is_refused_wherever_it_is_named(
    values: dict[str, dict[str, object]],
) -> None:
    values = {**values, "exchanges": {"events": {}, **values.get("exchanges", {})}}
    with pytest.raises(TopologyError, match="exchange 'evnts' is not declared; did you mean 'events'"):
        topology(**values)


def test_k01_the_brokers_own_exchanges_can_be_bound_to_and_not_redefined() -> None:
    made = topology(exchanges={"amq.topic": {"type": "topic", "bindings": [{"source": "amq.fanout"}]}})
    assert made.bindings == (Binding("amq.fanout", "amq.topic", "exchange", ""),)
    assert not any(isinstance(operation, DeclareExchange) for operation in operations(made))
    with pytest.raises(SettingsError, match="the broker's own, of type 'topic'"):
        topology(exchanges={"amq.topic": {"type": "direct"}})
    with pytest.raises(SettingsError, match="begin with 'amq\\.'"):
        topology(queues={"amq.mine": {}})


def test_s39_a_default_exchange_binds_the_default_queue_where_nobody_declared_one() -> None:
    made = topology(
        exchanges={"tasks": {"type": "topic"}},
        tasks={"default_exchange": "tasks", "default_routing_key": "task.default"},
    )
    assert made.bindings == (Binding("tasks", "celery", "queue", "task.default"),)


def test_operations_come_in_an_order_that_never_leaves_a_void() -> None:
    made = topology(
        exchanges={"b": {"bindings": [{"source": "a"}]}, "a": {"type": "fanout"}},
        queues={"q": {"exchange": "b"}, "r": {"exchange": "a"}},
    )
    order = operations(made)
    kinds = [type(operation) for operation in order]
    assert kinds == [DeclareExchange] * 2 + [DeclareQueue] * 4 + [Bind] * 3
    assert [str(operation) for operation in order][2:] == [
        "queue 'q.dlq'",
        "queue 'r.dlq'",
        "queue 'q'",
        "queue 'r'",
        "binding exchange 'a' -> exchange 'b' by ''",
        "binding exchange 'b' -> queue 'q' by 'q'",
        "binding exchange 'a' -> queue 'r' by ''",
    ]


def test_operations_for_some_queues_leave_the_others_alone() -> None:
    made = topology(exchanges={"a": {}}, queues={"q": {"exchange": "a"}, "r": {"exchange": "a"}})
    shown = [str(operation) for operation in operations(made, queues=["r"])]
    assert shown == ["exchange 'a'", "queue 'r.dlq'", "queue 'r'", "binding exchange 'a' -> queue 'r' by 'r'"]
    with pytest.raises(QueueNotDeclared):
        operations(made, queues=["s"])
