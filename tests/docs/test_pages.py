"""Pages are complete and current: links lead somewhere, reference pages have what the code has."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import amqtask
from amqtask import errors
from amqtask.wire.task import parse_task
from tests.docs.cli_reference import markdown
from tests.docs.snippets import ROOT, pages

LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def targets(page: Path) -> list[str]:
    """Where a page's links lead, code left out."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [found["target"] for found in LINK.finditer(re.sub(r"`[^`]*`", "", text))]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in targets(page):
        if not re.match(r"https?:|mailto:|#", target):
            path = page.parent / target.partition("#")[0]
            assert path.exists(), f"{page}: {target}"
            assert path.resolve().is_relative_to(ROOT), f"{page}: {target} leads out of the project"


def test_every_page_but_decisions_is_in_the_list() -> None:
    listed = {(ROOT / "docs" / target).resolve() for target in targets(ROOT / "docs" / "index.md")}
    folders = ("tutorial", "how-to", "reference", "explanation")
    for page in pages():
        if page.parent.name in folders and page.name != "rows.md":
            assert page in listed, f"docs/index.md does not list {page.relative_to(ROOT)}"


def test_the_reference_of_commands_is_current() -> None:
    written = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    assert written == markdown(), "run: python -m tests.docs.cli_reference > docs/reference/cli.md"


def test_the_reference_of_errors_has_every_error_and_says_where_it_is_imported_from() -> None:
    text = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\|[ │├└]*`(\w+)`(\*?) \|", text, re.MULTILINE))
    classes = {
        name
        for name, value in inspect.getmembers(errors, inspect.isclass)
        if value.__module__ == errors.__name__ and issubclass(value, Exception)
    }
    assert set(rows) == classes
    assert {name for name, star in rows.items() if star} == classes & set(amqtask.__all__)


def test_the_page_on_dead_letters_has_every_reason() -> None:
    text = (ROOT / "docs/how-to/dead-letters.md").read_text(encoding="utf-8")
    listed = (inspect.getdoc(parse_task) or "").partition("one of:")[2]
    reasons = re.findall(r"[a-z_0-9]+", listed)
    assert len(reasons) >= 8
    outcomes = ["failed", "rejected", "worker_lost", "not_registered", "bad_arguments", "expired"]
    for reason in [*reasons, *outcomes]:
        assert f"`{reason}`" in text, reason


def test_the_page_on_exit_codes_says_after_which_systemd_does_not_restart() -> None:
    unit = (ROOT / "deploy/systemd/amqtask-worker@.service").read_text(encoding="utf-8")
    found = re.search(r"^RestartPreventExitStatus=(.*)$", unit, re.MULTILINE)
    assert found
    *first, last = found[1].split()
    text = " ".join((ROOT / "docs/reference/exit-codes.md").read_text(encoding="utf-8").split())
    assert f"{', '.join(first)} and {last}." in text
