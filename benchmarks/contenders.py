"""Who is measured: how each task system's worker is started here, two executors each, and what each is called."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Command = Callable[[str, int], list[str]]


@dataclass(frozen=True, slots=True)
class Contender:
    """A task system: its name in the table, its app module here, and its worker's command line.

    `worker(queue, executors)` gives the command. `share` is the part of a run's messages that it is given: the slow
    ones would otherwise take most of the time, and a rate over a few seconds is as good.
    """

    name: str
    module: str
    package: str
    worker: Command
    share: float = 1.0
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def present(self) -> bool:
        """Whether it is installed."""
        try:
            return importlib.util.find_spec(self.package) is not None
        except ModuleNotFoundError:
            return False


def _ours(queue: str, executors: int) -> list[str]:
    return [
        str(Path(sys.executable).with_name("amqtask")),
        *f"worker -A benchmarks.ours_app -Q {queue} -c {executors}".split(),
    ]


def _celery(queue: str, executors: int) -> list[str]:
    return [sys.executable, "-m", "celery", *f"-A benchmarks.celery_app worker -Q {queue} -c {executors}".split()]


def _dramatiq(queue: str, executors: int) -> list[str]:
    options = f"benchmarks.dramatiq_app --queues {queue} --processes {executors} --threads 1"
    return [sys.executable, "-m", "dramatiq", *options.split()]


def _taskiq(_queue: str, executors: int) -> list[str]:
    # its log line per task at INFO would be half of its work
    options = f"worker benchmarks.taskiq_app:broker --workers {executors} --log-level WARNING"
    return [sys.executable, "-m", "taskiq", *options.split()]


OURS = Contender("amqtask", "ours_app", "amqtask.app", _ours)
CELERY = Contender("Celery", "celery_app", "celery", _celery, share=0.2)
DRAMATIQ = Contender("Dramatiq", "dramatiq_app", "dramatiq", _dramatiq, share=0.4)
TASKIQ = Contender("taskiq", "taskiq_app", "taskiq_aio_pika", _taskiq, share=0.4)
PEERS = (CELERY, DRAMATIQ, TASKIQ)
CEILING = "ceiling"
