"""The routing matrix with real messages: where the broker puts each is where the topology says it goes."""

from __future__ import annotations

from amqtask.provision.apply import apply
from amqtask.provision.live import live
from amqtask.provision.management import Management, endpoints
from amqtask.provision.plan import plan
from amqtask.settings import Settings
from amqtask.topology.model import Topology
from amqtask.topology.reach import queues_reached
from tests.support.messages import Outgoing, properties
from tests.support.rabbit import Rabbit
from tests.support.raw import Raw

MATRIX: dict[str, object] = {
    "exchanges": {
        "direct": {"type": "direct"},
        "topic": {"type": "topic", "alternate_exchange": "rest"},
        "fanout": {"type": "fanout"},
        "headers": {"type": "headers", "alternate_exchange": "rest"},
        "rest": {"type": "fanout"},
        # from exchange to exchange, in a chain and in a loop
        "inner": {"type": "direct", "internal": True, "bindings": [{"source": "topic", "routing_key": "inner.#"}]},
        "loop": {"type": "topic", "bindings": [{"source": "loop", "routing_key": "#"}, {"source": "fanout"}]},
    },
    "queues": {
        "one": {"exchange": "direct", "routing_key": "one"},
        "both": {
            "bindings": [
                {"exchange": "direct", "routing_key": "one"},
                {"exchange": "direct", "routing_key": "two"},
                {"exchange": "fanout"},
            ]
        },
        "words": {"bindings": [{"exchange": "topic", "routing_key": key} for key in ("a.*", "a.#.z", "*.b")]},
        "tail": {"exchange": "topic", "routing_key": "#.z"},
        "any": {"exchange": "topic", "routing_key": "x.#"},
        "empty": {"exchange": "topic", "routing_key": ""},
        "inner": {"exchange": "inner", "routing_key": "inner.one"},
        "others": {"exchange": "rest"},
        "looped": {"exchange": "loop", "routing_key": "a.b"},
        "all": {"bindings": [{"exchange": "headers", "arguments": {"x-match": "all", "t": "txt", "n": 1, "x-p": 1}}]},
        "some": {"bindings": [{"exchange": "headers", "arguments": {"x-match": "any", "t": "txt", "n": 1, "x-p": 1}}]},
        "all-x": {"bindings": [{"exchange": "headers", "arguments": {"x-match": "all-with-x", "t": "txt", "x-p": 1}}]},
        "any-x": {"bindings": [{"exchange": "headers", "arguments": {"x-match": "any-with-x", "n": 2, "x-p": 1}}]},
        "plain": {"bindings": [{"exchange": "headers", "arguments": {"t": "txt"}}]},
    },
}
KEYS = (
    "", "one", "two", "three", "a", "b", "x", "a.b", "a.z", "a.b.z", "a.b.c.z", "a.b.c", "c.b", "b.b", "b.c",
    "x.y", "x.y.z", "inner", "inner.one", "inner.two", "a.", ".b", "..", "#", "*", "z",
)  # fmt: skip
HEADERS: tuple[dict[str, object], ...] = (
    {},
    {"t": "txt"},
    {"t": "md"},
    {"t": "txt", "n": 1},
    {"t": "txt", "n": 2},
    {"n": 2},
    {"t": "txt", "x-p": 1},
    {"x-p": 1},
    {"t": "txt", "n": 1, "x-p": 1},
    {"t": "md", "n": 9, "x-p": 0},
)


def test_k03_the_brokers_routing_is_the_topologys(broker: Rabbit, vhost: str, vhost_url: str) -> None:
    settings = Settings.model_validate(
        {**MATRIX, "broker": {"url": vhost_url, "management_url": broker.management_url}}
    )
    topology = Topology.from_settings(settings)
    with Management(endpoints(settings)) as client:
        applied = apply(plan(topology, live(client, vhost)), client)
    assert applied.failed == []

    sent: list[tuple[str, str, dict[str, object]]] = [
        (exchange, key, {}) for exchange in ("direct", "topic", "fanout", "loop", "rest") for key in KEYS
    ]
    sent += [("headers", "", headers) for headers in HEADERS]
    sent += [("", queue, {}) for queue in topology.queues] + [("", "missing", {})]
    messages = [
        Outgoing(key, str(number).encode(), properties(headers=headers), exchange)
        for number, (exchange, key, headers) in enumerate(sent)
    ]
    with Raw(vhost_url) as raw:
        fates = raw.publish_many(messages)
        arrived: dict[int, list[str]] = {number: [] for number in range(len(sent))}
        for queue in topology.queues:
            for message in raw.drain(queue):
                arrived[int(message.body)].append(queue)
    wrong = []
    for number, (exchange, key, headers) in enumerate(sent):
        expected = queues_reached(topology, exchange, key, headers=headers)
        assert expected is not None
        if sorted(arrived[number]) != sorted(expected):
            wrong.append(f"{exchange!r} {key!r} {headers}: {sorted(arrived[number])}, not {sorted(expected)}")
        # K09: what reaches no queue comes back; what reaches one is never said to have come back
        if fates[number] != ("ack" if expected else "returned"):
            wrong.append(f"{exchange!r} {key!r} {headers}: {fates[number]}")
    assert wrong == []
    assert any(len(queues) > 2 for queues in arrived.values()), "the matrix has messages to several queues"
