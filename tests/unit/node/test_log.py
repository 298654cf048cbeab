"""The log's lines and the thread that writes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from amqtask.node.log import CAPACITY_LINES, LineWriter, configure, open_log


def test_a_rotated_file_is_opened_anew_and_no_line_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = LineWriter(open_log(str(path)), path=str(path))
    writer.write_line("one")
    writer.reopen()
    writer.write_line("two")
    writer.close()
    assert path.read_text() == "one\ntwo\n"

    writer = LineWriter(open_log(str(path)), path=str(path))
    path.rename(tmp_path / "log.1")
    writer.reopen()
    writer.write_line("three")
    writer.close()
    assert path.read_text() == "three\n"


def test_a_file_that_cannot_be_opened_anew_is_written_on(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "log"
    writer = LineWriter(open_log(str(path)), path=str(path))
    folder.rename(tmp_path / "moved")
    writer.reopen()
    writer.write_line("on")
    writer.close()
    assert (tmp_path / "moved" / "log").read_text().splitlines() == [
        "... the log file cannot be opened anew: No such file or directory",
        "on",
    ]


def test_a_log_that_nobody_reads_stops_nobody_and_says_what_is_missing() -> None:
    reader, end = os.pipe()
    with os.fdopen(end, "w") as stream, os.fdopen(reader) as lines:
        writer = LineWriter(stream)
        for _ in range(CAPACITY_LINES + 2_000):
            writer.write_line("x" * 100)
        read = [lines.readline() for _ in range(CAPACITY_LINES)]
        writer.write_line("last")
        while not read[-1].startswith("last"):
            read.append(lines.readline())
        writer.close()
    assert sum("log lines were dropped" in line for line in read) == 1


@pytest.fixture
def structlog_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def raise_with_a_secret() -> None:
    password = "hunter2"
    raise ValueError(f"{len(password)} characters")


@pytest.mark.parametrize("style", ["json", "console"])
@pytest.mark.usefixtures("structlog_as_before")
def test_no_value_of_a_variable_and_no_line_of_a_sender_s_gets_into_the_log(tmp_path: Path, style: str) -> None:
    path = tmp_path / "log"
    writer = configure(level="info", style=style, path=str(path), node="n")
    log = structlog.get_logger("amqtask.node")
    log.warning("task.failed", error="no\n2026-01-01 [info] node.ready \x1b[2J\u202e", task="caf\udce9é")
    try:
        raise_with_a_secret()
    except ValueError:
        log.critical("node.failed", exc_info=True)
    writer.close()
    text = path.read_text()
    first, *trace = text.splitlines()
    assert "task.failed" in first
    assert not {"\x1b", "\u202e"} & set(text)
    assert "raise_with_a_secret" in "".join(trace)
    assert "hunter2" not in text
    if style == "console":
        assert "node.ready" in first
        assert "caf\\udce9é" in first
