"""K06: `amqtask config show`, `check` and `reference`, as their users see them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from amqtask.cli.main import cli
from amqtask.cli.support import run

ROOT = Path(__file__).parents[2]

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `amqtask config ...` in an empty directory; gives exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AMQTASK_APP", "CELERY_APP", "AMQTASK_CONFIG"):
        monkeypatch.delenv(name, raising=False)

    def call(*args: str) -> tuple[int, str, str]:
        code = run(cli, args)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_k06_show_prints_what_holds_and_why(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "amqtask.toml").write_text('[tasks]\ndefault_queue = "orders"\n')
    monkeypatch.setenv("AMQTASK_WORKER__CONCURRENCY", "3")
    code, out, _ = command("config", "show", "--origin")
    rows = {line.split()[0]: line.split() for line in out.splitlines()}
    assert code == 0
    assert rows["tasks.default_queue"][1:] == ['"orders"', "amqtask.toml"]
    assert rows["worker.concurrency"][1:] == ["3", "env", "AMQTASK_WORKER__CONCURRENCY"]
    assert rows["worker.drain_s"][1:] == ["30.0", "default"]
    assert rows["worker.pidfile"][1:] == ["(unset)", "default"]


def test_k06_show_masks_secrets(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMQTASK_BROKER__URL", "amqp://u:geheim@h/v")
    for options in ((), ("--json",), ("--origin",), ("--origin", "--json")):
        code, out, err = command("config", "show", *options)
        assert code == 0
        assert "geheim" not in out + err
        assert "amqp://u:**@h/v" in out


def test_show_as_json(command: Command) -> None:
    code, out, _ = command("config", "show", "log", "--json")
    assert code == 0
    assert json.loads(out) == {"log.level": "info", "log.format": "auto", "log.file": None}
    _, out, _ = command("config", "show", "log.level", "--origin", "--json")
    assert json.loads(out) == {"log.level": {"value": "info", "origin": "default"}}


def test_show_of_declared_things(command: Command) -> None:
    config = ("--config", str(ROOT / "config/example/amqtask.toml"))
    _, out, _ = command("config", "show", *config, 'queues."shop.mails"')
    assert [line.split()[0] for line in out.splitlines()[1:]] == [
        'queues."shop.mails".exchange', 'queues."shop.mails".routing_key', 'queues."shop.mails".max_priority',
    ]  # fmt: skip
    _, out, _ = command("config", "show", *config, 'queues."shop.mails"', "--all")
    assert len(out.splitlines()) > 20
    _, out, _ = command("config", "show", *config, "routes", "--json")
    assert json.loads(out)["routes[3]"] == {"task": "shop.mails.password_reset", "queue": "shop.mails", "priority": 5}


def test_show_of_a_queue_of_which_nothing_is_set(command: Command, tmp_path: Path) -> None:
    (tmp_path / "amqtask.toml").write_text("[queues.a]\n[queues.b]\nmax_length = 5\n")
    _, out, _ = command("config", "show", "queues", "--origin")
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["queues.a", "{}", "amqtask.toml"],
        ["queues.b.max_length", "5", "amqtask.toml"],
    ]
    assert command("config", "show", "pools", "--json")[:2] == (0, "{}\n")


def test_check_notes_a_default_queue_that_is_not_there(command: Command, tmp_path: Path) -> None:
    (tmp_path / "amqtask.toml").write_text("[queues.a]\n")
    code, out, _ = command("config", "check")
    assert code == 0
    assert "a task that no rule routes cannot be sent" in out


APP = """
from amqtask import App
app = App("shop")
app.conf.update(CELERY_ACKS_LATE=False, task_queues=["orders"], worker_concurrency=5)
"""


def test_k06_an_apps_python_is_seen_with_dash_a(command: Command, tmp_path: Path) -> None:
    (tmp_path / "config_test_app.py").write_text(APP)
    (tmp_path / "amqtask.toml").write_text("[worker]\nconcurrency = 2\n[queues.mails]\n")
    for args in (("-A", "config_test_app", "config", "show"), ("config", "show", "-A", "config_test_app")):
        code, out, _ = command(*args, "--origin", "--json")
        rows = json.loads(out)
        assert code == 0
        assert rows["tasks.ack"] == {"value": "early", "origin": "app.conf, CELERY_ACKS_LATE"}
        assert rows["worker.concurrency"] == {"value": 2, "origin": "amqtask.toml"}
        assert {"queues.orders", "queues.mails"} <= set(rows)
    code, out, _ = command("-A", "config_test_app", "config", "check")
    assert code == 0
    assert "CELERY_ACKS_LATE: is Celery's name; here: tasks.ack" in out


def test_check_of_an_app_that_cannot_be_configured(command: Command, tmp_path: Path) -> None:
    (tmp_path / "config_test_broken.py").write_text(APP.replace("5)", "5, task_max_retries=1)"))
    code, out, err = command("config", "check", "-A", "config_test_broken")
    assert code == 2
    assert "task_max_retries" in out + err


def test_show_of_an_unknown_key_names_the_nearest(command: Command) -> None:
    code, _, err = command("config", "show", "brokr")
    assert code == 2
    assert "did you mean 'broker'?" in err


def test_k06_check_exits_0_when_all_is_right(command: Command) -> None:
    assert command("config", "check") == (0, "The configuration is right.\n", "")


def test_the_worked_example_is_right(command: Command) -> None:
    code, out, err = command("config", "check", "--config", str(ROOT / "config/example/amqtask.toml"))
    assert (code, err) == (0, "")
    assert out.endswith("The configuration is right.\n")
    assert "-A shop.tasks" in out


def test_k06_check_lists_everything_that_is_wrong_and_exits_2(command: Command, tmp_path: Path) -> None:
    (tmp_path / "amqtask.toml").write_text(
        '[broker]\nurls = "x"\n[queues.orders]\n[pools.p]\nqueues = ["odrers"]\n[log]\nlevel = "loud"\n'
    )
    code, out, _ = command("config", "check")
    assert code == 2
    assert [line.split(": ")[2] for line in out.splitlines()] == ["broker.urls", "log.level", "pools.p.queues"]
    code, out, _ = command("config", "check", "--json")
    answer = json.loads(out)
    assert (code, answer["ok"]) == (2, False)
    assert answer["problems"][2] == {
        "where": "amqtask.toml",
        "key": "pools.p.queues",
        "text": "queue 'odrers' is not declared; did you mean 'orders'?",
        "nearest": "orders",
    }


def test_check_finds_what_only_the_router_sees(command: Command, tmp_path: Path) -> None:
    (tmp_path / "amqtask.toml").write_text(
        '[exchanges.x]\ntype = "topic"\n[queues.q]\nexchange = "x"\n[[routes]]\ntask = "a"\nexchange = "x"\n'
    )
    code, out, _ = command("config", "check")
    assert code == 2
    assert "needs a routing_key" in out


def test_a_missing_file_prints_the_search_path(command: Command) -> None:
    for args in (("--config", "no.toml", "config", "check"), ("config", "check", "--config", "no.toml")):
        code, out, err = command(*args)
        assert code == 2
        assert "--config: there is no file 'no.toml'" in out + err
        assert "/etc/amqtask/amqtask.toml" in out + err


def test_reference_prints_page_and_file(command: Command) -> None:
    code, out, _ = command("config", "reference")
    assert (code, out) == (0, (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8"))
    code, out, _ = command("config", "reference", "--toml")
    assert (code, out) == (0, (ROOT / "config/amqtask.toml").read_text(encoding="utf-8"))
