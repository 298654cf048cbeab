"""A refused declaration, explained from the broker's words and from the live object."""

from __future__ import annotations

import pytest

from amqtask.errors import TopologyConflict, TopologyError, TopologyUnsupported
from amqtask.topology.conflict import differences, refusal
from amqtask.topology.values import Exchange, Queue

HEAD = "PRECONDITION_FAILED - inequivalent arg"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            f"{HEAD} 'x-max-length' for queue 'q' in vhost '/': received '6' but current is '5'",
            {"x-max-length": (6, 5)},
        ),
        (
            f"{HEAD} 'x-max-length' for queue 'q' in vhost 'it''s': received none but current is the value '5' of type "
            "'signedint'",
            {"x-max-length": (None, 5)},
        ),
        (
            f"{HEAD} 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'",
            {"durable": (False, True)},
        ),
        (
            f"{HEAD} 'type' for exchange 'q' in vhost '/': received 'direct' but current is 'topic'",
            {"type": ("direct", "topic")},
        ),
        (
            f"{HEAD} 'alternate-exchange' for exchange 'q' in vhost '/': received the value 'x' of type 'longstr' "
            "but current is none",
            {"alternate-exchange": ("x", None)},
        ),
    ],
)
def test_k05_a_406_is_read_from_the_brokers_words(text: str, found: dict[str, tuple[object, object]]) -> None:
    error = refusal(text, Queue("q"))
    assert isinstance(error, TopologyConflict)
    assert error.differences == found


def test_k05_with_the_live_queue_every_field_is_told() -> None:
    declared = Queue("q", arguments={"x-max-length": 6, "x-overflow": "drop-head"})
    live = Queue("q", durable=False, arguments={"x-queue-type": "classic", "x-max-length": 5, "x-expires": 1000})
    error = refusal(
        f"{HEAD} 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'", declared, live
    )
    assert isinstance(error, TopologyConflict)
    assert error.differences == {
        "durable": (True, False),
        "x-max-length": (6, 5),
        "x-overflow": ("drop-head", None),
        "x-expires": (None, 1000),
    }
    assert str(error).splitlines() == [
        "queue 'q' exists and differs:",
        "  durable: declared True, live False",
        "  max_length (x-max-length): declared 6, live 5",
        "  overflow (x-overflow): declared 'drop-head', live nothing",
        "  expires_s (x-expires): declared nothing, live 1000",
        "Nothing was changed. Make the configuration say what is there, "
        "or replace it: amqtask topology apply --recreate",
    ]


def test_k05_the_type_of_a_queue_that_does_not_say_it() -> None:
    quorum = Queue("q", arguments={"x-queue-type": "quorum"})
    assert differences(Queue("q"), Queue("q", arguments={"x-queue-type": "classic"})) == {}
    assert differences(Queue("q"), quorum) == {"x-queue-type": ("classic", "quorum")}
    assert differences(Queue("q"), quorum, default_queue_type="quorum") == {}
    assert differences(quorum, Queue("q")) == {"x-queue-type": ("quorum", "classic")}


def test_k05_exchanges_differ_in_their_own_fields() -> None:
    assert differences(
        Exchange("e", "topic", arguments={"alternate-exchange": "a"}), Exchange("e", "direct", internal=True)
    ) == {"type": ("topic", "direct"), "internal": (False, True), "alternate-exchange": ("a", None)}


@pytest.mark.parametrize(
    ("text", "kind", "part"),
    [
        (
            "PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'q' in vhost '/' of queue type "
            "rabbit_quorum_queue",
            TopologyUnsupported,
            "cannot have it",
        ),
        (
            "PRECONDITION_FAILED - invalid property 'exclusive-owner' for queue 'q' in vhost '/'",
            TopologyUnsupported,
            "exclusive-owner",
        ),
        ("COMMAND_INVALID - unknown exchange type 'x-random'", TopologyUnsupported, "x-random"),
        (
            "INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated.",
            TopologyUnsupported,
            "transient_nonexcl_queues",
        ),
        (
            "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'.",
            TopologyConflict,
            "exclusive to another connection",
        ),
        ("PRECONDITION_FAILED - something new", TopologyError, "something new"),
    ],
)
def test_k05_other_refusals(text: str, kind: type[TopologyError], part: str) -> None:
    error = refusal(text, Queue("q"))
    assert type(error) is kind
    assert part in str(error)
