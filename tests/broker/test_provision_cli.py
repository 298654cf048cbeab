"""The commands as a person uses them: exit codes, what is printed, and that a typo makes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.rabbit import Rabbit, until
from tests.support.raw import Raw

CONFIG = """
[broker]
url = "{url}"
management_url = "{management_url}"

[exchanges.files]
type = "topic"
alternate_exchange = "rest"

[exchanges.rest]
type = "fanout"

[queues.celery]

[queues.text]
exchange = "files"
routing_key = "file.text.*"
max_length = 100

[queues.others]
exchange = "rest"

[[routes]]
task = "index.text"
exchange = "files"
routing_key = "file.text.x"
"""


class Place:
    """A folder with a configuration, and the command line in it."""

    def __init__(self, broker: Rabbit, vhost: str, folder: Path) -> None:
        self.broker = broker
        self.vhost = vhost
        self.file = folder / "amqtask.toml"
        self.file.write_text(CONFIG.format(url=broker.url(vhost), management_url=broker.management_url))

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from amqtask.cli.main import main; main()", *args],
            cwd=self.file.parent,
            env={"PATH": os.environ["PATH"], "HOME": str(self.file.parent), "COLUMNS": "120"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def change(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    def live(self, kind: str) -> set[str]:
        rows = self.broker.api("GET", f"{kind}/{quote(self.vhost, safe='')}")
        assert isinstance(rows, list)
        return {row["name"] for row in rows if row["name"] and not row["name"].startswith("amq.")}


@pytest.fixture
def place(broker: Rabbit, vhost: str, tmp_path: Path) -> Place:
    return Place(broker, vhost, tmp_path)


def test_k05_plan_apply_diff_from_an_empty_broker_to_one_as_declared(place: Place) -> None:
    planned = place.run("topology", "plan")
    assert planned.returncode == 0
    assert "+ queue 'text'" in planned.stdout
    assert place.run("topology", "diff").returncode == 1
    dry = place.run("topology", "apply", "--dry-run")
    assert dry.returncode == 0
    assert place.live("queues") == set(), "plan, diff and a dry run make nothing"
    applied = place.run("topology", "apply")
    assert (applied.returncode, applied.stderr) == (0, "")
    assert place.live("queues") == {"celery", "text", "others", "celery.dlq", "text.dlq", "others.dlq"}
    assert place.live("exchanges") == {"files", "rest"}
    after = place.run("topology", "diff", "--json")
    assert after.returncode == 0
    told = json.loads(after.stdout)
    assert told["drift"] is False
    assert {change["action"] for change in told["changes"]} == {"unchanged"}


def test_k05_a_changed_argument_is_told_refused_and_recreated_on_demand(place: Place) -> None:
    place.run("topology", "apply")
    place.change("max_length = 100", "max_length = 50")
    differs = place.run("topology", "diff")
    assert differs.returncode == 1
    assert "max_length (x-max-length): declared 50, live 100" in differs.stdout
    left = place.run("topology", "apply")
    assert left.returncode == 1
    assert "1 left in conflict" in left.stdout
    unasked = place.run("topology", "apply", "--recreate")
    assert unasked.returncode == 2
    assert "say --yes" in unasked.stderr
    assert place.run("topology", "diff").returncode == 1
    done = place.run("topology", "apply", "--recreate", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert [change["name"] for change in json.loads(done.stdout)["done"]] == ["text"]
    assert place.run("topology", "diff").returncode == 0


def test_k05_apply_by_amqp_needs_no_management_api(place: Place) -> None:
    place.change(place.broker.management_url, "http://127.0.0.1:1")
    applied = place.run("topology", "apply", "--amqp")
    assert (applied.returncode, applied.stderr) == (0, "")
    assert place.live("queues") == {"celery", "text", "others", "celery.dlq", "text.dlq", "others.dlq"}
    place.change("max_length = 100", "max_length = 50")
    again = place.run("topology", "apply", "--amqp")
    assert again.returncode == 1
    assert "queue 'text'" in again.stderr
    assert "max-length" in again.stderr
    assert place.run("topology", "apply", "--amqp", "--delete").returncode == 2


def test_s41_an_app_without_declared_queues_gets_those_that_its_tasks_name(place: Place) -> None:
    (place.file.parent / "shop.py").write_text(
        "from amqtask import App\n"
        f"app = App('shop', broker={place.broker.url(place.vhost)!r})\n"
        f"app.conf.update({{'broker.management_url': {place.broker.management_url!r}}})\n"
        "@app.task(queue='invoices')\n"
        "def bill(): pass\n"
    )
    place.file.unlink()
    planned = place.run("topology", "plan", "-A", "shop", "--json")
    assert planned.returncode == 0, planned.stderr
    names = {change["name"] for change in json.loads(planned.stdout)["changes"] if change["kind"] == "queue"}
    assert names == {"celery", "celery.dlq", "invoices", "invoices.dlq"}


def test_k03_what_the_configuration_dropped_goes_with_the_flag(place: Place) -> None:
    place.run("topology", "apply")
    place.change('[queues.others]\nexchange = "rest"\n', "[queues.others]\n")
    assert "? exchange 'rest' -> queue 'others'" in place.run("topology", "diff").stdout
    assert place.run("topology", "apply").returncode == 0
    assert place.run("topology", "diff").returncode == 1
    assert place.run("topology", "apply", "--unbind", "--yes").returncode == 0
    assert place.run("topology", "diff").returncode == 0


@pytest.mark.parametrize(
    "args", [("queue", "list", "-Q", "txt"), ("topology", "apply"), ("topology", "plan"), ("topology", "lint")]
)
def test_pain_15_a_typo_exits_2_with_the_nearest_name_and_makes_nothing(place: Place, args: tuple[str, ...]) -> None:
    if args[0] == "topology":
        place.file.write_text(place.file.read_text() + '\n[[routes]]\ntask = "a"\nqueue = "txt"\n')
    done = place.run(*args)
    assert done.returncode == 2
    assert "'txt' is not declared; did you mean 'text'?" in done.stderr
    assert place.live("queues") == set()


def test_k02_what_this_broker_cannot_do_exits_2_before_anything_is_made(place: Place) -> None:
    place.change("max_length = 100", 'type = "quorum"\narguments = {x-max-priority = 5}')
    done = place.run("topology", "apply")
    assert done.returncode == 2
    assert "does not exist for quorum queues" in done.stderr
    assert place.live("queues") == set()


@pytest.mark.parametrize("by", ["management", "amqp"])
def test_queue_list_shows_messages_and_consumers(place: Place, by: str) -> None:
    assert place.run("queue", "list").returncode == 1, "no queue is there yet"
    place.run("topology", "apply")
    with Raw(place.broker.url(place.vhost)) as raw:
        for _ in range(3):
            raw.publish("text", b"x")
    if by == "amqp":
        place.change(f'management_url = "{place.broker.management_url}"', 'management_url = "http://127.0.0.1:1"')
    for _ in until(30, "the queue's messages do not show"):
        done = place.run("queue", "list", "--json")
        assert done.returncode == 0, done.stderr
        rows = {row["queue"]: row for row in json.loads(done.stdout)}
        if rows["text"]["ready"] == 3:
            break
    assert rows["text"]["unacked"] == (0 if by == "management" else None)
    assert rows["text"]["dead_letter_queue"] == "text.dlq"
    assert list(rows) == ["celery", "text", "others", "celery.dlq", "text.dlq", "others.dlq"]
    for words in (["text, others,"], ["text,", "others"], ["text,others"]):
        some = place.run("queue", "list", "-Q", *words)
        assert [line.split()[0] for line in some.stdout.splitlines()] == ["queue", "text", "others"], some.stderr


def test_k04_export_and_import_need_no_broker(place: Place, tmp_path: Path) -> None:
    place.change(place.broker.management_url, "http://127.0.0.1:1")
    exported = place.run("topology", "export", "--vhost", "elsewhere", "-o", "out.json")
    assert exported.returncode == 0, exported.stderr
    document = json.loads((tmp_path / "out.json").read_text())
    assert {queue["vhost"] for queue in document["queues"]} == {"elsewhere"}
    imported = place.run("topology", "import", "out.json")
    assert imported.returncode == 0
    assert '[queues.text]\nmax_length = 100\nbindings = [{ exchange = "files"' in imported.stdout
    (tmp_path / "bad.json").write_text("{")
    refused = place.run("topology", "import", "bad.json")
    assert refused.returncode == 2
    assert "bad.json: is not JSON" in refused.stderr


def test_lint_finds_what_a_broker_would_never_say(place: Place) -> None:
    clean = place.run("topology", "lint", "--strict")
    assert (clean.returncode, clean.stdout.splitlines()) == (
        0,
        ["note: broker.version: not set: features that depend on the RabbitMQ version were not checked"],
    )
    place.change("file.text.x", "file.txt.x")
    place.change('alternate_exchange = "rest"', "")
    done = place.run("topology", "lint")
    assert done.returncode == 1
    assert "error: routes[0]: routing key 'file.txt.x' reaches no queue through exchange 'files'" in done.stdout
    told = json.loads(place.run("topology", "lint", "--json", "--broker-version", "3.13").stdout)
    assert [(row["level"], row["where"]) for row in told] == [("error", "routes[0]")]


def test_exit_codes_when_nobody_answers_or_refuses(place: Place) -> None:
    url = place.broker.management_url
    place.change(url, "http://127.0.0.1:1")
    assert place.run("topology", "plan").returncode == 69
    place.change("http://127.0.0.1:1", url.replace("guest:guest", "guest:wrong"))
    assert place.run("topology", "plan").returncode == 77
