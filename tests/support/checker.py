"""Counts, outside the product, what became of every task: from the records, the accepted ids and the dead letters.

python -m tests.support.checker FOLDER --accepted FILE [--dead FILE] [--remaining FILE]     (files: one id a line)
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.messages import RawMessage

SHOWN = 5  # ids named in the report for each line that is not as it should be


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """One run as the records tell it. `ended` and `error` are None for a run that was cut off."""

    task_id: str
    pid: int
    started: float  # seconds since the epoch
    ended: float | None
    error: str | None
    more: Mapping[str, object] = field(default_factory=dict)  # what the task gave to `start`

    @property
    def cut(self) -> bool:
        """Whether it started and never ended."""
        return self.ended is None


def read_runs(folder: Path | str) -> list[RecordedRun]:
    """All runs in a folder of records, by their start. A torn last line (its writer was killed) is left out."""
    started: dict[str, dict[str, object]] = {}
    ended: dict[str, dict[str, object]] = {}
    for path in Path(folder).glob("*.record"):
        for line in path.read_bytes().split(b"\n")[:-1]:
            event = json.loads(line)
            (started if event["event"] == "start" else ended)[event["run"]] = event
    runs = (_run(start, ended.get(key)) for key, start in started.items())
    return sorted(runs, key=lambda run: run.started)


def _run(start: Mapping[str, object], end: Mapping[str, object] | None) -> RecordedRun:
    known = {"event", "id", "run", "pid", "time", "monotonic"}
    return RecordedRun(
        task_id=str(start["id"]),
        pid=int(str(start["pid"])),
        started=float(str(start["time"])),
        ended=None if end is None else float(str(end["time"])),
        error=None if end is None or "error" not in end else str(end["error"]),
        more={key: value for key, value in start.items() if key not in known},
    )


def ids_of(messages: Iterable[RawMessage]) -> list[str]:
    """The task ids of drained messages, "" for one without: none is left out of the count."""
    return [message.correlation_id or "" for message in messages]


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the accepted tasks.

    done: a run of it ended without error. dead: it lies in a dead-letter queue, and is not done. both: done, and dead
    as well. failed: runs of it ended, all with an error, and it lies nowhere. remaining: it lies in a queue, whatever
    else. lost: none of these. unexpected: ran, died or lies in a queue, and was never accepted. `repeated` gives the
    runs of each id that started more than once.
    """

    accepted: int
    once: int
    repeated: Mapping[str, int]
    cut_runs: tuple[RecordedRun, ...]
    done: frozenset[str]
    dead: frozenset[str]
    dead_twice: frozenset[str]
    failed: frozenset[str]
    remaining: frozenset[str]
    lost: frozenset[str]
    both: frozenset[str]
    unexpected: frozenset[str]

    @property
    def extra_runs(self) -> int:
        """Starts beyond the first of each id."""
        return sum(runs - 1 for runs in self.repeated.values())

    @property
    def unended(self) -> frozenset[str]:
        """The lost ones that did start."""
        return self.lost & {run.task_id for run in self.cut_runs}

    def __str__(self) -> str:
        """The report, one screen at most."""
        most = max(self.repeated.values(), default=1)
        rows: list[tuple[str, int, Collection[str]]] = [
            ("accepted", self.accepted, ()),
            ("run once", self.once, ()),
            (f"run more often (up to {most})", len(self.repeated), self.repeated),
            ("  extra runs", self.extra_runs, ()),
            ("runs cut off", len(self.cut_runs), ()),
            ("done", len(self.done), ()),
            ("failed and not dead-lettered", len(self.failed), self.failed),
            ("dead-lettered", len(self.dead), ()),
            ("  dead-lettered more than once", len(self.dead_twice), self.dead_twice),
            ("  done and dead-lettered", len(self.both), self.both),
            ("remaining in queues", len(self.remaining), self.remaining),
            ("lost", len(self.lost), self.lost),
            ("  of these started", len(self.unended), ()),
            ("unexpected", len(self.unexpected), self.unexpected),
        ]
        lines = []
        for label, number, ids in rows:
            shown = ", ".join(sorted(ids)[:SHOWN]) + (", ..." if len(ids) > SHOWN else "")
            lines.append(f"{label:32}{number:>9}   {shown}".rstrip())
        return "\n".join(lines)


def tally(
    records: Path | str, *, accepted: Iterable[str], dead: Iterable[str] = (), remaining: Iterable[str] = ()
) -> Tally:
    """Count. `dead` are the ids drained from the dead-letter queues, `remaining` those drained from the others."""
    runs = read_runs(records)
    wanted = frozenset(accepted)
    deaths = Counter(dead)
    left = frozenset(remaining)
    starts = Counter(run.task_id for run in runs)
    done = wanted & {run.task_id for run in runs if not run.cut and run.error is None}
    died = wanted & deaths.keys()
    failed = (wanted & {run.task_id for run in runs if run.error is not None}) - done - died - left
    return Tally(
        accepted=len(wanted),
        once=sum(1 for task_id in wanted if starts[task_id] == 1),
        repeated={task_id: number for task_id, number in sorted(starts.items()) if number > 1},
        cut_runs=tuple(run for run in runs if run.cut),
        done=done,
        dead=died - done,
        dead_twice=frozenset(task_id for task_id, number in deaths.items() if number > 1),
        failed=failed,
        remaining=wanted & left,
        lost=wanted - done - died - failed - left,
        both=died & done,
        unexpected=(frozenset(starts) | frozenset(deaths) | left) - wanted,
    )


def assert_clean(
    counted: Tally,
    *,
    max_extra_runs: int = 0,
    max_runs_of_one: int | None = None,
    dead: Collection[str] | int = 0,
    failed: int = 0,
) -> None:
    """Nothing lost, left over, unexpected, or both done and dead; the rest within what is given.

    `max_extra_runs` bounds the starts beyond the first of all ids together, `max_runs_of_one` the starts of any single
    id. `dead` is how many ids, or exactly which, must be dead-lettered, once each; `failed` how many failed and were
    not. AssertionError with the report otherwise.
    """
    never = ("lost", "unexpected", "remaining", "both", "dead_twice")
    wrong = [f"{len(getattr(counted, name))} {name}" for name in never if getattr(counted, name)]
    if len(counted.failed) != failed:
        wrong.append(f"{len(counted.failed)} failed, {failed} wanted")
    if counted.extra_runs > max_extra_runs:
        wrong.append(f"{counted.extra_runs} extra runs, at most {max_extra_runs} allowed")
    if max_runs_of_one is not None and max(counted.repeated.values(), default=1) > max_runs_of_one:
        wrong.append(f"a task ran {max(counted.repeated.values())} times, at most {max_runs_of_one} allowed")
    if isinstance(dead, int):
        if len(counted.dead) != dead:
            wrong.append(f"{len(counted.dead)} dead-lettered, {dead} wanted")
    elif counted.dead != set(dead):
        wrong.append(f"dead-lettered are {sorted(counted.dead)[:SHOWN]}, wanted {sorted(dead)[:SHOWN]}")
    if wrong:
        raise AssertionError("; ".join(wrong) + "\n" + str(counted))


def _ids_in(path: Path | None) -> list[str]:
    return [] if path is None else path.read_text().split()


def main() -> int:
    """Print the report; exit status 1 when something was lost or unexpected."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--accepted", type=Path, required=True)
    parser.add_argument("--dead", type=Path)
    parser.add_argument("--remaining", type=Path)
    given = parser.parse_args()
    counted = tally(
        given.folder,
        accepted=_ids_in(given.accepted),
        dead=_ids_in(given.dead),
        remaining=_ids_in(given.remaining),
    )
    print(counted)
    return 1 if counted.lost or counted.unexpected else 0


if __name__ == "__main__":
    raise SystemExit(main())
