"""K06: `AMQTASK_` variables and `_FILE` secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from amqtask.errors import SettingsError
from amqtask.settings import ExchangeSettings, PoolSettings, QueueSettings
from amqtask.settings.environ import known_variables
from tests.unit.settings.helpers import loaded, problem


def test_values_of_all_kinds() -> None:
    settings = loaded(
        environ={
            "AMQTASK_APP": "shop",
            "AMQTASK_BROKER__URL": "amqp://a/;amqp://b/",
            "AMQTASK_PUBLISH__RETRY": "false",
            "AMQTASK_PUBLISH__RETRY_POLICY__INTERVAL_STEP_S": "0.5",
            "AMQTASK_WORKER__CONCURRENCY": "4",
            "AMQTASK_TASKS__IMPORTS": "a,b",
            "AMQTASK_TASKS__ACCEPT_CONTENT": '["json"]',
            "AMQTASK_ROUTES": '[{"task": "a.*", "queue": "q"}]',
            "AMQTASK_QUEUES__Q__ARGUMENTS": '{"x-some": 1}',
            "AMQTASK_POOLS__SLOW__QUEUES": "q",
            "AMQTASK_POOLS__SLOW__PREFETCH": "7",
            "AMQTASK_EXCHANGES__X": '{"type": "topic"}',
        }
    )
    assert settings.app == "shop"
    assert settings.broker.url == "amqp://a/;amqp://b/"
    assert settings.publish.retry is False
    assert settings.publish.retry_policy.interval_step_s == 0.5
    assert settings.worker.concurrency == 4
    assert settings.tasks.imports == ("a", "b")
    assert settings.tasks.accept_content == ("json",)
    assert settings.routes[0].queue == "q"  # type: ignore[union-attr]
    assert settings.queues["q"].arguments == {"x-some": 1}
    assert (settings.pools["slow"].queues, settings.pools["slow"].prefetch) == (("q",), 7)
    assert settings.exchanges["x"].type == "topic"


def test_a_variable_finds_a_declared_name_that_it_cannot_spell() -> None:
    settings = loaded({"queues": {"File.text": {}}}, environ={"AMQTASK_QUEUES__FILE_TEXT__MAX_LENGTH": "5"})
    assert list(settings.queues) == ["File.text"]
    assert settings.queues["File.text"].max_length == 5


def test_a_name_that_reads_like_two_declared_ones_is_its_own() -> None:
    settings = loaded({"queues": {"a.b": {}, "a-b": {}}}, environ={"AMQTASK_QUEUES__A_B__MAX_LENGTH": "5"})
    assert settings.queues["a_b"].max_length == 5


@pytest.mark.parametrize(
    ("variable", "near"),
    [
        ("AMQTASK_BROKER_URL", "AMQTASK_BROKER__URL"),
        ("AMQTASK_BROKER__ULR", "AMQTASK_BROKER__URL"),
        ("AMQTASK_WORKER__CONCURENCY", "AMQTASK_WORKER__CONCURRENCY"),
        ("AMQTASK_CONFG", "AMQTASK_CONFIG"),
    ],
)
def test_c27_a_variable_that_names_no_setting_is_an_error(variable: str, near: str) -> None:
    found = problem(environ={variable: "x"})
    assert (found.key, found.nearest) == (variable, near)


@pytest.mark.parametrize(
    "variable",
    [
        "AMQTASK_SERVICE_HOST",
        "AMQTASK_SERVICE_PORT",
        "AMQTASK_SERVICE_PORT_AMQP",
        "AMQTASK_PORT",
        "AMQTASK_PORT_5672_TCP",
        "AMQTASK_PORT_5672_TCP_ADDR",
        "AMQTASK_WEB_SERVICE_HOST",
        "AMQTASK_TEST_BROKERS",
        "AMQTASKS_OTHER",
        "amqtask_broker__url",
    ],
)
def test_variables_that_are_not_ours_are_left_alone(variable: str) -> None:
    assert loaded(environ={variable: "tcp://10.0.0.1:5672"}) == loaded()


def test_a_secret_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("amqp://u:geheim@h/v\n")
    settings = loaded(environ={"AMQTASK_BROKER__URL_FILE": str(tmp_path / "url"), "AMQTASK_BROKER__URL": "amqp://x"})
    assert settings.broker.url == "amqp://u:geheim@h/v"
    assert "geheim" not in settings.origins["broker.url"]


def test_a_secret_that_cannot_be_read_is_an_error() -> None:
    found = problem(environ={"AMQTASK_BROKER__URL_FILE": "/nowhere/url"})
    assert found.key == "broker.url"
    assert "'/nowhere/url' cannot be read" in found.text


def test_log_file_is_a_setting_and_no_secret() -> None:
    assert loaded(environ={"AMQTASK_LOG__FILE": "/var/log/x"}).log.file == "/var/log/x"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AMQTASK_ROUTES", "a=b"),
        ("AMQTASK_QUEUES__Q__ARGUMENTS", "x"),
        ("AMQTASK_QUEUES__Q", "quorum"),
        ("AMQTASK_BROKER", "x"),
    ],
)
def test_structure_is_given_as_json(variable: str, value: str) -> None:
    assert "JSON" in problem(environ={variable: value}).text


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AMQTASK_QUEUES", "null"),
        ("AMQTASK_BROKER", "5"),
        ("AMQTASK_QUEUES__Q", ""),
        ("AMQTASK_TOPOLOGY__FILES", "[a"),
        ("AMQTASK_WORKER__QUEUES", '["a"'),
        ("AMQTASK_BROKER__URL", "[amqp://a"),
    ],
)
def test_what_is_no_json_or_of_the_wrong_kind_is_refused(variable: str, value: str) -> None:
    found = problem(environ={variable: value})
    assert "JSON" in found.text
    assert found.where == f"env {variable}"


def test_a_list_is_spelled_as_json_or_as_its_type_spells_it() -> None:
    for text in ("amqp://a/;amqp://b/", '["amqp://a/", "amqp://b/"]'):
        assert loaded(environ={"AMQTASK_BROKER__URL": text}).broker.url == "amqp://a/;amqp://b/"
    for text in ("5,true", ' ["5", "true"]'):
        assert loaded(environ={"AMQTASK_WORKER__QUEUES": text}).worker.queues == ("5", "true")
        assert loaded(environ={"AMQTASK_POOLS__P__QUEUES": text}).pools["p"].queues == ("5", "true")
    assert loaded(environ={"AMQTASK_WORKER__QUEUES": ""}).worker.queues is None


def test_the_case_after_the_prefix_does_not_count() -> None:
    settings = loaded(environ={"AMQTASK_Log__Level": "debug", "AMQTASK_queues__Q__MAX_length": "5"})
    assert (settings.log.level, settings.queues["q"].max_length) == ("debug", 5)


def test_text_is_not_taken_for_json() -> None:
    settings = loaded(environ={"AMQTASK_APP": "null", "AMQTASK_TASKS__DEFAULT_QUEUE": "[x]", "AMQTASK_LOG__FILE": "7"})
    assert (settings.app, settings.tasks.default_queue, settings.log.file) == ("null", "[x]", "7")


@pytest.mark.parametrize(
    ("table", "name"),
    [
        (table, name)
        for table, model in (("queues", QueueSettings), ("exchanges", ExchangeSettings), ("pools", PoolSettings))
        for name in model.model_fields
    ],
)
def test_every_key_of_a_declared_name_has_a_variable(table: str, name: str) -> None:
    """Whatever it says: it is the value that holds, or the one that is refused."""
    variable, key = f"AMQTASK_{table}__N__{name}".upper(), f"{table}.n.{name}"
    needed = {"pools.n.queues": ["q"]} if table == "pools" else {}
    try:
        told = {key: loaded(needed, environ={variable: "7"}).origins[key]}
    except SettingsError as error:
        told = {one.key: one.where for one in error.problems}
    assert told == {key: f"env {variable}"}


def test_a_variable_of_this_process_counts_only_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMQTASK_LOG", '{"level": "debug"}')
    monkeypatch.setenv("AMQTASK_LOG__FILE", "x")
    assert loaded(environ={"AMQTASK_LOG": '{"format": "json"}'}).log.model_dump() == {
        "level": "info",
        "format": "json",
        "file": None,
    }


def test_every_fixed_key_has_a_variable() -> None:
    assert "AMQTASK_PUBLISH__RETRY_POLICY__MAX_RETRIES" in known_variables()
    assert len(set(known_variables())) == len(known_variables()) > 30
