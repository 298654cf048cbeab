"""`amqtask call`: what it sends, and what it says to wrong options. The publisher is a fake."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from amqtask.app import App
from amqtask.cli.main import cli
from amqtask.cli.support import FAILED, OK, UNAVAILABLE, USAGE, run
from amqtask.errors import ConnectionLost, Unroutable
from amqtask.tasks.default import DEFAULT
from amqtask.wire.task import TaskCall
from tests.unit.app.test_app import Publisher


@pytest.fixture(autouse=True)
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    """Where sends go; no configuration or app is named anywhere."""
    monkeypatch.chdir(tmp_path)
    for name in ("AMQTASK_APP", "CELERY_APP", "AMQTASK_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    fake, before = Publisher(), DEFAULT._app
    monkeypatch.setattr(App, "publisher", fake)
    yield fake
    logging.getLogger("amqtask").setLevel(logging.NOTSET)
    DEFAULT._app = before


def sent(publisher: Publisher) -> TaskCall:
    (call,) = publisher.calls()
    return call


def test_s30_it_prints_the_id_of_what_it_sent(publisher: Publisher, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, ["call", "orders.ship", "17", '"express"', "null", "--kwargs", '{"gift": true}']) == OK
    call = sent(publisher)
    assert (call.name, call.args, call.kwargs) == ("orders.ship", [17, "express", None], {"gift": True})
    assert capsys.readouterr().out.strip() == call.id


def test_s27_its_options(publisher: Publisher, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--args", "[1, [2]]", "-Q", "fast", "--priority", "9", "--expires", "2030-01-01T00:00:00+00:00"]
    options += ["--header", "tenant=north", "--header", "note=a=b", "--task-id", "mine", "--deadline", "2", "--json"]
    assert run(cli, ["call", "t", *options]) == OK
    call, how = sent(publisher), publisher.sent[0][1]
    assert (call.id, call.args, call.priority) == ("mine", [1, [2]], 9)
    assert call.expires == datetime(2030, 1, 1, tzinfo=UTC)
    assert call.user_headers == {"tenant": "north", "note": "a=b"}
    assert (how["exchange"], how["routing_key"], how["deadline_s"]) == ("", "fast", 2.0)
    assert json.loads(capsys.readouterr().out) == {"id": "mine", "task": "t"}


def test_s25_expires_in_seconds(publisher: Publisher) -> None:
    assert run(cli, ["call", "t", "--expires", "1.5"]) == OK
    assert sent(publisher).properties.expiration == "1500"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["express"], "'express' is not JSON"),
        (["1", "--args", "[2]"], "not both"),
        (["--args", "{}"], "a JSON list is needed"),
        (["--kwargs", "[]"], "a JSON object is needed"),
        (["--expires", "soon"], "neither seconds nor"),
        (["--header", "tenant"], "is not NAME=TEXT"),
        (["--header", "id=5"], "belongs to the message format"),
        (["--priority", "300"], "300"),
        (["--queue-name", "x"], "No such option"),
        (["--exchange", "nonesuch", "--routing-key", "k"], "is not declared"),
        (["-A", "nonesuch"], "there is no module 'nonesuch'"),
        (["--config", "nonesuch.toml"], "nonesuch.toml"),
    ],
)
def test_wrong_options_exit_with_2_and_send_nothing(
    publisher: Publisher, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run(cli, ["call", "t", *arguments]) == USAGE
    assert said in capsys.readouterr().err
    assert publisher.sent == []


@pytest.mark.parametrize(("error", "code"), [(Unroutable("no queue"), FAILED), (ConnectionLost("gone"), UNAVAILABLE)])
def test_what_is_not_accepted_has_an_exit_code(
    publisher: Publisher, capsys: pytest.CaptureFixture[str], error: Any, code: int
) -> None:
    publisher.refuse = lambda message: error
    assert run(cli, ["call", "t"]) == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"amqtask: {error}\n")


@pytest.mark.parametrize("where", ["before", "after", "environment"])
def test_c01_an_app_may_be_named_before_and_after(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    (tmp_path / f"proj_{where}.py").write_text("from amqtask import App\napp = App(task_default_queue='from-app')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    named = ["-A", f"proj_{where}"]
    if where == "environment":
        monkeypatch.setenv("AMQTASK_APP", f"proj_{where}:app")
        assert run(cli, ["call", "t"]) == OK
    else:
        assert run(cli, [*named, "call", "t"] if where == "before" else ["call", *named, "t"]) == OK
    assert publisher.sent[0][1]["routing_key"] == "from-app"
