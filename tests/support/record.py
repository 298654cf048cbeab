"""What tasks write down about themselves, outside the product: a line when a run starts and a line when it ends.

Every process appends to a file of its own, one write and one fsync a line, so that a line that `start` or `end` has
returned from survives SIGKILL. Thread-safe and fork-safe: threads of one process share its file by O_APPEND, and a
forked process opens a new one.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER_VARIABLE = "AMQTASK_TEST_RECORD"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a task: what `start` gives and `end` takes."""

    task_id: str
    key: str  # of this run among all runs of all processes


class Record:
    """Appends to files in `folder`. `sync=False` leaves fsync out, for what only a machine crash could lose."""

    def __init__(self, folder: Path | str, *, sync: bool = True) -> None:
        self.folder = Path(folder)
        self._sync = sync
        self._numbers = itertools.count()
        self._file: tuple[int, int] | None = None  # pid, file descriptor

    @classmethod
    def from_environment(cls) -> Record:
        """The record in the folder that AMQTASK_TEST_RECORD names."""
        return cls(os.environ[FOLDER_VARIABLE])

    def start(self, task_id: str, **more: object) -> Run:
        """A run begins. `more` is kept with it: attempt, queue, what the test wants to see again."""
        # The time besides the pid: a pid comes again, and a forked process counts on from its parent's number.
        run = Run(task_id, f"{os.getpid()}.{next(self._numbers)}.{time.time_ns()}")
        self._write("start", run, more)
        return run

    def end(self, run: Run, **more: object) -> None:
        """The run came to its end."""
        self._write("end", run, more)

    @contextlib.contextmanager
    def running(self, task_id: str, **more: object) -> Iterator[Run]:
        """Around a task's body. A run that raises has ended too, and the line names the error."""
        run = self.start(task_id, **more)
        try:
            yield run
        except BaseException as error:
            self.end(run, error=type(error).__name__)
            raise
        self.end(run)

    def _write(self, event: str, run: Run, more: dict[str, object]) -> None:
        line = {
            "event": event,
            "id": run.task_id,
            "run": run.key,
            "pid": os.getpid(),
            "time": time.time(),
            "monotonic": time.monotonic(),
            **more,
        }
        descriptor = self._descriptor()
        os.write(descriptor, json.dumps(line, separators=(",", ":")).encode() + b"\n")
        if self._sync:
            os.fsync(descriptor)

    def _descriptor(self) -> int:
        pid = os.getpid()
        if self._file is None or self._file[0] != pid:
            path = self.folder / f"{pid}-{time.time_ns()}.record"
            self._file = pid, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        return self._file[1]
