"""A process that outlives the test session just long enough to stop and remove what the session left behind.

The session (`sandbox.Sandbox`) starts it, tells it by lines on its standard input what it owns, and needs nothing else
of it: when the session's process ends, in whatever way (SIGKILL included), this one kills the process groups and
removes the folders that are still on its list. One thread, standard library only.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path


def stat_of(pid: int | str) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; None when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name is in brackets and may hold anything, so fields are counted behind the last bracket.
    return stat.rpartition(")")[2].split()


def alive(pid: int) -> bool:
    """Whether a process runs (or sleeps, or is stopped): one that only waits for its parent to notice does not."""
    stat = stat_of(pid)
    return stat is not None and stat[0] not in "ZX"


def born_at(pid: int) -> str | None:
    """The start time of a process in clock ticks since boot, as the kernel writes it; None when there is no such pid.

    A pid and this time name a process for good: a pid alone may belong to another one by the time it is killed.
    """
    stat = stat_of(pid)
    return stat[19] if stat is not None else None


def group_members(group: int) -> list[int]:
    """The live processes of a process group."""
    numbers = (name for name in os.listdir("/proc") if name.isdigit())
    stats = ((int(number), stat_of(number)) for number in numbers)
    return [pid for pid, stat in stats if stat is not None and stat[2] == str(group) and stat[0] not in "ZX"]


def kill_group(pid: int, born: str | None, *, timeout_s: float = 10) -> None:
    """SIGKILL the process group that `pid` founded, unless that pid is somebody else's by now; wait for its end."""
    now = born_at(pid)
    if now is not None and now != born:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
        end = time.monotonic() + timeout_s
        while group_members(pid) and time.monotonic() < end:
            time.sleep(0.01)


def apply(line: str, groups: dict[int, str | None], folders: list[str]) -> None:
    """Take one line of the session: `group PID BORN`, `release PID` or `folder PATH`."""
    word, _, rest = line.partition(" ")
    if word == "group":
        pid, _, born = rest.partition(" ")
        groups[int(pid)] = born
    elif word == "release":
        groups.pop(int(rest), None)
    elif word == "folder":
        folders.append(rest)


def clean(groups: dict[int, str | None], folders: list[str]) -> None:
    """Kill the groups, newest first, then remove the folders."""
    for pid, born in reversed(groups.items()):
        kill_group(pid, born)
    for _ in range(20):
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        if not any(Path(folder).exists() for folder in folders):
            return
        time.sleep(0.1)  # a process that was just killed may still be closing its files


def main(session_pid: int) -> None:
    """Follow the session until it ends, then clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: dict[int, str | None] = {}
    folders: list[str] = []
    try:
        session = os.pidfd_open(session_pid)
    except ProcessLookupError:
        return
    buffer = b""
    while True:
        # The pidfd besides the pipe: a child that the session forked would hold the pipe open after the session's end.
        ready, _, _ = select.select([0, session], [], [])
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                break
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                apply(line.decode(), groups, folders)
        elif session in ready:
            break
    clean(groups, folders)


if __name__ == "__main__":
    main(int(sys.argv[1]))
