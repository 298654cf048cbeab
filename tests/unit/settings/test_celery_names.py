"""S10, S11: Celery's names, new and old, each with its fate: ours, held anyway, meaningless, not yet."""

from __future__ import annotations

import sys
import types

import pytest
from celery.app import defaults

from amqtask.settings import Conf
from amqtask.settings.celery_names import canonical, new_names
from amqtask.settings.celery_special import SPECIALS
from amqtask.settings.celery_table import HOLDS, LATER, MAPPED, NEVER, SPECIAL
from amqtask.settings.schema import Kind, place_of, undotted, value_at
from tests.unit.settings.helpers import loaded, problem, problems

CELERY = dict(defaults.flatten(defaults.NAMESPACES))


def test_s10_every_setting_of_celery_is_known() -> None:
    assert set(CELERY) <= new_names()


def test_every_name_has_one_fate() -> None:
    tables = [set(MAPPED), set(SPECIAL), set(HOLDS), set(NEVER), set(LATER)]
    assert sum(len(table) for table in tables) == len(set().union(*tables))
    assert set(SPECIAL) == set(SPECIALS)


def test_what_names_are_mapped_to_exists() -> None:
    assert all(place_of(undotted(key)).kind is Kind.LEAF for key, _ in MAPPED.values())


def test_s11_every_old_name_leads_to_its_new_one() -> None:
    for new, option in CELERY.items():
        names = [pattern.format(new).upper() for pattern in option.old]
        names.append(f"CELERY_{new.upper()}")  # as Django projects write it
        if new.startswith("broker_"):
            names.append(new.upper())
        assert {name: canonical(name) for name in names} == dict.fromkeys(names, new)


VALUES: dict[str, tuple[object, str, object]] = {
    "accept_content": (["json"], "tasks.accept_content", ("json",)),
    "broker_connection_timeout": (7, "broker.connect_timeout_s", 7.0),
    "broker_heartbeat": (30, "broker.heartbeat_s", 30),
    "broker_url": ("amqp://h/v", "broker.url", "amqp://h/v"),
    "imports": (("a", "b"), "tasks.imports", ("a", "b")),
    "include": (["a"], "tasks.imports", ("a",)),
    "task_acks_late": (False, "tasks.ack", "early"),
    "task_compression": ("zlib", "tasks.compression", "gzip"),
    "task_default_priority": (3, "tasks.priority", 3),
    "task_default_queue": ("q", "tasks.default_queue", "q"),
    "task_default_routing_key": ("k", "tasks.default_routing_key", "k"),
    "task_ignore_result": (True, "tasks.ignore_result", True),
    "task_publish_retry": (False, "publish.retry", False),
    "task_serializer": ("json", "tasks.serializer", "json"),
    "worker_concurrency": (3, "worker.concurrency", 3),
    "worker_log_file": ("/x", "log.file", "/x"),
    "worker_log_level": ("INFO", "log.level", "info"),
}


@pytest.mark.parametrize("new", sorted(MAPPED))
def test_s10_a_mapped_name_sets_ours_and_leaves_a_note(new: str) -> None:
    value, key, expected = VALUES[new]
    settings = loaded({new: value})
    assert value_at(settings, undotted(key)) == expected
    assert settings.origins[key] == f"Python, {new}"
    assert settings.notes == (f"Python: {new}: is Celery's name; here: {key}",)


@pytest.mark.parametrize(
    ("old", "value", "key"),
    [
        ("BROKER_URL", "amqp://h", "broker.url"),
        ("CELERY_BROKER_URL", "amqp://h", "broker.url"),
        ("CELERY_ACKS_LATE", True, "tasks.ack"),
        ("CELERY_TASK_ACKS_LATE", True, "tasks.ack"),
        ("CELERY_DEFAULT_QUEUE", "q", "tasks.default_queue"),
        ("CELERY_IMPORTS", ["a"], "tasks.imports"),
        ("CELERY_MESSAGE_COMPRESSION", "gzip", "tasks.compression"),
        ("CELERY_TASK_PUBLISH_RETRY", False, "publish.retry"),
        ("CELERYD_CONCURRENCY", 2, "worker.concurrency"),
        ("CELERYD_LOG_LEVEL", "DEBUG", "log.level"),
    ],
)
def test_s11_an_old_name_sets_ours_too(old: str, value: object, key: str) -> None:
    settings = loaded({old: value})
    assert settings.origins[key] == f"Python, {old}"
    assert any(old in note and key in note for note in settings.notes)


def test_s11_old_and_new_names_and_ours_mix_freely() -> None:
    settings = loaded(
        {"BROKER_URL": "amqp://h", "task_acks_late": True, "worker": {"concurrency": 3}, "log.level": "debug"}
    )
    assert (settings.broker.url, settings.worker.concurrency, settings.log.level) == ("amqp://h", 3, "debug")


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"BROKER_URL": "amqp://a", "broker_url": "amqp://b"}, ("BROKER_URL", "broker_url")),
        ({"broker_url": "amqp://a", "broker.url": "amqp://b"}, ("broker_url", "broker.url")),
        ({"broker": {"url": "amqp://a"}, "CELERY_BROKER_URL": "amqp://b"}, ("broker", "CELERY_BROKER_URL")),
        ({"task_default_exchange": "x", "exchanges": {"x": {"type": "topic"}}}, ("task_default_exchange", "exchanges")),
    ],
)
def test_c11_one_setting_under_two_names_with_two_values_is_an_error(
    values: dict[str, object], names: tuple[str, str]
) -> None:
    found = problem(values)
    assert all(name in str(found) for name in names)


def test_the_same_value_twice_is_no_conflict() -> None:
    assert (
        loaded({"BROKER_URL": "amqp://a", "broker_url": "amqp://a", "broker.url": "amqp://a"}).broker.url == "amqp://a"
    )


def test_imports_and_include_are_one_setting_together() -> None:
    assert loaded({"CELERY_IMPORTS": ("a", "b"), "include": ["b", "c"]}).tasks.imports == ("a", "b", "c")


def test_what_holds_anyway_is_accepted_with_a_note_and_nothing_else_is() -> None:
    unset = loaded().model_dump()
    for new, (values, text) in HOLDS.items():
        for value in values[:3]:
            settings = loaded({new: value})
            assert settings.model_dump() == unset
            assert settings.notes == (f"Python: {new}: nothing to set: {text}",)
        assert text in problem({new: "something else"}).text


def test_what_cannot_be_is_refused_with_its_reason_unless_it_asks_for_nothing() -> None:
    unset = loaded().model_dump()
    for new in (*NEVER, *LATER):
        # Some of them are known by an old name only, as Celery itself has dropped them.
        found = problem({new: "something"})
        assert found.key == new
        assert (NEVER.get(new) or LATER[new]) in found.text
        assert ("this version of amqtask" in found.text) == (new in LATER)
    for nothing in (None, False, {}, (), "", 0):
        settings = loaded(dict.fromkeys((*NEVER, *LATER), nothing))
        assert settings.model_dump() == unset
        assert len(settings.notes) == len(NEVER) + len(LATER)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"CELERY_RESULT_BACKEND": "redis://"}, "does not have: results are not stored yet"),
        ({"CELERY_CACHE_BACKEND": "memory"}, "does not have: results are not stored yet"),
        ({"CELERYBEAT_SCHEDULE": {"a": {}}}, "does not have: schedules are not run yet"),
        ({"CELERYD_TASK_TIME_LIMIT": 60}, "does not have: tasks have no time limits yet"),
        ({"CELERY_TASK_TRACK_STARTED": True}, "does not have"),
        ({"CELERYD_MAX_TASKS_PER_CHILD": 100}, "does not have: executors are not recycled yet"),
        ({"CELERY_TIMEZONE": "Asia/Shanghai"}, "times are in UTC"),
        ({"CELERYD_FORCE_EXECV": True}, "has no meaning here: executors are forked by a template"),
        ({"BROKER_TRANSPORT_OPTIONS": {"visibility_timeout": 90}}, "means nothing on RabbitMQ"),
        ({"broker_transport_options": {"confirm_publish": False}}, "every publish is confirmed"),
        ({"broker_transport_options": {"max_connections": 1}}, "no option of RabbitMQ's transport"),
        ({"CELERYD_PREFETCH_MULTIPLIER": 0}, "prefetch adapts"),
        ({"task_acks_late": "yes"}, "True or False is needed"),
        ({"task_publish_retry_policy": {"max_retry": 1}}, "a retry policy has max_retries"),
        ({"task_queue_max_priority": 10}, "queues.NAME.max_priority"),
        ({"task_default_exchange_type": "topic"}, "needs task_default_exchange"),
    ],
)
def test_s11_what_is_refused_says_why(values: dict[str, object], text: str) -> None:
    assert text in problem(values).text


@pytest.mark.parametrize("name", ["task_max_retries", "task_default_retry_delay", "CELERY_TASK_MAX_RETRIES"])
def test_c27_a_name_that_people_take_for_a_setting_is_none_of_celerys_either(name: str) -> None:
    assert "is not a Celery setting either" in problem({name: 3}).text


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("task_ruotes", "task_routes"),
        ("TASK_ROUTES", "task_routes"),
        ("CELERY_ACK_LATE", "CELERY_ACKS_LATE"),
        ("Broker_Url", "broker_url"),
        ("worker_concurency", "worker_concurrency"),
        ("broker.urls", "broker.url"),
        ("quues", "queues"),
    ],
)
def test_c27_an_unknown_name_names_the_nearest(name: str, near: str) -> None:
    found = problem({name: "x"})
    assert found.nearest == near
    assert f"did you mean {near!r}?" in found.text


def test_the_retry_policy_is_mapped_key_by_key() -> None:
    settings = loaded({"task_publish_retry_policy": {"max_retries": None, "interval_start": 1, "interval_max": 2}})
    policy = settings.publish.retry_policy
    assert (policy.max_retries, policy.interval_start_s, policy.interval_step_s, policy.interval_max_s) == (
        None,
        1,
        0.2,
        2,
    )


def test_celery_3s_address_in_parts_makes_one_url() -> None:
    settings = loaded(
        {"BROKER_HOST": "h", "BROKER_PORT": 5673, "BROKER_USER": "u", "BROKER_PASSWORD": "p/@", "BROKER_VHOST": "/"}
    )
    assert settings.broker.url == "amqp://u:p%2F%40@h:5673/%2F"
    assert problem({"BROKER_HOST": "h", "BROKER_URL": "amqp://x"}).key == "BROKER_HOST and BROKER_URL"


def test_celerys_default_exchange_is_declared() -> None:
    settings = loaded(
        {"task_default_exchange": "x", "task_default_exchange_type": "topic", "task_default_routing_key": "k"}
    )
    assert settings.tasks.default_exchange == "x"
    assert settings.exchanges["x"].type == "topic"


# Modules and objects


def module(source: str) -> types.ModuleType:
    made = types.ModuleType("celeryconfig")
    exec(source, made.__dict__)
    return made


def test_a_module_holds_helpers_and_settings() -> None:
    settings = loaded(
        module(
            "import os\nfrom datetime import timedelta\n_private = 1\nREDIS_HOSTS = ['a']\n"
            "def helper(): ...\nclass Thing: ...\nlog = 5\napp = object()\n"
            "broker_url = 'amqp://h'\nCELERY_IMPORTS = ('a',)\ntask_queues = None\nqueues = {'q': {}}\n"
        )
    )
    assert settings.broker.url == "amqp://h"
    assert settings.origins["broker.url"] == "celeryconfig, broker_url"
    assert list(settings.queues) == ["q"]
    own = [note for note in settings.notes if "a variable of its own" in note]
    assert [note.split(":")[1].strip() for note in own] == ["REDIS_HOSTS", "app", "log"]


@pytest.mark.parametrize("name", ["task_rutes", "worker_concurrent", "CELERY_TYPO", "task_max_retries", "timzone"])
def test_c27_a_name_in_a_module_that_looks_like_a_setting_is_one(name: str) -> None:
    assert problem(module(f"{name} = 1")).key == name


def test_s09_a_module_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "celeryconfig", module("class Shop:\n    task_default_queue = 'shop'\n"))
    assert loaded("celeryconfig:Shop").tasks.default_queue == "shop"
    assert loaded("celeryconfig:Shop").origins["tasks.default_queue"] == "celeryconfig:Shop, task_default_queue"
    assert "cannot be imported" in problem("celeryconfig:Other").text
    assert "leave the .py off" in problem("nowhere_config.py").text


def test_s09_an_object_and_a_class() -> None:
    class Config:
        task_default_queue = "q"

        def method(self) -> None:
            """Not a setting."""

    assert loaded(Config).tasks.default_queue == "q"
    assert loaded(Config()).tasks.default_queue == "q"


def test_s09_a_namespace_as_in_django() -> None:
    django = module(
        "DEBUG = True\nSECRET_KEY = 'x'\nBROKER_URL = 'amqp://not-this'\n"
        "CELERY_BROKER_URL = 'amqp://h'\nCELERY_TASK_ROUTES = {'a': 'q'}\nCELERY_DEFAULT_QUEUE = 'q'\n"
    )
    conf = Conf()
    conf.add_object(django, namespace="CELERY")
    settings = loaded(conf)
    assert settings.broker.url == "amqp://h"
    assert settings.tasks.default_queue == "q"
    conf.add_object(module("CELERY_TSK_ROUTES = 1"), namespace="CELERY")
    assert problems(conf)[0].key == "CELERY_TSK_ROUTES"


def test_a_namespace_of_ours() -> None:
    conf = Conf()
    source = module("AMQTASK_BROKER__URL = 'amqp://h'\nAMQTASK_TASK_DEFAULT_QUEUE = 'q'\nAMQTASK_QUEUES = {'q': {}}")
    conf.add_object(source, namespace="AMQTASK")
    settings = loaded(conf)
    assert (settings.broker.url, settings.tasks.default_queue, list(settings.queues)) == ("amqp://h", "q", ["q"])
