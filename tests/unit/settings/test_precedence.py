"""K06: sources, their precedence, files and where they are looked for, and where each value came from."""

from __future__ import annotations

import types
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from amqtask.errors import SettingsError
from amqtask.settings import Conf, load
from amqtask.settings.reference import toml_value
from amqtask.settings.schema import default_leaves, dotted, place_of, undotted, value_at
from tests.unit.settings.helpers import loaded, problem, problems

SOURCES = ("object", "app.conf", "file", "env", "secret", "command line")  # the weakest first


@pytest.mark.parametrize("strongest", range(1, len(SOURCES) + 1))
def test_k06_a_stronger_source_wins(strongest: int, tmp_path: Path) -> None:
    """Each source sets the value to its own name; the strongest of those that speak is the one that holds."""
    speak = SOURCES[:strongest]
    conf = Conf()
    if "app.conf" in speak:
        conf["tasks.default_queue"] = "app.conf"
    conf.add_object(types.SimpleNamespace(task_default_queue="object"))
    (tmp_path / "c.toml").write_text('tasks.default_queue = "file"' if "file" in speak else "")
    (tmp_path / "secret").write_text("secret\n")
    environ = {}
    if "env" in speak:
        environ["AMQTASK_TASKS__DEFAULT_QUEUE"] = "env"
    if "secret" in speak:
        environ["AMQTASK_TASKS__DEFAULT_QUEUE_FILE"] = str(tmp_path / "secret")
    overrides = {"tasks.default_queue": "command line" if "command line" in speak else None}
    settings = loaded(conf, config_file=str(tmp_path / "c.toml"), environ=environ, overrides=overrides)
    assert settings.tasks.default_queue == speak[-1]
    origin = settings.origins["tasks.default_queue"]
    expected = {
        "object": "SimpleNamespace, task_default_queue",
        "app.conf": "app.conf",
        "file": str(tmp_path / "c.toml"),
        "env": "env AMQTASK_TASKS__DEFAULT_QUEUE",
        "secret": f"{tmp_path / 'secret'} (env AMQTASK_TASKS__DEFAULT_QUEUE_FILE)",
        "command line": "command line",
    }
    assert origin == expected[speak[-1]]


NUMBERS = [
    dotted(path)
    for path, field in default_leaves()
    if type(field.get_default(call_default_factory=True)) in (int, float)
]


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(data=st.data())
def test_k06_precedence_holds_for_any_choice_of_keys(data: st.DataObject, tmp_path: Path) -> None:
    """For any values in any sources: what holds is the strongest source's, and it is named as the origin."""
    table = st.dictionaries(st.sampled_from(NUMBERS), st.integers(1, 1000), max_size=6)
    python, file, env, cli = (data.draw(table) for _ in range(4))
    path = tmp_path / "drawn.toml"
    path.write_text("".join(f"{key} = {toml_value(value)}\n" for key, value in file.items()))
    environ = {"AMQTASK_" + key.replace(".", "__").upper(): str(value) for key, value in env.items()}
    settings = loaded(python, config_file=str(path), environ=environ, overrides=cli)
    for key in NUMBERS:
        value: object = place_of(undotted(key)).field.get_default(call_default_factory=True)  # type: ignore[union-attr]
        origin = "default"
        for source, name in ((python, "Python"), (file, str(path)), (env, "env"), (cli, "command line")):
            if key in source:
                value, origin = source[key], name
        assert value_at(settings, undotted(key)) == value
        assert settings.origins[key].startswith(origin)


def test_every_value_knows_its_origin() -> None:
    settings = loaded({"queues": {"a.b": {"type": "quorum"}}, "routes": [{"task": "x", "queue": "a.b"}]})
    assert settings.origins["broker.url"] == "default"
    assert settings.origins['queues."a.b".type'] == "Python"
    assert settings.origins['queues."a.b".durable'] == "default"
    assert settings.origins["routes[0]"] == "Python"


def test_sources_add_to_one_queue(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[queues.q]\ntype = "quorum"')
    settings = loaded(
        {"queues": {"q": {"max_length": 5, "type": "classic"}}},
        config_file=str(tmp_path / "c.toml"),
        environ={"AMQTASK_QUEUES__Q__DELIVERY_LIMIT": "7"},
    )
    queue = settings.queues["q"]
    assert (queue.type, queue.max_length, queue.delivery_limit) == ("quorum", 5, 7)


def test_a_list_replaces_a_list_but_routes_are_joined(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        'tasks.imports = ["file"]\n[[routes]]\ntask = "a"\nqueue = "file"\n[[routes]]\ntask = "b"\nqueue = "file"'
    )

    def router(name: str, *_: object, **__: object) -> None:
        """Decide nothing."""

    settings = loaded(
        {"imports": ["python"], "routes": [{"task": "a", "queue": "python"}, router]},
        config_file=str(tmp_path / "c.toml"),
    )
    assert settings.tasks.imports == ("file",)
    first, second, third, fourth = settings.routes
    assert [getattr(rule, "queue", rule) for rule in (first, second, third, fourth)] == [
        "file",
        "file",
        "python",
        router,
    ]
    assert settings.origins["routes[0]"] == str(tmp_path / "c.toml")
    assert settings.origins["routes[3]"] == "Python"


# Finding the file


def test_c15_the_first_file_of_the_search_path_is_read(tmp_path: Path) -> None:
    home = tmp_path / "home"
    environ = {"HOME": str(home)}
    places = [
        home / ".config/amqtask/amqtask.toml",
        tmp_path / "config/amqtask.toml",
        tmp_path / "amqtask.toml",
        tmp_path / "variable.toml",
        tmp_path / "option.toml",
    ]
    config_file = None
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f'app = "{place.name}-{place.parent.name}"')
        if place.name == "variable.toml":
            environ["AMQTASK_CONFIG"] = str(place)
        if place.name == "option.toml":
            config_file = str(place)
        settings = load(config_file=config_file, environ=environ)
        assert settings.app == f"{place.name}-{place.parent.name}"


@pytest.mark.parametrize("how", ["--config", "AMQTASK_CONFIG"])
def test_c15_a_named_file_that_is_missing_prints_the_search_path(how: str, tmp_path: Path) -> None:
    (tmp_path / "amqtask.toml").write_text("")
    option = "missing.toml" if how == "--config" else None
    variables = {"HOME": "/home/u"} | ({} if option else {"AMQTASK_CONFIG": "missing.toml"})
    with pytest.raises(SettingsError) as caught:
        load(config_file=option, environ=variables)
    text = str(caught.value)
    assert text.startswith(f"{how}: there is no file 'missing.toml'")
    for place in ("amqtask.toml", "config/amqtask.toml", "/home/u/.config/amqtask/amqtask.toml", "/etc/amqtask"):
        assert place in text


def test_no_file_is_no_error() -> None:
    assert load(environ={}).app is None


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"[broker\n", "is not TOML"), (b"\xff", "is not UTF-8"), (b"a = 1\na = 2", "is not TOML")],
)
def test_a_broken_file_is_named(content: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(content)
    found = problem(config_file="c.toml")
    assert found.where == "c.toml"
    assert text in found.text


def test_c27_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[broker]\nurls = "x"\n[worker]\nmax_crash = 1\n[taks]\nack = "late"\nurl = "x"\n')
    found = problems(config_file="c.toml")
    assert [(one.key, one.nearest) for one in found] == [
        ("broker.urls", "broker.url"),
        ("worker.max_crash", "worker.max_crashes"),
        ("taks", "tasks"),
    ]


def test_c27_the_case_of_a_key_in_a_file_counts(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[Broker]\nheartbeat_s = 1\n[broker]\nheartbeat_s = 2\n")
    found = problem(config_file="c.toml")
    assert (found.key, found.nearest) == ("Broker", "broker")


def test_a_table_where_a_value_is_and_the_other_way_round(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('broker = "amqp://"\n[worker.concurrency]\nx = 1\n')
    assert [one.key for one in problems(config_file="c.toml")] == ["broker", "worker.concurrency"]


def test_pain_43_everything_wrong_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        'topology.files = ["missing.toml"]\n[queues.a]\ntype = "qorum"\n[pools.p]\nqueues = ["b"]\nconcurrency = 0\n'
    )
    found = problems(
        {"task_max_retries": 1, "CELERY_RESULT_BACKEND": "rpc://"},
        config_file="c.toml",
        environ={"AMQTASK_BROKER_URL": "amqp://u:geheim@h"},
        overrides={"worker.concurrency": -1},
    )
    assert {(one.where, one.key) for one in found} == {
        ("Python", "task_max_retries"),
        ("Python", "CELERY_RESULT_BACKEND"),
        ("c.toml", "topology.files"),
        ("environment", "AMQTASK_BROKER_URL"),
        ("c.toml", "queues.a.type"),
        ("c.toml", "pools.p.concurrency"),
        ("c.toml", "pools.p.queues"),
        ("command line", "worker.concurrency"),
    }


def test_a_secret_in_a_wrong_value_is_masked() -> None:
    found = problem({"broker": {"heartbeat_s": "amqp://u:geheim@h"}})
    assert "geheim" not in str(found)
    assert "amqp://u:**@h" in found.text


# Topology files


def test_topology_files_are_found_beside_the_file_that_names_them(tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    (etc / "more").mkdir(parents=True)
    (etc / "c.toml").write_text(
        'topology.files = ["one.toml", "more/*.toml"]\n[queues.main]\n[[routes]]\ntask = "m"\nqueue = "main"'
    )
    (etc / "one.toml").write_text('[exchanges.x]\ntype = "topic"\n[queues.one]\nexchange = "x"')
    (etc / "more/b.toml").write_text('[queues.b]\n[[routes]]\ntask = "b"\nqueue = "b"')
    (etc / "more/a.toml").write_text('[queues.a]\n[[routes]]\ntask = "a"\nqueue = "a"')
    settings = loaded(config_file=str(etc / "c.toml"))
    assert list(settings.queues) == ["main", "one", "a", "b"]
    assert [rule.task for rule in settings.routes] == ["m", "a", "b"]  # type: ignore[union-attr]
    assert settings.origins["exchanges.x.type"] == str(etc / "one.toml")


def test_topology_files_of_a_variable_are_found_from_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text("[queues.q]")
    assert list(loaded(environ={"AMQTASK_TOPOLOGY__FILES": "t.toml"}).queues) == ["q"]
    assert list(loaded(environ={"AMQTASK_TOPOLOGY__FILES": str(tmp_path / "*.toml")}).queues) == ["q"]


def test_two_files_do_not_declare_one_queue(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('topology.files = ["t.toml", "u.toml"]\n[queues.q]\n')
    (tmp_path / "t.toml").write_text("[queues.q]\nmax_length = 5\n[exchanges.x]")
    (tmp_path / "u.toml").write_text("[exchanges.x]")
    found = problems(config_file="c.toml")
    assert [(one.where, one.key, one.text) for one in found] == [
        ("t.toml", "queues.q", "is declared in c.toml too"),
        ("u.toml", "exchanges.x", "is declared in t.toml too"),
    ]


def test_a_topology_file_holds_topology_only(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('topology.files = ["t.toml"]')
    (tmp_path / "t.toml").write_text('[broker]\nurl = "x"')
    assert problem(config_file="c.toml").key == "broker"


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ("no.toml", "there is no file"),
        ("dir*", "it is no file"),
        ("a**b.toml", "no pattern of files"),
        ("none*.toml", None),
    ],
)
def test_topology_files_that_cannot_be_found(files: str, text: str | None, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    overrides = {"topology.files": [files]}
    if text is None:
        assert loaded(overrides=overrides).queues == {}
    else:
        assert text in problem(overrides=overrides).text
