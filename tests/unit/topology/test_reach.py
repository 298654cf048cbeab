"""The matching rules of the four exchange types, without a broker; a broker test holds them to RabbitMQ's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.errors import TopologyError
from amqtask.settings import Settings
from amqtask.topology.model import Topology
from amqtask.topology.reach import headers_match, patterns_overlap, queues_reached, topic_matches


@pytest.mark.parametrize(
    ("pattern", "taken", "left"),
    [
        ("file.text.*", ["file.text.md", "file.text."], ["file.text", "file.text.a.b", "file.image.md"]),
        ("file.#", ["file", "file.a", "file.a.b"], ["fil", "a.file", ""]),
        ("#", ["", "a", "a.b"], []),
        ("*", ["a"], ["", "a.b"]),
        ("#.end", ["end", "a.end", "a.b.end"], ["end.a", ""]),
        ("a.#.z", ["a.z", "a.b.z", "a.b.c.z"], ["a", "z", "a.z.b"]),
        ("a.*.#", ["a.b", "a.b.c"], ["a"]),
        ("", [""], ["a"]),
        ("a", ["a"], ["", "b", "a.a"]),
    ],
)
def test_k03_topic_patterns(pattern: str, taken: list[str], left: list[str]) -> None:
    assert [key for key in taken if not topic_matches(pattern, key)] == []
    assert [key for key in left if topic_matches(pattern, key)] == []


WORDS = st.lists(st.sampled_from(["a", "b", "*", "#"]), min_size=1, max_size=4).map(".".join)
KEYS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=5).map(".".join)


@given(WORDS, WORDS, KEYS)
def test_patterns_that_take_one_key_both_overlap(one: str, other: str, key: str) -> None:
    if topic_matches(one, key) and topic_matches(other, key):
        assert patterns_overlap(one, other)
    assert patterns_overlap(one, other) == patterns_overlap(other, one)


def test_patterns_that_share_no_key_do_not_overlap() -> None:
    assert not patterns_overlap("file.text.*", "file.image.*")
    assert not patterns_overlap("a.*", "a.*.#.b.c")
    assert patterns_overlap("file.*.md", "file.text.*")


@pytest.mark.parametrize(
    ("arguments", "taken", "left"),
    [
        ({"x-match": "all", "a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}, {"a": 1}),
        ({"a": 1}, {"a": 1}, {"a": 2}),
        ({"x-match": "any", "a": 1, "b": 2}, {"b": 2}, {"a": 2}),
        ({"x-match": "all", "x-a": 1, "b": 2}, {"b": 2}, {"x-a": 1}),
        ({"x-match": "all-with-x", "x-a": 1, "b": 2}, {"x-a": 1, "b": 2}, {"b": 2}),
        ({"x-match": "any-with-x", "x-a": 1}, {"x-a": 1}, {}),
        ({"x-match": "any", "x-a": 1}, None, {"x-a": 1}),
        ({"x-match": "all", "a": None}, {"a": "whatever"}, {}),
    ],
)
def test_k03_headers_forms(
    arguments: dict[str, object], taken: dict[str, object] | None, left: dict[str, object]
) -> None:
    assert taken is None or headers_match(arguments, taken)
    assert not headers_match(arguments, left)


def made() -> Topology:
    return Topology.from_settings(
        Settings.model_validate(
            {
                "exchanges": {
                    "in": {"type": "topic", "alternate_exchange": "rest"},
                    "rest": {"type": "fanout"},
                    "sub": {"type": "direct", "bindings": [{"source": "in", "routing_key": "sub.#"}]},
                    "meta": {"type": "headers"},
                    "hash": {"type": "x-consistent-hash"},
                    "loop": {"type": "fanout", "bindings": [{"source": "loop"}, {"source": "rest"}]},
                },
                "queues": {
                    "text": {"bindings": [{"exchange": "in", "routing_key": k} for k in ("text.*", "#.md")]},
                    "exact": {"exchange": "sub", "routing_key": "sub.one"},
                    "others": {"exchange": "rest"},
                    "looped": {"exchange": "loop"},
                },
            }
        )
    )


@pytest.mark.parametrize(
    ("exchange", "key", "queues"),
    [
        ("in", "text.md", {"text"}),
        ("in", "sub.one", {"exact"}),
        ("in", "sub.two", set()),  # a binding matched at `in`, so its alternate exchange is not asked
        ("in", "unknown", {"others", "looped"}),
        ("", "text", {"text"}),
        ("", "nothing", set()),
        ("loop", "", {"looped"}),
        ("meta", "", None),
        ("hash", "1", None),
    ],
)
def test_k03_where_a_message_ends(exchange: str, key: str, queues: set[str] | None) -> None:
    assert queues_reached(made(), exchange, key) == queues


def test_k03_an_unknown_exchange_reaches_nothing() -> None:
    with pytest.raises(TopologyError, match="did you mean 'rest'"):
        queues_reached(made(), "rst", "k")
