"""A program that sends: `python -m benchmarks.sender COMMAND MODULE[,MODULE] ARGUMENT...`, one JSON line as its answer.

one MODULE                      send one task; {"id": ...}
bulk MODULE COUNT               send COUNT tasks after a warm-up; {"seconds": ...}
latency MODULE[,MODULE] COUNT   time COUNT single sends of each, in turns; {"MODULE": median seconds, ...}
nap MODULE PATH SECONDS...      send a task that takes time for each of SECONDS
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import time
from typing import Protocol, cast

WARM_UP = 50  # first sends open connections and fill caches
BLOCK = 25  # sends in a row before it is the next module's turn


class Sends(Protocol):
    """What the app modules of this folder have in common."""

    def send_one(self) -> str:
        """Send one task; returns its id once the broker has it."""

    def send_bulk(self, count: int) -> None:
        """Send many, all confirmed on return."""

    def send_nap(self, seconds: float, path: str) -> None:
        """Send one task that takes time."""

    def close(self) -> None:
        """Let go of the connection."""


def load(name: str) -> Sends:
    """Import an app module of this folder."""
    return cast(Sends, importlib.import_module(f"benchmarks.{name}"))


def bulk(app: Sends, count: int) -> dict[str, float]:
    """Time one bulk send, connection and caches warm."""
    for _ in range(WARM_UP):
        app.send_one()
    begun = time.perf_counter()
    app.send_bulk(count)
    return {"seconds": time.perf_counter() - begun}


def latency(apps: dict[str, Sends], count: int) -> dict[str, float]:
    """Median time of a single confirmed send with each app, in blocks by turns so that noise hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in apps}
    for app in apps.values():
        for _ in range(WARM_UP):
            app.send_one()
    for _ in range(max(1, count // BLOCK)):
        for name, app in apps.items():
            for _ in range(BLOCK):
                begun = time.perf_counter()
                app.send_one()
                times[name].append(time.perf_counter() - begun)
    return {name: statistics.median(taken) for name, taken in times.items()}


def main(arguments: list[str]) -> None:
    """Run one command and print its answer."""
    command, names, *rest = arguments
    apps = {name: load(name) for name in names.split(",")}
    first = next(iter(apps.values()))
    answer: dict[str, object] = {}
    if command == "one":
        answer = {"id": first.send_one()}
    elif command == "bulk":
        answer = dict(bulk(first, int(rest[0])))
    elif command == "latency":
        answer = dict(latency(apps, int(rest[0])))
    elif command == "nap":
        for seconds in rest[1:]:
            first.send_nap(float(seconds), rest[0])
    else:
        sys.exit(f"no such command: {command}")
    for app in apps.values():
        app.close()
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
