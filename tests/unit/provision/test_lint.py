"""What lint says about configurations, without a broker."""

from __future__ import annotations

import pytest

from amqtask.provision.lint import Finding, lint
from amqtask.settings import Settings


def findings(**values: object) -> list[Finding]:
    version = {"broker": {"version": "3.13"}}
    return lint(Settings.model_validate({**version, **values}))


CLEAN: dict[str, object] = {
    "exchanges": {"files": {"type": "topic", "alternate_exchange": "rest"}, "rest": {"type": "fanout"}},
    "queues": {
        "celery": {},
        "text": {"exchange": "files", "routing_key": "file.text.*"},
        "others": {"exchange": "rest"},
    },
    "routes": [{"task": "index.text", "exchange": "files", "routing_key": "file.text.x"}],
    "pools": {"all": {"queues": ["celery", "text", "others"]}},
}


def test_a_configuration_without_faults_is_silent() -> None:
    assert findings(**CLEAN) == []
    assert findings() == []


@pytest.mark.parametrize(
    ("values", "level", "where", "text"),
    [
        ({"exchanges": {"lone": {}}}, "warning", "exchanges.lone", "nothing is bound to it"),
        ({"exchanges": {"lone": {"alternate_exchange": "amq.fanout"}}}, "note", "exchanges.lone", "all goes to"),
        (
            {"exchanges": {"e": {"durable": False}}, "queues": {"celery": {"exchange": "e"}}},
            "warning",
            "exchanges.e",
            "not durable",
        ),
        (
            {"queues": {"celery": {}, "b": {}}, "pools": {"p": {"queues": ["celery"]}}},
            "note",
            "queues.b",
            "no pool of this configuration consumes it",
        ),
        ({"queues": {"celery": {"dead_letter": False}}}, "warning", "queues.celery", "no dead-letter queue"),
        ({"queues": {"celery": {"type": "quorum"}}}, "note", "queues.celery", "no delivery_limit"),
        ({"queues": {"celery": {"durable": False}}}, "warning", "queues.celery", "neither durable nor exclusive"),
        ({"queues": {"a": {}}}, "warning", "tasks.default_queue", "'celery' is not declared"),
        (
            {"queues": {"celery": {"type": "quorum", "max_priority": 5, "delivery_limit": 9}}},
            "error",
            "topology",
            "does not exist for quorum queues",
        ),
        (
            {"queues": {"celery": {"type": "quorum", "delivery_limit": -1}}},
            "error",
            "topology",
            "needs RabbitMQ 4.0, this is 3.13",
        ),
        (
            {"queues": {"celery": {"exchange": "amq.direct", "routing_key": "a"}}, "exchanges": {"amq.direct": {}}},
            None,
            "",
            "",
        ),
        (
            {"exchanges": {"d": {}}, "queues": {"celery": {"exchange": "d", "routing_key": "a.*"}}},
            "warning",
            "queues.celery",
            "'a.*' literally",
        ),
        (
            {"exchanges": {"h": {"type": "headers"}}, "queues": {"celery": {"exchange": "h"}}},
            "warning",
            "queues.celery",
            "names no header",
        ),
        (
            {
                "exchanges": {"t": {"type": "topic"}},
                "queues": {"celery": {"bindings": [{"exchange": "t", "routing_key": "a", "arguments": {"b": 1}}]}},
            },
            "warning",
            "queues.celery",
            "does not look at the binding's arguments",
        ),
        (
            {"exchanges": {"f": {"type": "fanout"}}, "queues": {"celery": {"exchange": "f", "routing_key": "a"}}},
            "note",
            "queues.celery",
            "does not look at the routing key",
        ),
        (
            {
                "exchanges": {"t": {"type": "topic"}},
                "queues": {
                    "celery": {"exchange": "t", "routing_key": "a.*"},
                    "all": {"exchange": "t", "routing_key": "#"},
                },
            },
            "warning",
            "exchanges.t",
            "overlap: a key that both take runs its task in both",
        ),
        (
            {
                "exchanges": {"t": {"type": "topic"}},
                "queues": {"celery": {"bindings": [{"exchange": "t", "routing_key": key} for key in ("a.#", "a.b")]}},
            },
            "note",
            "exchanges.t",
            "'a.b' of queue 'celery' adds nothing",
        ),
        (
            {
                "exchanges": {"t": {"type": "topic"}},
                "queues": {"celery": {"exchange": "t", "routing_key": "a.*"}},
                "routes": [{"task": "x", "exchange": "t", "routing_key": "b.c"}],
            },
            "error",
            "routes[0]",
            "'b.c' reaches no queue through exchange 't'",
        ),
        (
            {
                "exchanges": {"f": {"type": "fanout"}},
                "queues": {"celery": {"exchange": "f"}, "b": {"exchange": "f"}},
                "routes": [{"task": "x", "exchange": "f"}],
            },
            "warning",
            "routes[0]",
            "reaches b, celery: the task runs in each of them",
        ),
        ({"routes": [{"task": "x", "exchange": "nope"}]}, "error", "routes[0]", "'nope' is not declared"),
        (
            {"routes": [{"task": "a.*", "queue": "celery"}, {"task": "a.b", "queue": "celery"}]},
            "warning",
            "routes[1]",
            "never decides: routes[0]",
        ),
        (
            {"routes": [{"task": "a", "queue": "celery"}, {"task": "a", "queue": "b"}]},
            "warning",
            "routes[1]",
            "never decides: routes[0]",
        ),
        (
            {"queues": {"celery": {}}, "routes": [{"task": "a", "queue": "celery", "priority": 5}]},
            "warning",
            "routes[0]",
            "has no max_priority",
        ),
        (
            {"queues": {"celery": {}}, "worker": {"queues": ["celry"]}},
            "error",
            "worker.queues",
            "did you mean 'celery'",
        ),
    ],
)
def test_each_fault_is_found(values: dict[str, object], level: str | None, where: str, text: str) -> None:
    found = findings(**values)
    if level is None:
        assert found == []
        return
    assert [one for one in found if (one.level, one.where) == (level, where) and text in one.text], found


def test_errors_come_first_and_without_a_version_that_is_said() -> None:
    found = lint(
        Settings.model_validate({"queues": {"a": {"dead_letter": False, "arguments": {"x-queue-mode": "lazy"}}}})
    )
    assert [one.level for one in found] == ["error", "warning", "warning", "note"]
    assert found[-1].where == "broker.version"
    assert str(found[0]).startswith("error: topology: queue 'a' (classic): x-queue-mode does not exist for any queue")
