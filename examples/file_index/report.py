"""What became of every file, counted from outside the product: by the index, and by the dead-letter queues.

Pure: it is given what was seen and makes tables of it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from examples.file_index.index import Done, shown
from examples.file_index.kinds import KINDS

HEADINGS = ("queue", "sent", "done", "failed", "dead", "rate/s", "p50 ms", "p95 ms")


@dataclass(frozen=True, slots=True)
class Sent:
    """One file that was sent: its kind, and when (Unix seconds)."""

    kind: str
    at: float


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message of a dead-letter queue. `reason` is the worker's word, `error` the task's text."""

    queue: str
    path: str
    reason: str
    error: str

    @classmethod
    def read(cls, queue: str, headers: Mapping[str, object], body: bytes) -> DeadLetter:
        """From a message as it came out of the queue."""
        args = json.loads(body)[0]
        path = shown(str(args[0])) if args else ""
        return cls(queue, path, str(headers.get("amqtask-reason", "")), str(headers.get("amqtask-error", "")))

    @property
    def what(self) -> str:
        """The error without its detail, to group by."""
        return self.error.partition(" (")[0]


@dataclass(frozen=True, slots=True)
class Row:
    """One queue's line. `rate` is files done per second, from its first send to its last end; latencies in ms."""

    queue: str
    sent: int
    done: int
    failed: int
    dead: int
    rate: float
    p50_ms: float
    p95_ms: float

    def cells(self) -> Sequence[str]:
        """As printed."""
        counts = (f"{count:,}" for count in (self.sent, self.done, self.failed, self.dead))
        return (self.queue, *counts, *(f"{value:,.0f}" for value in (self.rate, self.p50_ms, self.p95_ms)))


class Report:
    """The reckoning. All paths are as `index.shown` makes them."""

    def __init__(
        self,
        *,
        sent: Mapping[str, Sent],
        done: Mapping[str, Done],
        failed: Mapping[str, str],
        dead: Sequence[DeadLetter],
        planted: Collection[str],
    ) -> None:
        self._sent = sent
        self._done = done
        self._failed = failed
        self._dead = dead
        self._planted = planted

    def rows(self) -> list[Row]:
        """A line per queue, and one for all."""
        return [*(self._row(kind, (kind,)) for kind in KINDS), self._row("all", KINDS)]

    def reasons(self) -> list[tuple[int, str, str, str, str]]:
        """The dead letters by reason, most first: how many, from which queue, reason, error, one of the files."""
        groups = Counter((letter.queue, letter.reason, letter.what) for letter in self._dead)
        example = {(letter.queue, letter.reason, letter.what): letter.path for letter in reversed(self._dead)}
        return [(count, *group, example[group]) for group, count in groups.most_common()]

    def sum_line(self) -> str:
        """The check in one line."""
        sent, done, dead = len(self._sent), len(self._done), len(self._dead)
        return f"{sent:,} sent {'=' if sent == done + dead else '!='} {done:,} done + {dead:,} dead"

    def faults(self) -> list[str]:
        """All that does not add up; nothing when every file that was sent is either done or dead, and once."""
        dead = Counter(letter.path for letter in self._dead)
        sent, done = self._sent.keys(), self._done.keys()
        return [
            *_fault("sent, and neither done nor dead", sent - done - dead.keys()),
            *_fault("both done and dead", done & dead.keys()),
            *_fault("dead more than once", [path for path, count in dead.items() if count > 1]),
            *_fault("done or dead, and never sent", (done | dead.keys()) - sent),
            *_fault("made to fail, and not dead", set(self._planted) - dead.keys()),
        ]

    def run_again(self) -> int:
        """Runs beyond the first of each file: what redelivery costs."""
        return sum(done.runs - 1 for done in self._done.values())

    def _row(self, name: str, kinds: Collection[str]) -> Row:
        sent = {path: one for path, one in self._sent.items() if one.kind in kinds}
        done = {path: one for path, one in self._done.items() if one.kind in kinds}
        waits_ms = sorted((one.at - sent[path].at) * 1000 for path, one in done.items() if path in sent)
        lasted_s = max(one.at for one in done.values()) - min(one.at for one in sent.values()) if done and sent else 0.0
        return Row(
            queue=name,
            sent=len(sent),
            done=len(done),
            failed=sum(kind in kinds for kind in self._failed.values()),
            dead=sum(letter.queue in kinds for letter in self._dead),
            rate=len(done) / lasted_s if lasted_s > 0 else 0.0,
            p50_ms=percentile(waits_ms, 50),
            p95_ms=percentile(waits_ms, 95),
        )


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The smallest value that `percent` of all are not above (nearest rank); 0 when there is none."""
    if not ordered:
        return 0.0
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _fault(what: str, paths: Iterable[str]) -> list[str]:
    found = sorted(paths)
    return [f"{len(found):,} files are {what}; the first: {found[0]}"] if found else []
