"""How soon a node with many existing queues is ready: from exec to READY=1, every queue with its consumer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bench import Bench, ReadySocket, in_turns
from benchmarks.contenders import CELERY, OURS
from benchmarks.errors import BenchError
from benchmarks.report import Row, Target

EXECUTORS = 2


def config(path: Path, queues: Sequence[str]) -> Path:
    """A configuration file that declares the queues and serves them all by one pool."""
    declared = "\n".join(f'[queues."{queue}"]' for queue in queues)
    names = ", ".join(f'"{queue}"' for queue in queues)
    path.write_text(f"{declared}\n\n[pools.all]\nqueues = [{names}]\nconcurrency = {EXECUTORS}\n")
    return path


def ready_in(bench: Bench, queues: Sequence[str], file: Path) -> float:
    """Seconds from starting the program to READY=1, checked by the broker: each queue has a consumer then."""
    amqtask = OURS.worker(queues[0], EXECUTORS)[0]
    argv = [amqtask, "--config", str(file), "worker", "-A", f"benchmarks.{OURS.module}"]
    with ReadySocket(bench.path("notify")) as notify:
        begun = time.perf_counter()
        with bench.worker(OURS, queues[0], EXECUTORS, argv=argv, **notify.environ) as worker:
            notify.wait(worker)
            took = time.perf_counter() - begun
            with bench.raw() as client:
                silent = [queue for queue in queues if not client.consumers(queue)]
            if silent:
                raise BenchError(f"{len(silent)} queues have no consumer when the node says that it is ready")
    return took


def celery_ready_in(bench: Bench, queues: Sequence[str]) -> float:
    """Seconds until Celery consumes from the last of the queues; it says nothing, so the broker is asked."""
    begun = time.perf_counter()
    with bench.worker(CELERY, ",".join(queues), EXECUTORS) as worker:
        bench.wait_consumers(queues[-1], worker)
        return time.perf_counter() - begun


def startup(bench: Bench) -> Sequence[Row]:
    """The queues exist: ours has declared them in a first start, Celery's are declared bare."""
    count = bench.options.queues
    ours, theirs = ([bench.queue(kind) for _ in range(count)] for kind in ("many", "celery"))
    file = config(bench.path("amqtask.toml"), ours)
    figures: dict[str, list[float | None]] = {}
    notes: list[str] = []
    if OURS.present:
        first = in_turns(bench, "first start", {OURS.name: lambda: ready_in(bench, ours, file)}, runs=1)[OURS.name][0]
        figures = in_turns(bench, "startup", {OURS.name: lambda: ready_in(bench, ours, file)})
        notes = [f"the first start, which declares them, took {first:.2f} s"] if first else []
    with bench.raw() as client:
        for queue in theirs:
            client.declare(queue)
    figures |= in_turns(bench, "startup", {CELERY.name: lambda: celery_ready_in(bench, theirs)}, runs=1)
    bench.delete(*ours, *theirs)
    target = Target("", figures.get(OURS.name, []), 3, at_least=False, unit=" s")
    return [Row(f"start with {count} existing queues", "s to ready", figures, [target], notes)]
