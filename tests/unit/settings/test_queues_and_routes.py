"""S10, S11: `task_queues` and `task_routes` in Celery's forms, kombu's objects among them."""

from __future__ import annotations

import re
import sys
import types

import pytest
from kombu import Exchange, Queue, binding
from kombu.common import Broadcast

from amqtask.errors import SettingsError
from amqtask.settings import RouteSettings, Settings
from amqtask.settings.celery_queues import ARGUMENTS
from tests.unit.settings.helpers import loaded, problem, problems


def only_what_was_set(settings: Settings) -> dict[str, object]:
    return {name: queue.model_dump(exclude_unset=True) for name, queue in settings.queues.items()}


FILES = Exchange("files", type="topic", durable=False, arguments={"alternate-exchange": "lost", "x-a": 1})
LOST = Exchange("lost", type="fanout", auto_delete=True)


def test_kombu_queues_become_queues_and_exchanges() -> None:
    settings = loaded(
        {
            "task_queues": [
                Queue("text", FILES, routing_key="file.text.*"),
                Queue("direct"),
                Queue("lost", LOST, durable=False, exclusive=True, auto_delete=True),
                Queue("own", Exchange("amq.topic"), routing_key="a.#"),
                Queue("named", "other"),
            ]
        }
    )
    assert only_what_was_set(settings) == {
        "text": {"exchange": "files", "routing_key": "file.text.*"},
        "direct": {},
        "lost": {"exchange": "lost", "routing_key": "", "durable": False, "exclusive": True, "auto_delete": True},
        "own": {"exchange": "amq.topic", "routing_key": "a.#"},
        "named": {"exchange": "other", "routing_key": ""},
    }
    files = settings.exchanges["files"]
    assert (files.type, files.durable, files.alternate_exchange, files.arguments) == (
        "topic",
        False,
        "lost",
        {"x-a": 1},
    )
    assert set(settings.exchanges) == {"files", "lost", "other"}
    assert settings.exchanges["lost"].auto_delete is True


def test_bindings_and_their_arguments() -> None:
    meta = Exchange("meta", type="headers")
    settings = loaded(
        {
            "task_queues": (
                Queue("many", bindings=[binding(FILES, "a.*"), binding(meta, arguments={"x-match": "all", "k": 1})]),
                Queue("several", bindings=[binding(FILES, key) for key in "dcab"]),
                Queue("headers", meta, binding_arguments={"x-match": "any", "k": 2}),
            ),
            "exchanges": {"lost": {}},
        }
    )
    assert only_what_was_set(settings) == {
        "many": {
            "bindings": (
                {"exchange": "files", "routing_key": "a.*"},
                {"exchange": "meta", "routing_key": "", "arguments": {"x-match": "all", "k": 1}},
            )
        },
        "several": {"bindings": tuple({"exchange": "files", "routing_key": key} for key in "abcd")},
        "headers": {"bindings": ({"exchange": "meta", "routing_key": "", "arguments": {"x-match": "any", "k": 2}},)},
    }


def test_arguments_become_typed_settings() -> None:
    arguments = {
        "x-queue-type": "quorum", "x-message-ttl": 1500, "x-expires": 60000, "x-delivery-limit": 5,
        "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead", "x-own": "kept",
    }  # fmt: skip
    settings = loaded({"task_queues": [Queue("q", queue_arguments=arguments, max_length=9, expires=60)]})
    assert only_what_was_set(settings) == {
        "q": {
            "type": "quorum", "message_ttl_s": 1.5, "expires_s": 60, "delivery_limit": 5, "max_length": 9,
            "dead_letter_exchange": "", "dead_letter_routing_key": "dead", "arguments": {"x-own": "kept"},
        }
    }  # fmt: skip


def test_the_table_of_arguments_names_settings_that_exist() -> None:
    from amqtask.settings import QueueSettings

    assert {setting for setting, _ in ARGUMENTS.values()} <= set(QueueSettings.model_fields)


def test_celerys_dict_form() -> None:
    settings = loaded(
        {
            "CELERY_QUEUES": {
                "feeds": {"exchange": "feeds", "exchange_type": "topic", "binding_key": "feed.#"},
                "plain": {"exchange": "plain"},
                "direct": {},
                "obj": {"exchange": LOST, "routing_key": "k", "queue_arguments": {"x-max-priority": 5}},
                "loose": {"exchange": "loose", "durable": False, "auto_delete": True, "binding_arguments": {"a": 1}},
            }
        }
    )
    assert only_what_was_set(settings) == {
        "feeds": {"exchange": "feeds", "routing_key": "feed.#"},
        "plain": {"exchange": "plain", "routing_key": "plain"},
        "direct": {},
        "obj": {"exchange": "lost", "routing_key": "k", "max_priority": 5},
        "loose": {
            "durable": False,
            "auto_delete": True,
            "bindings": ({"exchange": "loose", "routing_key": "loose", "arguments": {"a": 1}},),
        },
    }
    assert {name: one.type for name, one in settings.exchanges.items()} == {
        "feeds": "topic", "plain": "direct", "lost": "fanout", "loose": "direct",
    }  # fmt: skip
    assert (settings.exchanges["loose"].durable, settings.exchanges["loose"].auto_delete) == (False, True)


def test_a_queue_without_exchange_gets_celerys_default_one() -> None:
    settings = loaded(
        {
            "task_queues": [Queue("a"), Queue("b", routing_key="k")],
            "task_default_exchange": "x",
            "task_default_routing_key": "d",
        }
    )
    assert only_what_was_set(settings) == {
        "a": {"exchange": "x", "routing_key": "d"},
        "b": {"exchange": "x", "routing_key": "k"},
    }
    assert settings.exchanges["x"].type == "direct"


def test_a_priority_for_all_queues() -> None:
    quorum = Queue("c", queue_arguments={"x-queue-type": "quorum"})
    settings = loaded({"task_queues": [Queue("a"), Queue("b", max_priority=3), quorum], "task_queue_max_priority": 10})
    assert [queue.max_priority for queue in settings.queues.values()] == [10, 3, None]


@pytest.mark.parametrize(
    ("queues", "text"),
    [
        ([Broadcast("all")], "broadcast queues are not in this version"),
        ([Queue("q", no_ack=True)], "no_ack"),
        ([Queue("q", no_declare=True)], "no_declare"),
        ([Queue("q", alias="a")], "an alias"),
        ([Queue("q", consumer_arguments={"x-priority": 1})], "consumer_arguments"),
        ([Queue("q", Exchange("e", delivery_mode=1))], "every message is persistent"),
        ([Queue("q", Exchange("e", no_declare=True))], "not to be declared"),
        ([Queue("q", Exchange("e", "topic")), Queue("r", Exchange("e", "direct"))], "declared twice, differently"),
        ([Queue("q"), Queue("q", max_length=1)], "declared twice, differently"),
        ([Queue("q", max_length=1, queue_arguments={"x-max-length": 2})], "x-max-length 2 and max_length 1"),
        ({"q": {"exchnge": "x"}}, "did you mean 'exchange'?"),
        ({"q": {"no_ack": True}}, "no_ack"),
        ({"q": 5}, "a kombu Queue, a dict or a name"),
        ([{"name": "q"}], "a kombu Queue or a name"),
        (5, "a list or a dict of queues is needed"),
    ],
)
def test_queues_that_cannot_be_had_are_refused(queues: object, text: str) -> None:
    assert text in problem({"task_queues": queues}).text


def test_names_of_queues_are_queues() -> None:
    assert list(loaded({"task_queues": ["a", "b"]}).queues) == ["a", "b"]


# Routes


def spelled(settings: Settings) -> list[object]:
    return [
        rule.model_dump(exclude_unset=True) if isinstance(rule, RouteSettings) else rule for rule in settings.routes
    ]


def decide(name: str, args: object, kwargs: object, options: object, task: object = None, **_: object) -> str | None:
    return "decided" if name == "special" else None


class OldRouter:
    def route_for_task(self, task: str, args: object = None, kwargs: object = None) -> dict[str, object]:
        return {"queue": f"for-{task}"}


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        (None, []),
        ({"a.b": "q"}, [{"task": "a.b", "queue": "q"}]),
        ({"a.*": {"queue": "q", "priority": 3}}, [{"task": "a.*", "queue": "q", "priority": 3}]),
        (
            {re.compile(r"(video|image)\..*"): {"exchange": "m", "routing_key": "k"}},
            [{"task": r"re:(video|image)\..*", "exchange": "m", "routing_key": "k"}],
        ),
        (({"a": "q"}, {"b": "r"}), [{"task": "a", "queue": "q"}, {"task": "b", "queue": "r"}]),
        ([[("a", "q"), ("b*", {"queue": "r"})]], [{"task": "a", "queue": "q"}, {"task": "b*", "queue": "r"}]),
        (([("a", "q")], {"b": "r"}), [{"task": "a", "queue": "q"}, {"task": "b", "queue": "r"}]),
        ([("a", {"queue": "q"})], [{"task": "a", "queue": "q"}]),
        (("a", {"queue": "q"}), [{"task": "a", "queue": "q"}]),
        (decide, [decide]),
        ([decide, {"a": "q"}], [decide, {"task": "a", "queue": "q"}]),
        ({"a": {"queue": Queue("q")}}, [{"task": "a", "queue": "q"}]),
    ],
)
def test_routes_in_celerys_forms(routes: object, expected: list[object]) -> None:
    assert spelled(loaded({"task_routes": routes, "exchanges": {"m": {}}})) == expected


def test_an_exchange_type_in_a_route_declares_the_exchange() -> None:
    settings = loaded({"CELERY_ROUTES": {"a": {"exchange": "x", "exchange_type": "topic", "routing_key": "k"}}})
    assert settings.exchanges["x"].type == "topic"


def test_a_router_by_its_path_is_imported_when_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded({"task_routes": ("late_router.decide", "late_router:OldRouter", OldRouter())})
    first, second, third = settings.routes
    assert callable(first)
    assert callable(second)
    assert callable(third)
    with pytest.raises(SettingsError, match=r"late_router.decide' cannot be imported"):
        first("special", (), {}, {})
    made = types.ModuleType("late_router")
    made.decide, made.OldRouter = decide, OldRouter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "late_router", made)
    assert first("special", (), {}, {}, task=None) == "decided"
    assert second("x", (), {}, {}, task=None) == {"queue": "for-x"}
    assert third("x", (), {}, {}, task=None) == {"queue": "for-x"}


@pytest.mark.parametrize(
    ("routes", "text"),
    [
        ({"a": {"que": "q"}}, "did you mean 'queue'?"),
        ({"a": {"queue": "q", "expires": 5}}, "a route says where a task goes"),
        ({"a": 5}, "a dict or a queue's name"),
        ({5: "q"}, "a task's name or pattern"),
        ([[("a", "q", "r")]], "(task, route) pairs"),
        ("not a path!", "neither a rule nor the import path"),
        (5, "a rule is a dict"),
        ({"a": {"exchange": "x", "exchange_type": 5}}, "unknown key 'exchange_type'"),
    ],
)
def test_routes_that_cannot_be_understood_are_refused(routes: object, text: str) -> None:
    assert text in problem({"task_routes": routes}).text


def test_a_value_in_a_route_is_checked_as_any_other() -> None:
    found = problems({"task_routes": {"a": {"queue": " q", "priority": 300}}})
    assert [(one.where, one.key) for one in found] == [
        ("Python, task_routes", "routes.0.queue"),
        ("Python, task_routes", "routes.0.priority"),
    ]
