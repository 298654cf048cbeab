"""The verdicts of the benchmark table: paired ratios, medians, limits, and how samples of a queue become a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import effective, procfs, record, report, watch


def test_ratios_are_paired_run_by_run() -> None:
    assert report.paired([10, 30, None, 40], [5, 10, 1, None]) == [2, 3, None, None]


@pytest.mark.parametrize(
    ("values", "at_least", "met"),
    [
        ([7.9, 8.0, 9.0], True, True),
        ([7.8, 7.9, 9.0], True, False),
        ([1.1, 1.2, 1.9], False, True),
        ([1.1, 1.3, 1.9], False, False),
        ([], True, False),
        ([None], False, False),
    ],
)
def test_a_target_is_met_by_the_median_and_never_without_a_figure(
    values: list[float | None], at_least: bool, met: bool
) -> None:
    limit = 8.0 if at_least else 1.2
    target = report.Target("Celery", values, limit, at_least=at_least)
    assert target.met is met
    assert ("met" if met else "MISSED") in target.text()


def test_the_table_shows_every_contender_and_every_target() -> None:
    row = report.Row(
        "drain",
        "tasks/s",
        {"amqtask": [21000.0, 20000.0, 22000.0], "ceiling": [40000.0], "Celery": [None]},
        [report.Target("Celery", [None], 8), report.Target("of the ceiling", [0.525], 0.5)],
        ["a note"],
    )
    table = report.markdown([row])
    assert "| measurement | amqtask | Celery | ceiling | held to |" in table
    assert "| drain, tasks/s | 21,000 (20,000-22,000) | failed | 40,000 | not measured Celery" in table
    assert "0.525x of the ceiling (at least 0.5x: met) |" in table
    assert "- drain: a note" in table
    assert "21,000" in report.text([row])
    assert not row.met
    assert row.as_json()["median"] == {"amqtask": 21000.0, "ceiling": 40000.0, "Celery": None}


def test_the_table_goes_between_the_marks_of_a_page() -> None:
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    assert report.replace_between_marks(page, "new\n") == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"
    with pytest.raises(ValueError, match="has no"):
        report.replace_between_marks("no marks", "new\n")


def samples(*counts: tuple[int, int]) -> list[watch.Sample]:
    return [watch.Sample(at / 10, ready, unacked) for at, (ready, unacked) in enumerate(counts)]


def test_a_drain_lasts_from_the_last_full_sample_to_the_first_with_nothing_unacked() -> None:
    seen = samples((0, 0), (50, 0), (100, 0), (100, 0), (90, 10), (0, 30), (0, 1), (0, 0), (0, 0))
    assert watch.drained_in(seen, 100) == pytest.approx(0.4)


def test_a_drain_is_not_over_while_acks_are_missing_nor_before_it_has_begun() -> None:
    assert watch.drained_in(samples((100, 0), (0, 3)), 100) is None
    assert watch.drained_in(samples((0, 0), (0, 0)), 100) is None


def test_samples_leave_out_a_line_that_is_still_being_written() -> None:
    assert watch.parse("-1500000 10 0\n-1000000 9 1\n-50") == [watch.Sample(-1.5, 10, 0), watch.Sample(-1.0, 9, 1)]


def test_a_tally_counts_per_process(tmp_path: Path) -> None:
    tally = record.Tally(str(tmp_path))
    for _ in range(3):
        tally.hit()
    record.Tally(None).hit()
    assert record.total(tmp_path) == 3
    assert [path.name for path in tmp_path.iterdir()] == [str(os.getpid())]


def test_memory_is_read_from_smaps() -> None:
    text = "5600-7ffe ---p 00000000 00:00 0    [rollup]\nRss:  100 kB\nPss:  60 kB\nShared_Clean: 48 kB\n"
    text += "Private_Clean:  4 kB\nPrivate_Dirty:  48 kB\n"
    assert procfs.parse_smaps(text) == procfs.Memory(rss=100 * 1024, pss=60 * 1024, uss=52 * 1024)


def test_a_process_is_found_with_its_children_and_its_time() -> None:
    assert procfs.parse_stat("7 (a (b) c) S 3 7 7 0 -1 4 1 0 0 0 150 50 0 0 20 0 1 0 999 1 1")[::2] == (3, 999)
    assert os.getpid() in procfs.children(os.getppid())
    assert procfs.tree(os.getpid())[0] == os.getpid()
    assert procfs.cpu_s([os.getpid()]) > 0


def test_settings_are_told_once_where_equal_and_by_row_where_not() -> None:
    shown = {"tasks.ack": "late", "worker.concurrency": None, "worker.queues": None}
    drain = effective.overlaid(shown, ["amqtask", "worker", "-Q", "q", "-c", "2"])
    naps = effective.overlaid(shown, ["amqtask", "worker", "-Q", "q", "-c", "1"])
    rows = [report.Row("drain", "", {}, settings=drain), report.Row("naps", "", {}, settings=naps)]
    assert report.settings_lines([*rows, report.Row("other", "", {})]) == [
        'tasks.ack = "late"',
        "worker.concurrency = 2 (option -c)   # drain",
        "worker.concurrency = 1 (option -c)   # naps",
        "worker.queues = q (option -Q)",
    ]
    assert "worker.queues = q (option -Q)" in report.text(rows)
    assert "```text\ntasks.ack" in report.markdown(rows)
