"""Names that do not fit together, found offline and all at once (pain 15: nothing is created by a typo)."""

from __future__ import annotations

import pytest

from amqtask.settings import load
from tests.unit.settings.helpers import loaded, problem, problems

DECLARED = {"queues": {"orders": {}, "mails": {}}, "exchanges": {"shop": {"type": "topic"}}}


@pytest.mark.parametrize(
    ("more", "key", "near"),
    [
        ({"pools": {"p": {"queues": ["odrers"]}}}, "pools.p.queues", "orders"),
        ({"worker": {"queues": ["mail"]}}, "worker.queues", "mails"),
        ({"routes": [{"task": "a", "queue": "order"}]}, "routes.0.queue", "orders"),
        ({"tasks": {"default_queue": "celery"}}, "tasks.default_queue", None),
        ({"routes": [{"task": "a", "exchange": "shp"}]}, "routes.0.exchange", "shop"),
        ({"tasks": {"default_exchange": "shops"}}, "tasks.default_exchange", "shop"),
        ({"queues.q.exchange": "shopp"}, "queues.q.exchange", "shop"),
        ({"queues.q.bindings": [{"exchange": "shopp"}]}, "queues.q.bindings", "shop"),
        ({"exchanges.e.bindings": [{"source": "shopp"}]}, "exchanges.e.bindings", "shop"),
    ],
)
def test_pain_15_an_undeclared_name_names_the_nearest(more: dict[str, object], key: str, near: str | None) -> None:
    found = problem({**DECLARED, **more})
    assert (found.key, found.nearest) == (key, near)
    assert "is not declared" in found.text


def test_a_queue_without_a_near_name_lists_what_is_declared() -> None:
    assert "declared: mails, orders" in problem({**DECLARED, "worker.queues": ["xyz"]}).text


def test_as_long_as_no_queue_is_declared_every_name_is_one() -> None:
    settings = loaded(
        {"routes": [{"task": "a", "queue": "x"}], "pools": {"p": {"queues": ["y"]}}, "worker.queues": "z"}
    )
    assert settings.queues == {}


def test_an_untouched_default_queue_need_not_be_declared() -> None:
    assert loaded(DECLARED).tasks.default_queue == "celery"


def test_dead_letter_queues_and_the_brokers_exchanges_are_there() -> None:
    loaded({**DECLARED, "worker.queues": ["orders.dlq"], "queues.q.exchange": "amq.topic"})
    found = problem({"queues": {"q": {"dead_letter": False}}, "worker.queues": ["q.dlq"]})
    assert found.key == "worker.queues"


@pytest.mark.parametrize("table", ["queues", "exchanges"])
def test_names_that_the_broker_keeps_for_itself(table: str) -> None:
    assert "keeps names that begin with 'amq.'" in problem({table: {"amq.mine": {}}}).text


def test_k07_two_pools_do_not_serve_one_queue() -> None:
    found = problem({"pools": {"a": {"queues": ["q", "r"]}, "b": {"queues": ["s", "q"]}}})
    assert (found.key, found.text) == ("pools.b.queues", "queue 'q' is served by pool 'a' already")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"pools": {"a": {"queues": ["q", "q"]}}}, "names a queue twice"),
        ({"pools": {"a": {"queues": []}}}, "names no queue"),
        ({"pools": {"a": {}}}, "is needed"),
        ({"worker.queues": ["q", "q"]}, "names a queue twice"),
        ({"routes": [{"task": "a"}]}, "says nothing"),
        ({"routes": [{"task": "a", "routing_key": "k"}]}, "no queue, exchange or tasks.default_exchange"),
        ({"routes": [{"queue": "q"}]}, "is needed"),
        ({"routes": [{"task": "a", "que": "q"}]}, "did you mean 'queue'?"),
        ({"routes": ["a"]}, "valid dictionary"),
        ({"queues": {"q": {"bindings": [{"exchange": "amq.topic", "key": "x"}]}}}, "unknown setting"),
    ],
)
def test_what_cannot_be_meant(values: dict[str, object], text: str) -> None:
    assert any(text in one.text for one in problems(values))


def test_a_wrong_value_does_not_hide_names_that_do_not_fit() -> None:
    found = problems({**DECLARED, "queues.q.max_length": 0, "worker.queues": ["mail"]})
    assert [one.key for one in found] == ["queues.q.max_length", "worker.queues"]


def test_a_value_of_a_union_is_one_problem() -> None:
    found = problem({"pools": {"p": {"queues": ["1"], "prefetch": "adaptiv"}}, "queues": {"1": {}}})
    assert found.key == "pools.p.prefetch"
    assert found.nearest == "adaptive"


def test_before_the_apps_python_is_read_names_are_not_compared() -> None:
    settings = load(environ={}, overrides={"worker.queues": ["elsewhere"]}, python=DECLARED, complete=False)
    assert settings.worker.queues == ("elsewhere",)
