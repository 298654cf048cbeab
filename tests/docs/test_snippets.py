"""Runs every snippet of README and docs, page by page, each page against a virtual host of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from amqtask.errors import SettingsError
from tests.docs.snippets import ROOT, PageRunner, Wrong, pages, snippets
from tests.support.rabbit import Rabbit
from tests.support.sandbox import Sandbox

# The pages that speak of the management API. Elsewhere nobody answers where it usually is, as in a RabbitMQ that was
# just installed.
MANAGED = ("docs/how-to/topology.md", "docs/how-to/dead-letters.md")
RUN = [page for page in pages() if any(snippet.language != "text" for snippet in snippets(page))]


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_snippet_does_what_its_page_says(
    page: Path, sandbox: Sandbox, tmp_path: Path, broker: Rabbit, vhost_url: str
) -> None:
    environ = {"AMQTASK_BROKER__URL": vhost_url}
    if str(page.relative_to(ROOT)) in MANAGED:
        environ["AMQTASK_BROKER__MANAGEMENT_URL"] = broker.management_url
    with PageRunner(sandbox, tmp_path, environ) as runner:
        for snippet in snippets(page):
            assert runner.fault(snippet) is None


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_has_a_language(page: Path) -> None:
    for snippet in snippets(page):
        assert snippet.language, f"{snippet}: a block needs a language; `text` is for what is not run"


@pytest.mark.parametrize(
    "block",
    [
        "```python\nraise SystemExit(3)\n```",
        "```toml\n[broker]\nurls = 'amqp://x'\n```",
        "```bash\nfalse\ntrue\n```",
        "```console\n$ echo one\ntwo\n```",
        "```console\nno command\n```",
        "```bash background\namqtask worker -A nothing.of.the.kind\n```",
        "```\nno language\n```",
        "```text\nmake nothing\n```",
    ],
)
def test_a_snippet_that_is_wrong_is_found(sandbox: Sandbox, tmp_path: Path, block: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n{block}\n")
    (snippet,) = snippets(page)
    with (
        PageRunner(sandbox, tmp_path, {"AMQTASK_BROKER__URL": "amqp://127.0.0.1:1//"}) as runner,
        pytest.raises((Wrong, SettingsError)),
    ):
        runner.run(snippet)


def test_blocks_are_found_with_their_lines_files_and_indents(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# P\n\n```python\n# a.py\nx = 1\n```\n\n1. one\n\n   ```bash background\n   sleep 1\n   ```\n")
    first, second = snippets(page)
    assert (first.line, first.language, first.file, first.text) == (4, "python", "a.py", "# a.py\nx = 1\n")
    assert (second.line, second.words, second.text) == (11, ("background",), "sleep 1\n")
