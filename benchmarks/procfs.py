"""What Linux says about processes: children, CPU time and memory, read from /proc (no process is touched)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_KIB = 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of one process in bytes: resident, its fair share of shared pages added, and what only it has."""

    rss: int
    pss: int
    uss: int


def parse_smaps(text: str) -> Memory:
    """Read the text of /proc/PID/smaps_rollup."""
    kib: dict[str, int] = {}
    for line in text.splitlines():
        key, _, rest = line.partition(":")
        number = rest.split()[:1]
        if number and number[0].isdigit():
            kib[key] = int(number[0])
    private = kib.get("Private_Clean", 0) + kib.get("Private_Dirty", 0) + kib.get("Private_Hugetlb", 0)
    return Memory(rss=kib["Rss"] * _KIB, pss=kib["Pss"] * _KIB, uss=private * _KIB)


def memory(pid: int) -> Memory:
    """Memory of a live process. OSError when it is gone."""
    return parse_smaps(Path(f"/proc/{pid}/smaps_rollup").read_text())


def parse_stat(text: str) -> tuple[int, float, int]:
    """Parent, CPU seconds used (user and system) and start time in clock ticks, from the text of /proc/PID/stat."""
    # the command's name is in brackets and may hold anything: fields are counted behind the last bracket
    fields = text.rpartition(")")[2].split()
    return int(fields[1]), (int(fields[11]) + int(fields[12])) * _TICK_S, int(fields[19])


def _stats() -> dict[int, tuple[int, float, int]]:
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                found[int(name)] = parse_stat(Path(f"/proc/{name}/stat").read_text(errors="replace"))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def children(pid: int) -> list[int]:
    """The direct children of a process, oldest first."""
    stats = _stats()
    return sorted(
        (child for child, stat in stats.items() if stat[0] == pid), key=lambda child: (stats[child][2], child)
    )


def tree(pid: int) -> list[int]:
    """A process and all its descendants, itself first."""
    stats = _stats()
    found = [pid]
    for member in found:  # grows while we walk it
        found.extend(child for child, stat in stats.items() if stat[0] == member)
    return found


def cpu_s(pids: list[int]) -> float:
    """CPU seconds that these processes have used so far; one that is gone counts nothing."""
    stats = _stats()
    return sum(stats[pid][1] for pid in pids if pid in stats)
