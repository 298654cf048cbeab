"""The index takes a file once however often its task runs; the report finds what does not add up."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.file_index.index import Done, Index, shown
from examples.file_index.readers import Facts
from examples.file_index.report import DeadLetter, Report, Sent, percentile


def test_a_task_that_runs_twice_writes_one_row(tmp_path: Path) -> None:
    with Index(tmp_path / "i.sqlite3", make=True) as index:
        for at in (1.0, 2.0):
            index.add("/a", "text", size=4, sha256="00", facts=Facts("utf-8", lines=1, words=2), at=at)
            index.add_failure("/b", "image", error="cut", at=at)
        assert index.counts() == (1, 1)
        assert index.done() == {"/a": Done("text", 2.0, 2)}
        assert index.failed() == {"/b": "image"}
        assert index.summary()["words"] == 2


def test_a_new_index_is_empty_and_a_name_of_any_bytes_fits(tmp_path: Path) -> None:
    path = tmp_path / "i.sqlite3"
    odd = b"/caf\xe9".decode("utf-8", "surrogateescape")
    with Index(path, make=True) as index:
        index.add(odd, "other", size=0, sha256="", facts=Facts(""), at=1.0)
        assert list(index.done()) == [shown(odd)] == ["/caf\\xe9"]
    with Index(path, make=True) as index:
        assert index.counts() == (0, 0)
        assert index.summary()["lines"] == 0


def letter(path: str, queue: str = "text", error: str = "Unusable: not UTF-8 (line 1)") -> DeadLetter:
    return DeadLetter(queue, path, "failed", error)


def make(
    done: dict[str, Done] | None = None, dead: list[DeadLetter] | None = None, planted: tuple[str, ...] = ()
) -> Report:
    sent = {f"/{name}": Sent("text" if name in "abc" else "image", 100.0) for name in "abcd"}
    return Report(sent=sent, done=done or {}, failed={"/c": "text"}, dead=dead or [], planted=planted)


DONE = {"/a": Done("text", 100.5, 1), "/b": Done("text", 102.0, 2), "/d": Done("image", 101.0, 1)}


def test_all_adds_up() -> None:
    report = make(DONE, [letter("/c")], planted=("/c",))
    assert report.faults() == []
    assert report.sum_line() == "4 sent = 3 done + 1 dead"
    assert report.run_again() == 1
    rows = {row.queue: row for row in report.rows()}
    assert rows["text"].cells() == ("text", "3", "2", "1", "1", "1", "500", "2,000")
    assert rows["archive"].cells() == ("archive", *["0"] * 7)
    assert (rows["all"].sent, rows["all"].done, rows["all"].dead) == (4, 3, 1)
    assert report.reasons() == [(1, "text", "failed", "Unusable: not UTF-8", "/c")]


@pytest.mark.parametrize(
    ("done", "dead", "planted", "fault"),
    [
        (DONE, [], (), "1 files are sent, and neither done nor dead; the first: /c"),
        (DONE, [letter("/c"), letter("/a")], (), "both done and dead; the first: /a"),
        (DONE, [letter("/c"), letter("/c")], (), "dead more than once"),
        ({**DONE, "/x": Done("text", 1.0, 1)}, [letter("/c")], (), "never sent; the first: /x"),
        (DONE, [letter("/c")], ("/b",), "made to fail, and not dead; the first: /b"),
    ],
)
def test_what_does_not_add_up_is_named(
    done: dict[str, Done], dead: list[DeadLetter], planted: tuple[str, ...], fault: str
) -> None:
    assert fault in "\n".join(make(done, dead, planted).faults())


def test_a_dead_letter_is_read_from_its_headers_and_body() -> None:
    headers = {"amqtask-reason": "failed", "amqtask-error": "Unusable: cannot be opened (No such file)"}
    read = DeadLetter.read("text", headers, b'[["/a \\udce9"], {}, {}]')
    assert (read.path, read.reason, read.what) == ("/a \\xe9", "failed", "Unusable: cannot be opened")


def test_percentiles_are_of_the_values_themselves() -> None:
    assert [percentile([1, 2, 3, 4], percent) for percent in (1, 50, 51, 95, 100)] == [1, 2, 3, 4, 4]
    assert percentile([], 50) == 0
