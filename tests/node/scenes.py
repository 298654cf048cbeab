"""What several scenarios do to a node: publish by hand, wait for the record, kill."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.checker import read_runs
from tests.support.messages import Outgoing, read_properties, task_message
from tests.support.raw import Raw

Q = "work"


def send(raw: Raw, name: str, *args: object, count: int = 1, queue: str = Q, **headers: object) -> list[str]:
    """Publish tasks by hand; gives their ids, all of them accepted by the broker."""
    messages = [task_message(name, args, queue=queue, **headers) for _ in range(count)]  # type: ignore[arg-type]
    fates = raw.publish_many(messages)
    assert len(fates) == count
    return [id_of(message) for message in messages]


def id_of(message: Outgoing) -> str:
    """The task's id."""
    return str(read_properties(message.properties)["correlation_id"])


def wait_until(holds: Callable[[], bool], complaint: str, *, timeout_s: float = 30, every_s: float = 0.05) -> None:
    """Wait for something that an outsider can see."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"{complaint} within {timeout_s} s"
        time.sleep(every_s)


def wait_runs(folder: Path, count: int, *, ended: bool = True, timeout_s: float = 30) -> None:
    """Wait until the record holds `count` runs, ended ones unless `ended` is false."""
    every_s = 0.05 if count < 1000 else 0.5
    wait_until(
        lambda: sum(1 for run in read_runs(folder) if not (ended and run.cut)) >= count,
        f"fewer than {count} runs",
        timeout_s=timeout_s,
        every_s=every_s,
    )


def wait_ids(folder: Path, ids: list[str], *, timeout_s: float = 30) -> None:
    """Wait until a run of each of these has ended."""
    wanted = set(ids)
    wait_until(
        lambda: wanted <= {run.task_id for run in read_runs(folder) if not run.cut},
        f"not all of {len(ids)} tasks ended",
        timeout_s=timeout_s,
        every_s=0.05 if len(ids) < 1000 else 0.5,
    )


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not reaped does not."""
    try:
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
