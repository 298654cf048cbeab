"""S06: `app.conf`, by our names and Celery's, as items and attributes, checked as it is assigned."""

from __future__ import annotations

import types

import pytest

from amqtask.errors import SettingsError
from amqtask.settings import Conf
from tests.unit.settings.helpers import loaded, problem


def test_s06_every_way_to_assign() -> None:
    conf = Conf()
    conf.task_default_queue = "a"
    conf.CELERY_ACKS_LATE = False
    conf["broker.heartbeat_s"] = 30
    conf.broker.connect_timeout_s = 7
    conf.publish.retry_policy.max_retries = 9
    conf.queues["a"] = {"type": "quorum"}
    conf['queues."a".delivery_limit'] = 4
    conf.update({"worker": {"concurrency": 2}}, log={"level": "debug"}, task_routes={"x": "a"})
    settings = loaded(conf)
    assert settings.tasks.default_queue == "a"
    assert settings.tasks.ack == "early"
    assert (settings.broker.heartbeat_s, settings.broker.connect_timeout_s) == (30, 7)
    assert settings.publish.retry_policy.max_retries == 9
    assert (settings.queues["a"].type, settings.queues["a"].delivery_limit) == ("quorum", 4)
    assert (settings.worker.concurrency, settings.log.level) == (2, "debug")
    assert settings.origins["tasks.ack"] == "app.conf, CELERY_ACKS_LATE"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("task_defualt_queue", "a", "did you mean 'task_default_queue'?"),
        ("broker.urls", "a", "did you mean 'broker.url'?"),
        ("queues.a.tpye", "a", "did you mean 'queues.a.type'?"),
        ("worker", {"conc": 1}, "worker.conc"),
        ("task_max_retries", 3, "not a Celery setting either"),
        ("result_backend", "rpc://", "does not have"),
        ("task_routes", {"a": {"que": 1}}, "did you mean 'queue'?"),
        (".", 1, "unknown setting"),
        ("", 1, "unknown setting"),
    ],
)
def test_c27_a_wrong_name_is_an_error_where_it_is_assigned(name: str, value: object, text: str) -> None:
    conf = Conf()
    with pytest.raises(SettingsError) as caught:
        conf[name] = value
    assert text in str(caught.value)
    assert caught.value.problems
    assert loaded(conf).model_dump() == loaded().model_dump()


def test_an_attribute_is_checked_too() -> None:
    conf = Conf()
    with pytest.raises(SettingsError, match="did you mean"):
        conf.task_ruotes = {}
    with pytest.raises(SettingsError, match="did you mean"):
        conf.broker.urls = "x"


def test_update_is_all_or_nothing() -> None:
    conf = Conf()
    with pytest.raises(SettingsError):
        conf.update(task_default_queue="a", task_ruotes={})
    assert loaded(conf).tasks.default_queue == "celery"


def test_the_last_assignment_of_a_name_holds_and_two_names_must_agree() -> None:
    conf = Conf({"task_default_queue": "a"})
    conf.task_default_queue = "b"
    assert loaded(conf).tasks.default_queue == "b"
    conf["tasks.default_queue"] = "c"
    found = problem(conf)
    assert "task_default_queue" in found.key
    assert "tasks.default_queue" in found.key


def test_what_leans_on_another_setting_may_come_first() -> None:
    conf = Conf()
    conf.task_queue_max_priority = 5
    conf.task_default_exchange_type = "topic"
    conf.task_default_exchange = "x"
    conf.task_queues = ["a"]
    assert loaded(conf).queues["a"].max_priority == 5


def test_assignments_win_over_objects_whichever_came_first() -> None:
    conf = Conf({"task_default_queue": "assigned"})
    conf.add_object(types.SimpleNamespace(task_default_queue="object", worker_concurrency=3))
    settings = loaded(conf)
    assert (settings.tasks.default_queue, settings.worker.concurrency) == ("assigned", 3)


def test_an_object_is_read_when_it_is_needed() -> None:
    conf = Conf()
    conf.add_object("a_module_that_does_not_exist")
    assert "cannot be imported" in problem(conf).text


def test_reading_before_the_settings_are_in_use() -> None:
    conf = Conf({"task_acks_late": False, "broker.heartbeat_s": 30})
    assert conf.task_acks_late is False
    assert conf["CELERY_ACKS_LATE"] is False
    assert conf.broker.heartbeat_s == 30
    assert conf.broker_heartbeat == 30
    assert conf.broker.connect_timeout_s == 5
    assert conf.task_default_queue == "celery"
    assert conf.task_protocol == 2
    assert conf.result_backend is None
    assert conf.get("task_ruotes", "nothing") == "nothing"
    assert "task_routes" in conf
    assert "broker.url" in conf
    assert "task_ruotes" not in conf
    assert 5 not in conf
    with pytest.raises(AttributeError, match="task_ruotes"):
        _ = conf.task_ruotes
    with pytest.raises(AttributeError, match="urls"):
        _ = conf.broker.urls
    with pytest.raises(KeyError):
        _ = conf["task_ruotes"]


def test_frozen_conf_reads_what_holds_and_refuses_changes() -> None:
    conf = Conf({"task_default_queue": "a", "task_acks_late": True})
    assert not conf.frozen
    conf.freeze(loaded(conf, overrides={"tasks.default_queue": "b", "tasks.ack": "early"}))
    assert conf.frozen
    assert conf.task_default_queue == "b"
    assert conf.task_acks_late is False
    assert conf.tasks.default_queue == "b"
    for change in (
        lambda: setattr(conf, "task_default_queue", "c"),
        lambda: conf.update(task_default_queue="c"),
        lambda: conf.add_object({}),
    ):
        with pytest.raises(SettingsError, match="settings are in use"):
            change()


def test_conf_shows_its_names() -> None:
    conf = Conf()
    assert {"broker", "task_routes", "update"} <= set(dir(conf))
    assert repr(conf) == "<Conf: 0 assigned, 0 objects>"
    assert repr(conf.broker) == "<app.conf.broker>"
