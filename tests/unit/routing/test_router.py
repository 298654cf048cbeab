"""Where a task goes: rules, precedence of options, defaults, and what is refused before anything is sent."""

from __future__ import annotations

import re

import pytest
from kombu import Exchange, Queue

from amqtask.errors import QueueNotDeclared, SettingsError, TopologyError
from amqtask.routing.router import Route, Router
from amqtask.settings import Settings, load
from amqtask.topology.model import Topology

DECLARED = {
    "exchanges": {
        "files": {"type": "topic"},
        "news": {"type": "fanout"},
        "meta": {"type": "headers"},
        "inner": {"type": "direct", "internal": True},
    },
    "queues": {
        "celery": {},
        "feeds": {"exchange": "files", "routing_key": "feed.#"},
        "images": {"exchange": "files", "routing_key": "image.png"},
        "low": {},
    },
}


def router(**values: object) -> Router:
    settings = Settings.model_validate(values)
    return Router(settings, Topology.from_settings(settings))


def test_s39_rules_by_name_glob_and_expression_first_wins() -> None:
    made = router(
        **DECLARED,
        routes=[
            {"task": "feeds.import", "queue": "feeds"},
            {"task": "images.*", "queue": "images"},
            {"task": re.compile(r"(video|audio)\.\w+"), "queue": "low"},
            {"task": "re:.*\\.slow$", "queue": "low"},
            {"task": "images.huge", "queue": "low"},
        ],
    )
    routed = {
        name: made.route(name).queue
        for name in (
            "feeds.import",
            "images.thumb",
            "images.huge",
            "video.cut",
            "my.slow",
            "feeds.import.more",
            "a.video.b",
        )
    }
    assert routed == {
        "feeds.import": "feeds",
        "images.thumb": "images",
        "images.huge": "images",
        "video.cut": "low",
        "my.slow": "low",
        "feeds.import.more": "celery",
        "a.video.b": "celery",
    }


def test_s28_a_queue_alone_is_reached_directly() -> None:
    made = router(**DECLARED)
    assert made.route("t", options={"queue": "feeds"}) == Route("", "feeds", "feeds")
    assert made.route("t") == Route("", "celery", "celery")


def test_s28_a_queue_with_a_routing_key_is_reached_through_its_exchange() -> None:
    made = router(**DECLARED)
    options = {"queue": "feeds", "routing_key": "feed.import"}
    assert made.route("t", options=options) == Route("files", "feed.import", "feeds")
    assert made.route("t", options={"queue": "low", "routing_key": "feed.import"}) == Route("", "low", "low")
    assert made.route("t", options={"queue": "feeds", "routing_key": "feeds"}) == Route("", "feeds", "feeds")
    with pytest.raises(TopologyError, match=r"'image\.png' does not reach queue 'feeds' through its exchange 'files'"):
        made.route("t", options={"queue": "feeds", "routing_key": "image.png"})


def test_s28_exchange_and_key_without_a_queue() -> None:
    made = router(**DECLARED, routes=[{"task": "f.*", "exchange": "files", "routing_key": "feed.x"}])
    assert made.route("f.a") == Route("files", "feed.x", None)
    assert made.route("t", options={"exchange": "news"}) == Route("news", "", None)
    assert made.route("t", options={"exchange": "meta"}) == Route("meta", "", None)
    assert made.route("t", options={"exchange": "amq.topic", "routing_key": "k"}) == Route("amq.topic", "k", None)
    assert made.route("t", options={"exchange": "", "routing_key": "low"}) == Route("", "low", "low")
    assert made.route("t", options={"exchange": "files", "queue": "images"}) == Route("files", "image.png", "images")


def test_s28_a_routing_key_alone_goes_to_the_default_exchange() -> None:
    assert router(**DECLARED).route("t", options={"routing_key": "low"}) == Route("", "low", "low")
    by_exchange = router(**DECLARED, tasks={"default_exchange": "files", "default_routing_key": "feed.default"})
    assert by_exchange.route("t") == Route("files", "feed.default", "celery")
    assert by_exchange.route("t", options={"routing_key": "feed.x"}) == Route("files", "feed.x", None)
    through = router(**DECLARED, tasks={"default_queue": "feeds"})
    assert through.route("t", options={"routing_key": "feed.x"}) == Route("files", "feed.x", None)


def test_precedence_call_task_rule_default() -> None:
    made = router(**DECLARED, routes=[{"task": "t", "queue": "images", "priority": 1}], tasks={"priority": 9})
    assert made.route("other") == Route("", "celery", "celery", 9)
    assert made.route("t") == Route("", "images", "images", 1)
    assert made.route("t", task_options={"queue": "low", "priority": 2}) == Route("", "low", "low", 2)
    both = made.route("t", options={"queue": "feeds", "priority": 0}, task_options={"queue": "low", "priority": 2})
    assert both == Route("", "feeds", "feeds", 0)
    assert made.route("t", options={"queue": None, "priority": None}) == made.route("t"), "None says nothing"


def test_precedence_the_destination_is_one_decision() -> None:
    made = router(**DECLARED, routes=[{"task": "t", "exchange": "files", "routing_key": "feed.x"}])
    assert made.route("t", options={"queue": "low"}) == Route("", "low", "low"), "the rule's exchange bends no queue"
    assert made.route("t", options={"routing_key": "feed.y"}) == Route("files", "feed.y", None), "a key alone refines"
    refined = made.route("t", options={"routing_key": "feed.y"}, task_options={"queue": "feeds"})
    assert refined == Route("files", "feed.y", "feeds")


def test_s39_callables_have_celerys_signature_and_their_place() -> None:
    asked: list[tuple[object, ...]] = []

    def by_size(name: str, args: object, kwargs: object, options: object, task: object = None, **kw: object) -> object:
        asked.append((name, args, kwargs, options, task, kw))
        if name == "grow":
            return {"exchange": "files", "routing_key": f"feed.{args[0]}"}  # type: ignore[index]
        return "low" if name == "small" else None

    made = router(**DECLARED, routes=[{"task": "first", "queue": "images"}, by_size, {"task": "*", "queue": "feeds"}])
    assert made.route("first").queue == "images"
    assert asked == [], "a rule before it has decided"
    assert made.route("small", (1,), {"a": 2}, {"expires": 5}, task="T").queue == "low"
    assert asked == [("small", (1,), {"a": 2}, {"expires": 5}, "T", {})]
    assert made.route("other").queue == "feeds", "None passes on to the next rule"
    assert made.route("grow", ("a",)).routing_key == "feed.a"
    assert made.route("grow", ("b",)).routing_key == "feed.b", "what a callable said is not remembered"


def test_s39_celerys_task_routes_keep_their_meaning() -> None:
    routes = {"a.*": {"queue": "low"}, "a.b": {"queue": "feeds"}, re.compile("c"): {"queue": "images"}}
    settings = load(
        python={"task_routes": routes, "queues": DECLARED["queues"], "exchanges": DECLARED["exchanges"]}, environ={}
    )
    made = Router(settings, Topology.from_settings(settings))
    assert [made.route(name).queue for name in ("a.b", "a.c", "c.d")] == ["feeds", "low", "images"]


def test_s39_a_callables_exchange_type_must_be_the_declared_one() -> None:
    def by_kind(name: str, *_: object, **__: object) -> object:
        return {"exchange": "files", "exchange_type": name, "routing_key": "feed.x"}

    made = router(**DECLARED, routes=[by_kind])
    assert made.route("topic") == Route("files", "feed.x", None)
    with pytest.raises(TopologyError, match="'files' is declared as topic, not as direct"):
        made.route("direct")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"queu": "low"}, "unknown key 'queu'; did you mean 'queue'"),
        (42, "must be a dict, the name of a queue, or None, not int"),
        ({"queue": 5}, "queue must be text"),
        ({"priority": 300}, "priority must be a whole number from 0 to 255"),
    ],
)
def test_a_callables_odd_answer_is_named(answer: object, text: str) -> None:
    def pick(*_: object, **__: object) -> object:
        return answer

    with pytest.raises(SettingsError, match=text):
        router(**DECLARED, routes=[pick]).route("t")


def test_s39_kombu_objects_in_options_stand_for_their_names() -> None:
    made = router(**DECLARED)
    assert made.route("t", options={"queue": Queue("low")}) == Route("", "low", "low")
    options = {"exchange": Exchange("files", "topic"), "routing_key": "feed.x"}
    assert made.route("t", options=options) == Route("files", "feed.x", None)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"queue": "feedz"}, QueueNotDeclared, "did you mean 'feeds'"),
        ({"exchange": "file", "routing_key": "x"}, TopologyError, "did you mean 'files'"),
        ({"exchange": "files"}, TopologyError, "needs a routing_key"),
        ({"exchange": "inner", "routing_key": "x"}, TopologyError, "is internal"),
        ({"exchange": "", "routing_key": "lo"}, QueueNotDeclared, "did you mean 'low'"),
        ({"exchange": "", "routing_key": "low", "queue": "feeds"}, TopologyError, "not to 'feeds'"),
        ({"routing_key": "nowhere.at.all"}, QueueNotDeclared, "nowhere"),
        ({"exchange": ""}, TopologyError, "needs a routing_key"),
        ({"priority": 256}, SettingsError, "from 0 to 255"),
        ({"priority": True}, SettingsError, "from 0 to 255"),
    ],
)
def test_pain_15_what_does_not_exist_is_refused_before_it_is_sent(
    options: dict[str, object], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        router(**DECLARED).route("t", options=options)


@pytest.mark.parametrize(
    "rule",
    [
        {"task": "t", "exchange": "file", "routing_key": "x"},
        {"task": "t", "exchange": "files"},
        {"task": "t", "exchange": "inner", "routing_key": "x"},
    ],
)
def test_pain_15_a_rule_to_nowhere_is_refused_before_any_task_is_sent(rule: dict[str, str]) -> None:
    with pytest.raises(TopologyError):
        router(**DECLARED, routes=[rule])


def test_s41_the_default_queue_must_be_declared_once_others_are() -> None:
    made = router(queues={"feeds": {}})
    with pytest.raises(QueueNotDeclared, match="'celery'"):
        made.route("t")
    assert made.route("t", options={"queue": "feeds"}).queue == "feeds"


def test_s28_where_nothing_is_declared_a_call_may_name_any_queue() -> None:
    assert router().route("t", options={"queue": "new"}) == Route("", "new", "new")
    with pytest.raises(SettingsError, match="blank"):
        router().route("t", options={"queue": " new"})


def test_answers_are_remembered_without_end() -> None:
    made = router(**DECLARED, routes=[{"task": "*", "exchange": "files", "routing_key": "feed.x"}])
    first = made.route("t")
    assert made.route("t") is first
    for number in range(10_000):
        made.route("t", options={"routing_key": f"feed.{number}"})
    assert len(made._cache) <= 4096
