"""Finding the app: all forms of -A, the environment, the settings, and what is said when there is none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from amqtask.app import find_app
from amqtask.errors import SettingsError, TaskError
from amqtask.tasks.default import DEFAULT

APP = "from amqtask import App\n"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, off the import path; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before, app = set(sys.modules), DEFAULT._app
    yield tmp_path
    DEFAULT._app = app
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(project: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


LAYOUTS = {
    "one.py": APP + "app = App('one')\n",
    "named.py": APP + "celery = App('named')\n",
    "only.py": APP + "whatever = App('only')\nsame = whatever\n",
    "two.py": APP + "first, second = App('first'), App('second')\nclass deep:\n    app = App('deep')\n",
    "pkg/__init__.py": "",
    "pkg/celery.py": APP + "app = App('pkg.celery')\n",
    "pkg/other.py": APP + "app = App('pkg.other')\nelse_ = App('pkg.else')\n",
    "flat/__init__.py": APP + "app = App('flat')\n",
    "shadow/__init__.py": "from . import celery\n",
    "shadow/celery.py": APP + "app = App('shadow')\n",
    "inner/__init__.py": "",
    "inner/app.py": APP + "app = App('inner')\n",
}


@pytest.mark.parametrize(
    ("spec", "main"),
    [
        ("one", "one"),
        ("one:app", "one"),
        ("one.app", "one"),
        ("named", "named"),
        ("only", "only"),
        ("only:whatever", "only"),
        ("two:second", "second"),
        ("two.first", "first"),
        ("two:deep.app", "deep"),
        ("pkg", "pkg.celery"),
        ("pkg.celery", "pkg.celery"),
        ("pkg.celery:app", "pkg.celery"),
        ("pkg.celery.app", "pkg.celery"),
        ("pkg:celery", "pkg.celery"),
        ("pkg.other", "pkg.other"),
        ("pkg.other:else_", "pkg.else"),
        ("pkg.other.else_", "pkg.else"),
        ("flat", "flat"),
        ("flat:", "flat"),
        ("shadow", "shadow"),
        ("inner", "inner"),
    ],
)
def test_s07_every_form_resolves(project: Path, spec: str, main: str) -> None:
    write(project, LAYOUTS)
    if spec == "pkg:celery":
        write(project, {"pkg/__init__.py": "from . import celery\n"})
    assert find_app(spec, environ={}).main == main


@pytest.mark.parametrize(
    ("environ", "main"),
    [
        ({"AMQTASK_APP": "one"}, "one"),
        ({"CELERY_APP": "pkg.other:app"}, "pkg.other"),
        ({"AMQTASK_APP": "one", "CELERY_APP": "pkg"}, "one"),
    ],
)
def test_c01_the_environment_names_it(project: Path, environ: dict[str, str], main: str) -> None:
    write(project, LAYOUTS)
    assert find_app(None, environ=environ).main == main
    assert find_app("flat", environ=environ).main == "flat"


def test_c01_the_configuration_names_it(project: Path) -> None:
    write(project, {**LAYOUTS, "site.toml": 'app = "pkg"\n[tasks]\ndefault_queue = "from-file"\n'})
    app = find_app(None, environ={}, config_file="site.toml", overrides={"worker.concurrency": 3})
    assert app.main == "pkg.celery"
    assert (app.settings.tasks.default_queue, app.settings.worker.concurrency) == ("from-file", 3)


def test_c01_modules_with_shared_tasks_need_no_app(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DEFAULT, "_shared", [])
    shared = "from amqtask import shared_task\n@shared_task\ndef job(): pass\n"
    write(project, {"jobs.py": shared, "site.toml": '[tasks]\nimports = ["jobs"]\n'})
    app = find_app(None, environ={}, config_file="site.toml")
    app.load()
    assert list(app.tasks) == ["jobs.job"]


def test_c01_no_name_anywhere_says_where_to_put_one() -> None:
    with pytest.raises(SettingsError, match="use -A, AMQTASK_APP or CELERY_APP, or `app`"):
        find_app(None, environ={})


@pytest.mark.parametrize(
    ("spec", "tried"),
    [
        ("nonesuch", ["nonesuch: there is no module 'nonesuch'"]),
        ("nonesuch.tasks", ["nonesuch.tasks: there is no module 'nonesuch'"]),
        ("one:nope", ["one:nope: there is no attribute 'nope'"]),
        ("one.nope", ["one.nope: there is no module 'one.nope'", "one:nope: there is no attribute 'nope'"]),
        ("two", ["two: it has several apps, name one of two:first, two:second"]),
        ("bare", ["bare:app: there is none", "bare: no App in it"]),
        ("wrong", ["wrong:app: it is a builtins.int, not an amqtask.App"]),
        ("real", ["real:app: it is a celery.app.base.Celery, not an amqtask.App"]),
        ("empty", ["empty.celery: there is no module 'empty.celery'", "empty.app: there is no module 'empty.app'"]),
        (":app", ["'': no name of a module"]),
        ("..up", ["'..up': no name of a module"]),
    ],
)
def test_s07_failure_lists_what_was_tried(project: Path, spec: str, tried: list[str]) -> None:
    real = "from celery import Celery\napp = Celery('x', set_as_current=False)\n"
    write(project, {**LAYOUTS, "bare.py": "", "wrong.py": "app = 5\n", "empty/__init__.py": "", "real.py": real})
    with pytest.raises(SettingsError) as caught:
        find_app(spec, environ={})
    for line in tried:
        assert line in str(caught.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import missing_dependency\n", "ModuleNotFoundError: No module named 'missing_dependency'"),
        ("from os import nonesuch\n", "ImportError: cannot import name 'nonesuch'"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("def f(:\n", "SyntaxError: invalid syntax"),
    ],
)
def test_s07_an_error_in_the_module_shows_its_own_cause(project: Path, source: str, said: str) -> None:
    write(project, {"bad/__init__.py": "", "bad/celery.py": "x = 1\n" + source})
    for spec in ("bad.celery", "bad"):
        with pytest.raises(SettingsError, match=r"importing 'bad\.celery' failed") as caught:
            find_app(spec, environ={})
        assert said in str(caught.value)
        assert "bad/celery.py" in str(caught.value) or "SyntaxError" in said
        assert caught.value.__cause__ is not None


def test_s07_our_own_errors_come_through_as_they_are(project: Path) -> None:
    write(project, {"dup.py": APP + "app = App()\n@app.task(name='x')\ndef a(): 0\n@app.task(name='x')\ndef b(): 1\n"})
    with pytest.raises(TaskError, match="two tasks"):
        find_app("dup", environ={})
