"""The harness's record and checker: what tasks write down is read back, and every kind of harm is counted as such."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.checker import Tally, assert_clean, ids_of, main, read_runs, tally
from tests.support.messages import RawMessage, properties
from tests.support.record import Record

ACCEPTED = ("a", "b", "c")


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(tmp_path)


def run_all(record: Record, *ids: str) -> None:
    for task_id in ids:
        with record.running(task_id):
            pass


def test_all_run_once_is_clean(record: Record, tmp_path: Path) -> None:
    run_all(record, *ACCEPTED)
    counted = tally(tmp_path, accepted=ACCEPTED)
    assert_clean(counted)
    assert (counted.accepted, counted.once, counted.done) == (3, 3, frozenset(ACCEPTED))


def test_what_a_run_wrote_is_read_back(record: Record, tmp_path: Path) -> None:
    run = record.start("a", attempt=2, queue="q")
    record.end(run)
    record.start("b")
    with pytest.raises(KeyError), record.running("c"):
        raise KeyError
    first, cut, failed = read_runs(tmp_path)
    assert first.more == {"attempt": 2, "queue": "q"}
    assert first.ended is not None
    assert first.ended >= first.started
    assert (first.task_id, first.pid, first.cut, first.error) == ("a", os.getpid(), False, None)
    assert (cut.task_id, cut.cut) == ("b", True)
    assert (failed.cut, failed.error) == (False, "KeyError")


def lose(record: Record) -> Tally:
    run_all(record, "a", "b")
    return tally(record.folder, accepted=ACCEPTED)


def lose_in_the_middle(record: Record) -> Tally:
    run_all(record, "a", "b")
    record.start("c")
    return tally(record.folder, accepted=ACCEPTED)


def run_twice(record: Record) -> Tally:
    run_all(record, "a", "b", "c", "b")
    return tally(record.folder, accepted=ACCEPTED)


def run_what_nobody_sent(record: Record) -> Tally:
    run_all(record, *ACCEPTED, "d")
    return tally(record.folder, accepted=ACCEPTED)


def leave_one(record: Record) -> Tally:
    run_all(record, *ACCEPTED)
    return tally(record.folder, accepted=ACCEPTED, remaining=["c"])


def bury_what_was_done(record: Record) -> Tally:
    run_all(record, *ACCEPTED)
    return tally(record.folder, accepted=ACCEPTED, dead=["c"])


def bury_twice(record: Record) -> Tally:
    run_all(record, "a", "b")
    return tally(record.folder, accepted=ACCEPTED, dead=["c", "c"])


def bury_one(record: Record) -> Tally:
    run_all(record, "a", "b")
    return tally(record.folder, accepted=ACCEPTED, dead=["c"])


def bury_a_stranger(record: Record) -> Tally:
    run_all(record, *ACCEPTED)
    return tally(record.folder, accepted=ACCEPTED, dead=[""])


def fail_one(record: Record) -> Tally:
    run_all(record, "a", "b")
    record.end(record.start("c"), error="ValueError")
    return tally(record.folder, accepted=ACCEPTED)


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (lose, "1 lost"),
        (lose_in_the_middle, "1 lost"),
        (run_twice, "1 extra runs, at most 0 allowed"),
        (run_what_nobody_sent, "1 unexpected"),
        (leave_one, "1 remaining"),
        (bury_what_was_done, "1 both"),
        (bury_twice, "1 dead_twice"),
        (bury_one, "1 dead-lettered, 0 wanted"),
        (bury_a_stranger, "1 unexpected"),
        (fail_one, "1 failed, 0 wanted"),
    ],
)
def test_each_harm_is_found(record: Record, harm: Callable[[Record], Tally], complaint: str) -> None:
    counted = harm(record)
    with pytest.raises(AssertionError, match=complaint):
        assert_clean(counted)


def test_bounds_are_kept_exactly(record: Record) -> None:
    counted = run_twice(record)
    assert counted.repeated == {"b": 2}
    assert_clean(counted, max_extra_runs=1, max_runs_of_one=2)
    with pytest.raises(AssertionError, match="a task ran 2 times, at most 1 allowed"):
        assert_clean(counted, max_extra_runs=1, max_runs_of_one=1)


def test_dead_letters_can_be_wanted_by_number_or_by_name(record: Record) -> None:
    counted = bury_one(record)
    assert_clean(counted, dead=1)
    assert_clean(counted, dead=["c"])
    with pytest.raises(AssertionError, match=r"dead-lettered are \['c'\], wanted \['b'\]"):
        assert_clean(counted, dead=["b"])


def test_a_run_cut_off_and_done_later_is_an_extra_run_and_no_loss(record: Record) -> None:
    record.start("a")
    run_all(record, "a", "b", "c")
    counted = tally(record.folder, accepted=ACCEPTED)
    assert [run.task_id for run in counted.cut_runs] == ["a"]
    assert not counted.unended
    assert_clean(counted, max_extra_runs=1)


def test_the_report_fits_a_screen_and_names_the_ids(record: Record) -> None:
    report = str(lose_in_the_middle(record))
    assert len(report.splitlines()) < 24
    assert "lost                                    1   c" in report
    assert "  of these started                      1" in report


def test_a_torn_last_line_is_left_out(record: Record, tmp_path: Path) -> None:
    run_all(record, "a")
    (path,) = tmp_path.glob("*.record")
    with path.open("ab") as file:
        file.write(b'{"event":"start","id":"b"')
    assert [run.task_id for run in read_runs(tmp_path)] == ["a"]


def test_a_forked_process_writes_a_file_of_its_own(record: Record, tmp_path: Path) -> None:
    run_all(record, "a")
    child = multiprocessing.get_context("fork").Process(target=run_all, args=(record, "b"))
    child.start()
    child.join()
    run_all(record, "c")
    assert len(list(tmp_path.glob("*.record"))) == 2
    assert {run.task_id: run.pid for run in read_runs(tmp_path)} == {"a": os.getpid(), "b": child.pid, "c": os.getpid()}


def test_a_line_survives_the_process_that_wrote_it(tmp_path: Path) -> None:
    script = (
        "import os, signal\n"
        "from tests.support.record import Record\n"
        "Record.from_environment().start('a')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "AMQTASK_TEST_RECORD": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    (run,) = read_runs(tmp_path)
    assert (run.task_id, run.cut) == ("a", True)


def test_ids_of_dead_letters_leave_none_out() -> None:
    letters = [
        RawMessage("", "q", False, properties(correlation_id="a"), b""),
        RawMessage("", "q", False, b"\0\0", b""),
    ]
    assert ids_of(letters) == ["a", ""]


def test_the_command_prints_the_report(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_all(record, "a", "b")
    accepted, dead = tmp_path / "accepted", tmp_path / "dead"
    accepted.write_text("a\nb\nc\n")
    dead.write_text("c\n")
    monkeypatch.setattr(sys, "argv", ["checker", str(tmp_path), "--accepted", str(accepted), "--dead", str(dead)])
    assert main() == 0
    assert "dead-lettered                           1" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["checker", str(tmp_path), "--accepted", str(accepted)])
    assert main() == 1
