"""What a node costs while it waits: CPU, its own memory, and the memory that each executor adds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from benchmarks import procfs
from benchmarks.bench import Bench, Worker, in_turns
from benchmarks.contenders import CELERY, OURS, Contender
from benchmarks.errors import BenchError
from benchmarks.record import total
from benchmarks.report import Row, Target

EXECUTORS = 2
TASKS = 2000
SETTLE_S = 5.0
MIB = 1024 * 1024


def executors_of(worker: Worker, contender: Contender) -> list[int]:
    """The executor processes: the worker's children, for us without the template, which is the eldest."""
    children = procfs.children(worker.pid)
    found = children[1:] if contender is OURS else children
    if len(found) != EXECUTORS:
        raise BenchError(f"{EXECUTORS} executors were asked for, and the worker has children {children}")
    return found


def rest(bench: Bench, contender: Contender) -> dict[str, float]:
    """Run some tasks, let the worker come to rest, and look at it: a fresh worker would flatter itself."""
    queue = bench.queue("idle")
    template = bench.capture(contender, queue)
    bench.fill(queue, template, TASKS)
    with bench.worker(contender, queue, EXECUTORS) as worker:
        end = time.monotonic() + 60
        while total(worker.tally) < TASKS:
            if time.monotonic() > end:
                raise BenchError(f"{TASKS} tasks did not run in a minute")
            worker.check()
            time.sleep(0.2)
        time.sleep(SETTLE_S)
        members = procfs.tree(worker.pid)
        used, begun = procfs.cpu_s(members), time.monotonic()
        time.sleep(bench.options.idle_s)
        used = procfs.cpu_s(members) - used
        lasted = time.monotonic() - begun
        main = procfs.memory(worker.pid)
        executors = [procfs.memory(pid).uss for pid in executors_of(worker, contender)]
        everything = sum(procfs.memory(pid).pss for pid in members)
    bench.delete(queue)
    return {
        "cpu": 100 * used / lasted,
        "rss": main.rss / MIB,
        "pss": main.pss / MIB,
        "executor": statistics.median(executors) / MIB,
        "tree": everything / MIB,
    }


def node(bench: Bench) -> Sequence[Row]:
    """Idle CPU of the whole process tree, memory of the node process, private memory of an executor."""
    seen: dict[str, list[dict[str, float]]] = {}

    def taker(contender: Contender) -> Callable[[], float]:
        def take() -> float:
            figures = rest(bench, contender)
            seen.setdefault(contender.name, []).append(figures)
            return figures["cpu"]

        return take

    if OURS.present:
        in_turns(bench, "node", {OURS.name: taker(OURS)})
    in_turns(bench, "node", {CELERY.name: taker(CELERY)}, runs=1)

    def figures(key: str) -> dict[str, list[float | None]]:
        return {who: [one[key] for one in taken] for who, taken in seen.items()}

    def target(key: str, limit: float, unit: str, what: str = "") -> Target:
        return Target(what, figures(key).get(OURS.name, []), limit, at_least=False, unit=unit)

    return [
        Row("idle CPU, all processes", "% of a core", figures("cpu"), [target("cpu", 1, " %")]),
        Row("idle node process, RSS", "MiB", figures("rss"), [target("rss", 60, " MiB")]),
        Row("idle node process, PSS", "MiB", figures("pss"), [target("pss", 60, " MiB")]),
        Row("an executor's private memory", "MiB", figures("executor"), [target("executor", 12, " MiB")]),
        Row(f"all processes, {EXECUTORS} executors, PSS", "MiB", figures("tree")),
    ]
