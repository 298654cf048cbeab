"""The settings that our worker really runs with: what `amqtask config show` says, and the worker's own options."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from itertools import pairwise

from benchmarks.bench import ROOT, SENDER_S, Bench
from benchmarks.contenders import OURS
from benchmarks.errors import BenchError

OPTIONS = {"-Q": "worker.queues", "-c": "worker.concurrency", "-n": "worker.name"}


def overlaid(shown: Mapping[str, object], command: Sequence[str]) -> dict[str, str]:
    """The shown settings, as JSON texts, with the options of a worker's command line laid over them."""
    settings = {key: json.dumps(value) for key, value in shown.items()}
    for option, value in pairwise(command):
        if option in OPTIONS:
            settings[OPTIONS[option]] = f"{value} (option {option})"
    return settings


def settings_for(bench: Bench, executors: int, *more: str) -> dict[str, str]:
    """All settings of our worker when it is started with so many executors, `more` options, and a queue.

    Empty, with a line that says why, when they cannot be had.
    """
    try:
        return _settings(bench, "QUEUE", [*OURS.worker("QUEUE", executors), *more]) if OURS.present else {}
    except BenchError as error:
        bench.say(f"settings: FAILED: {error}")
        return {}


def _settings(bench: Bench, queue: str, command: Sequence[str]) -> dict[str, str]:
    argv = [command[0], "config", "show", "-A", f"benchmarks.{OURS.module}", "--json", "--all"]
    environ = bench.environ(queue, OURS)
    done = subprocess.run(argv, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=SENDER_S)
    if done.returncode:
        raise BenchError(f"{' '.join(argv)} ended {done.returncode}: {done.stderr[-600:].strip()}")
    return overlaid(json.loads(done.stdout), command)
