"""What a mutation is: one promise, one change of the code that breaks it, and the tests that must notice. Pure."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from pathlib import Path


class Promise(enum.Enum):
    """What amqtask promises its users; each is broken by at least one mutation."""

    PUBLISHED = "published means safe"
    DELIVERED = "delivered means settled"
    WAITS = "nothing waits in a worker"
    SESSION = "a lost connection is a new session"
    STOPPING = "stopping is not failing"
    NAMES = "unknown names are errors"
    UNDERSTOOD = "whatever arrives is understood or dead-lettered with a reason"


class Misplaced(Exception):
    """The text that a mutation replaces is not in the code exactly once: the code has moved, the table has not."""


@dataclass(frozen=True, slots=True)
class Change:
    """`old`, which `file` (below amqtask/) holds exactly once, becomes `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutation:
    """After all `changes` every test of `red` must fail. `breaks` says what no longer holds then.

    There is more than one change only where two places keep the promise, each of them alone. `sign` is a regular
    expression that the report of each failure must match: without it a mutation that merely stops the program would
    pass for one that a test has understood. `patience_s` bounds each wait of a test for what a break keeps from coming.
    """

    name: str
    promise: Promise | None
    breaks: str
    changes: tuple[Change, ...]
    red: tuple[str, ...]
    sign: str
    patience_s: float = 3.0

    def apply(self, package: Path) -> None:
        """Change the copy of the code in `package`. Raises Misplaced, with all that is not found."""
        missing = []
        for change in self.changes:
            path = package / change.file
            source = path.read_text() if path.exists() else ""
            found = source.count(change.old)
            if found != 1:
                missing.append(f"amqtask/{change.file} holds this text {found} times, not once:\n{change.old}")
                continue
            changed = source.replace(change.old, change.new)
            compile(changed, str(path), "exec")  # else every test would be red, for no reason of its own
            path.write_text(changed)
        if missing:
            raise Misplaced(
                f"mutation {self.name!r} has lost its place. Find what now makes sure that {self.breaks}, "
                f"and have tests/mutations/table.py break that. {' '.join(missing)}"
            )

    def explains(self, report: str) -> bool:
        """Whether the report of a failure is about what this breaks."""
        return re.search(self.sign, report) is not None
