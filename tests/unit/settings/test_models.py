"""Types, ranges and names of single values."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from amqtask.settings import QueueSettings, RouteSettings, Settings
from tests.unit.settings.helpers import loaded, problem

URL = "amqp://guest:guest@localhost:5672//"


def test_defaults() -> None:
    settings = Settings()
    assert settings.broker.url == URL
    assert settings.publish.deadline_s == 5
    assert settings.publish.retry_policy.max_retries == 3
    assert settings.tasks.default_queue == "celery"
    assert settings.tasks.ack == "late"
    assert settings.worker.max_crashes == 3
    assert settings.topology.mode == "manage"
    assert (settings.queues, settings.exchanges, settings.routes, settings.pools) == ({}, {}, (), {})
    assert settings.origins == {}
    assert settings.notes == ()


def test_settings_are_immutable() -> None:
    with pytest.raises(ValidationError):
        Settings().broker.url = "amqp://elsewhere"  # type: ignore[misc]


@pytest.mark.parametrize(
    "value", ["amqp://a/;amqp://b/", ["amqp://a/", "amqp://b/"], ("amqp://a/", "amqp://b/")], ids=type
)
def test_s04_several_broker_urls_are_one_string(value: object) -> None:
    assert loaded({"broker": {"url": value}}).broker.url == "amqp://a/;amqp://b/"


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("worker.concurrency", 0, "greater than or equal to 1"),
        ("worker.concurrency", True, "a number is needed"),
        ("worker.concurrency", "many", "valid integer"),
        ("tasks.priority", 256, "less than or equal to 255"),
        ("tasks.priority", -1, "greater than or equal to 0"),
        ("publish.deadline_s", 0, "greater than 0"),
        ("publish.deadline_s", float("inf"), "finite"),
        ("publish.max_body_bytes", 0, "greater than or equal to 1"),
        ("broker.url", "  ", "must not be empty"),
        ("broker.url", [], "must not be empty"),
        ("broker.version", "four", "match pattern"),
        ("tasks.default_queue", " b", "blanks at an edge"),
        ("tasks.default_queue", "", "must not be empty"),
        ("tasks.default_queue", "x" * 256, "longer than 255 bytes"),
        ("tasks.default_queue", "a\nb", "control characters"),
        ("worker.queues", ["a", " b"], "blanks at an edge"),
        ("tasks.serializer", "pickle", "'json'"),
        ("tasks.accept_content", ["json", "pickle"], "'json'"),
        ("tasks.compression", "zstd", "'gzip' or 'bzip2'"),
        ("log.level", "warn", "'warning'"),
        ("topology.mode", "mange", "did you mean 'manage'?"),
        ("pools.p.kind", "threads", "'prefork'"),
        ("pools.p.prefetch", 0, "greater than or equal to 1"),
        ("queues.q.max_age", "7 days", "match pattern"),
        ("queues.q.max_priority", 0, "greater than or equal to 1"),
        ("queues.q.overflow", "drop", "'drop-head'"),
    ],
)
def test_a_wrong_value_is_an_error_with_its_key(key: str, value: object, text: str) -> None:
    more = {"pools.p.queues": ["celery"]} if key.startswith("pools") else {}
    found = problem({key: value, **more})
    assert found.key.startswith(key), found
    assert text in found.text


def test_c02_a_list_of_queues_is_trimmed_where_commas_make_it() -> None:
    assert loaded(environ={"AMQTASK_WORKER__QUEUES": "a, b ,c,"}).worker.queues == ("a", "b", "c")


def test_a_declared_name_has_no_blanks() -> None:
    found = problem({"queues": {" a": {}}})
    assert found.key == 'queues." a"'
    assert "did you mean 'a'?" in found.text


def test_durations_may_be_timedeltas() -> None:
    assert loaded({"worker.drain_s": timedelta(minutes=2)}).worker.drain_s == 120


@pytest.mark.parametrize("word", ["none", "None", ""])
def test_none_is_a_word_where_there_is_no_null(word: str) -> None:
    said = {"worker.pidfile": "/x", "publish.retry_policy": {"max_retries": 5}, "tasks.compression": "gzip"}
    variables = ("AMQTASK_WORKER__PIDFILE", "AMQTASK_PUBLISH__RETRY_POLICY__MAX_RETRIES")
    settings = loaded(said, environ=dict.fromkeys(variables, word))
    assert settings.worker.pidfile is None
    assert settings.publish.retry_policy.max_retries is None


def test_a_queue_may_be_called_none() -> None:
    assert RouteSettings(task="a", queue="none").queue == "none"
    assert QueueSettings(routing_key="none").routing_key == "none"


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (re.compile(r"images\..*"), r"re:images\..*"),
        (re.compile("images", re.IGNORECASE | re.DOTALL), "re:(?is)images"),
        ("images.*", "images.*"),
    ],
)
def test_a_rule_is_text_whatever_it_was(rule: object, text: str) -> None:
    route = RouteSettings.model_validate({"task": rule, "queue": "q"})
    assert route.task == text
    if text.startswith("re:"):
        assert re.compile(text[3:]).match("images.scale" if "(?" not in text else "IMAGES")


def test_a_broken_pattern_is_an_error() -> None:
    found = problem({"routes": [{"task": "re:(", "queue": "q"}]})
    assert found.key == "routes.0.task"
    assert "not a regular expression" in found.text


@pytest.mark.parametrize(
    ("name", "ours"), [("zlib", "gzip"), ("application/x-gzip", "gzip"), ("bz2", "bzip2"), ("none", None)]
)
def test_compressions_have_kombus_names_too(name: str, ours: str | None) -> None:
    assert loaded({"tasks.compression": name}).tasks.compression == ours


def test_content_types_stand_for_serializers() -> None:
    settings = loaded({"accept_content": ["application/json"], "task_serializer": "application/json"})
    assert (settings.tasks.accept_content, settings.tasks.serializer) == (("json",), "json")


def modules_after_load(sources: str, names: tuple[str, ...]) -> list[str]:
    """Which of these modules a process has that did nothing but load its settings."""
    script = (
        f"import sys; from amqtask.settings import load; load({sources});"
        f"print(*[name for name in {names} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return result.stdout.split()


def test_importing_the_settings_costs_pydantic_and_little_more() -> None:
    """Every program that sends a task pays for it; kombu, pika and what pydantic-settings drags in have no part."""
    heavy = ("kombu", "celery", "pika", "asyncio", "ssl", "pydantic_settings", "click", "structlog")
    assert modules_after_load("environ={}, python={'task_default_queue': 'q'}", heavy) == []


@pytest.mark.parametrize(
    "sources", ["environ={'AMQTASK_LOG__LEVEL': 'info'}", "environ={}, config_file='amqtask.toml'"]
)
def test_the_library_is_loaded_to_read_a_file_or_a_variable(sources: str, tmp_path: Path) -> None:
    (tmp_path / "amqtask.toml").write_text("")
    assert modules_after_load(sources, ("pydantic_settings", "kombu", "pika", "click")) == ["pydantic_settings"]
