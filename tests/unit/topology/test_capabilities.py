"""What each broker version has, written down a second time as a reader of the table would expect it."""

from __future__ import annotations

import pytest

from amqtask.errors import AmqtaskError, SettingsError, TopologyUnsupported
from amqtask.topology.check import exchange_faults, queue_faults
from amqtask.topology.values import Exchange, Queue
from amqtask.topology.versions import Version, parse_version

VERSIONS: list[Version] = [(3, 10), (3, 13), (4, 0), (4, 3)]
C, Q, S = "classic", "quorum", "stream"


def faults(kind: str, arguments: dict[str, object], version: Version | None, **flags: bool) -> list[AmqtaskError]:
    typed = {} if kind == "classic" else {"x-queue-type": kind}
    return list(queue_faults(Queue("orders", arguments={**typed, **arguments}, **flags), version))


# argument, a good value, what else it needs, and the versions that have it on classic, quorum and stream queues
ALL = VERSIONS
NONE: list[Version] = []
SINCE_313: list[Version] = [(3, 13), (4, 0), (4, 3)]
SINCE_40: list[Version] = [(4, 0), (4, 3)]
SINCE_43: list[Version] = [(4, 3)]
DLX = {"x-dead-letter-exchange": ""}
TABLE: list[tuple[str, object, dict[str, object], list[Version], list[Version], list[Version]]] = [
    ("x-message-ttl", 60_000, {}, ALL, ALL, NONE),
    ("x-expires", 60_000, {}, ALL, ALL, NONE),
    ("x-max-length", 10, {}, ALL, ALL, NONE),
    ("x-max-length-bytes", 10_000, {}, ALL, ALL, ALL),
    ("x-overflow", "drop-head", {}, ALL, ALL, NONE),
    ("x-overflow", "reject-publish", {}, ALL, ALL, NONE),
    ("x-overflow", "reject-publish-dlx", {}, ALL, NONE, NONE),
    ("x-dead-letter-exchange", "", {}, ALL, ALL, NONE),
    ("x-dead-letter-routing-key", "dead", DLX, ALL, ALL, NONE),
    ("x-dead-letter-strategy", "at-most-once", DLX, NONE, ALL, NONE),
    ("x-dead-letter-strategy", "at-least-once", {**DLX, "x-overflow": "reject-publish"}, NONE, ALL, NONE),
    ("x-max-priority", 10, {}, ALL, NONE, NONE),
    ("x-single-active-consumer", True, {}, ALL, ALL, NONE),
    ("x-delivery-limit", 5, {}, NONE, ALL, NONE),
    ("x-delivery-limit", -1, {}, NONE, SINCE_40, NONE),
    ("x-quorum-initial-group-size", 3, {}, NONE, ALL, NONE),
    ("x-queue-leader-locator", "balanced", {}, SINCE_40, ALL, ALL),
    ("x-queue-leader-locator", "min-masters", {}, SINCE_40, SINCE_40, SINCE_40),
    ("x-max-age", "7D", {}, NONE, NONE, ALL),
    ("x-stream-max-segment-size-bytes", 1_000_000, {}, NONE, NONE, ALL),
    ("x-stream-filter-size-bytes", 32, {}, NONE, NONE, SINCE_313),
    ("x-initial-cluster-size", 3, {}, NONE, NONE, ALL),
    ("x-consumer-timeout", 60_000, {}, [(3, 13), (4, 0)], SINCE_313, NONE),
    ("x-delayed-retry-type", "all", {}, NONE, SINCE_43, NONE),
    ("x-delayed-retry-min", 1000, {}, NONE, SINCE_43, NONE),
    ("x-delayed-retry-max", 9000, {}, NONE, SINCE_43, NONE),
    ("x-queue-mode", "lazy", {}, NONE, NONE, NONE),
    ("x-queue-version", 1, {}, [(3, 10), (3, 13)], NONE, NONE),
    ("x-queue-version", 2, {}, ALL, NONE, NONE),
    ("x-queue-master-locator", "min-masters", {}, [(3, 10), (3, 13)], NONE, NONE),
    ("x-max-in-memory-length", 10, {}, NONE, NONE, NONE),
]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: f"{v[0]}.{v[1]}")
@pytest.mark.parametrize(("argument", "value", "beside", "classic", "quorum", "stream"), TABLE)
def test_k02_each_argument_on_each_type_and_version(
    argument: str,
    value: object,
    beside: dict[str, object],
    classic: list[Version],
    quorum: list[Version],
    stream: list[Version],
    version: Version,
) -> None:
    for kind, having in ((C, classic), (Q, quorum), (S, stream)):
        found = faults(kind, {**beside, argument: value}, version)
        if version in having:
            assert found == [], f"{argument} on {kind} {version}"
        else:
            about = [fault for fault in found if argument in str(fault) or str(value) in str(fault)]
            assert about, f"{argument} on {kind} {version} passed"
            assert isinstance(about[0], TopologyUnsupported)
            assert "'orders'" in str(about[0])
            assert "; " in str(about[0]), "says what to do"


@pytest.mark.parametrize(
    ("kind", "arguments", "text"),
    [
        (C, {"x-message-ttl": -1}, "queues.orders.message_ttl_s: must be at least 0"),
        (C, {"x-message-ttl": 2**32}, "must be at most"),
        (C, {"x-expires": 0}, "queues.orders.expires_s: must be at least 1"),
        (C, {"x-max-length": "5"}, "must be a whole number, not '5'"),
        (C, {"x-max-length": True}, "must be a whole number"),
        (C, {"x-max-priority": 256}, "must be at most 255"),
        (C, {"x-overflow": "drop"}, "must be one of drop-head"),
        (C, {"x-dead-letter-routing-key": "k"}, "needs a dead_letter_exchange"),
        (C, {"x-dead-letter-exchange": 5}, "must be text"),
        (C, {"x-single-active-consumer": "yes"}, "must be true or false"),
        (C, {"x-max-lenght": 5}, "did you mean 'x-max-length'?"),
        (C, {"x-queue-type": "quorom"}, "must be one of classic, quorum, stream"),
        (Q, {"x-delivery-limit": -2}, "must be at least -1"),
        (Q, {"x-quorum-initial-group-size": 0}, "must be at least 1"),
        (Q, {"x-dead-letter-strategy": "at-least-once", **DLX}, "needs overflow = reject-publish"),
        (
            Q,
            {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"},
            "needs a dead_letter_exchange",
        ),
        (Q, {"x-delayed-retry-type": "sometimes"}, "must be one of disabled, all, failed, returned"),
        (Q, {"x-delayed-retry-min": 9, "x-delayed-retry-max": 5}, "is above"),
        (S, {"x-max-age": "7"}, "as 7D"),
        (S, {"x-stream-max-segment-size-bytes": 5_000_000_000}, "must be at most 3000000000"),
    ],
)
def test_k02_values_that_no_broker_takes(kind: str, arguments: dict[str, object], text: str) -> None:
    found = faults(kind, arguments, (4, 3))
    assert any(text in str(fault) and isinstance(fault, SettingsError) for fault in found), found


@pytest.mark.parametrize("kind", [Q, S])
@pytest.mark.parametrize("flags", [{"exclusive": True}, {"auto_delete": True}, {"durable": False}])
@pytest.mark.parametrize("version", [None, *VERSIONS])
def test_k02_quorum_and_stream_are_durable_shared_and_stay(
    kind: str, flags: dict[str, bool], version: Version | None
) -> None:
    found = faults(kind, {}, version, **flags)
    assert [type(fault) for fault in found] == [TopologyUnsupported]
    assert next(iter(flags)) in str(found[0])


@pytest.mark.parametrize(
    ("version", "refused"), [(None, False), ((3, 10), False), ((3, 13), False), ((4, 0), False), ((4, 3), True)]
)
def test_k02_transient_queues_that_belong_to_nobody_end_with_4_3(version: Version | None, refused: bool) -> None:
    assert bool(faults(C, {}, version, durable=False)) is refused
    assert faults(C, {}, version, durable=False, exclusive=True) == []


def test_k02_without_a_version_only_what_no_version_has_is_a_fault() -> None:
    assert faults(Q, {"x-delayed-retry-type": "all", "x-delivery-limit": -1}, None) == []
    assert faults(C, {"x-queue-mode": "lazy"}, None)
    assert faults(C, {"x-something-of-5-0": 1}, None) == [], (
        "an argument we have never heard of is the broker's to judge"
    )


def test_k02_a_fault_names_queue_argument_version_and_way_out() -> None:
    (fault,) = faults(Q, {"x-delivery-limit": -1}, (3, 10))
    assert str(fault) == (
        "queue 'orders' (quorum): delivery_limit (x-delivery-limit) = -1 needs RabbitMQ 4.0, this is 3.10; "
        "give another value or leave it out"
    )


@pytest.mark.parametrize(
    ("kind", "having"),
    [
        ("direct", ALL),
        ("topic", ALL),
        ("fanout", ALL),
        ("headers", ALL),
        ("x-consistent-hash", ALL),
        ("x-random", ALL),
        ("x-recent-history", ALL),
        ("x-modulus-hash", ALL),
        ("x-local-random", SINCE_40),
        ("x-of-our-own-plugin", ALL),
    ],
)
def test_k01_exchange_types_by_version(kind: str, having: list[Version]) -> None:
    for version in VERSIONS:
        assert (not list(exchange_faults(Exchange("e", kind), version))) is (version in having)


def test_k01_delayed_exchanges_need_their_argument_and_end_with_4_3() -> None:
    good = Exchange("later", "x-delayed-message", arguments={"x-delayed-type": "topic"})
    assert list(exchange_faults(good, (4, 0))) == []
    (fault,) = exchange_faults(good, (4, 3))
    assert "below RabbitMQ 4.3" in str(fault)
    (fault,) = exchange_faults(Exchange("later", "x-delayed-message"), (4, 0))
    assert "x-delayed-type" in str(fault)


def test_k01_a_misspelt_exchange_type_names_the_nearest() -> None:
    (fault,) = exchange_faults(Exchange("e", "topc"), None)
    assert "did you mean 'topic'?" in str(fault)
    (fault,) = exchange_faults(Exchange("e", "x-consistant-hash"), None)
    assert "did you mean 'x-consistent-hash'?" in str(fault)


@pytest.mark.parametrize(
    ("text", "version"), [("3.10", (3, 10)), ("3.10.8", (3, 10)), ("4.3.6-rc.1", (4, 3)), (" 4.0", (4, 0))]
)
def test_versions_are_read(text: str, version: Version) -> None:
    assert parse_version(text) == version


def test_versions_that_are_none_or_too_old_are_refused() -> None:
    with pytest.raises(SettingsError):
        parse_version("newest")
    with pytest.raises(TopologyUnsupported, match=r"3\.8 is older than 3\.10"):
        parse_version("3.8.9")
