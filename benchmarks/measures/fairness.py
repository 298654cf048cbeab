"""Whether short tasks wait behind a long one while another node is free: nine of 1 s and one of 60 s, two slots."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bench import Bench, Worker, in_turns
from benchmarks.contenders import CELERY, OURS, Contender
from benchmarks.effective import settings_for
from benchmarks.report import Row, Target

SHORT, SHORT_S, LONG_S = 9, 1.0, 60.0
GIVE_UP_S = 15.0  # a short task that has not run by now waits for the long one


def short_done(record: Path) -> list[float]:
    """When each of the short tasks ended, as they noted it themselves."""
    if not record.exists():
        return []
    lines = [line.split() for line in record.read_text().splitlines()]
    return [float(at) for seconds, at in lines if float(seconds) == SHORT_S]


def spread_out(bench: Bench, contender: Contender) -> float:
    """Seconds from sending, the long one first, until the last short one is done; GIVE_UP_S when it is not by then."""
    queue, record = bench.queue("fair"), bench.path("naps")
    bench.capture(contender, queue)
    with contextlib.ExitStack() as stack:
        nodes: list[Worker] = []
        for number in (1, 2):
            argv = [*contender.worker(queue, 1), "-n", f"fair{number}@%h"]
            nodes.append(stack.enter_context(bench.worker(contender, queue, 1, argv=argv)))
        bench.wait_consumers(queue, *nodes)
        time.sleep(1)
        begun = time.time()
        naps = [str(LONG_S), *[str(SHORT_S)] * SHORT]
        bench.send(contender, queue, "nap", contender.module, str(record), *naps)
        while time.time() < begun + GIVE_UP_S and len(short_done(record)) < SHORT:
            time.sleep(0.1)
        done = short_done(record)
        for node in nodes:  # the long task has nothing more to say
            bench.sandbox.kill(node.process)
    bench.delete(queue)
    return max(done) - begun if len(done) == SHORT else GIVE_UP_S


def fairness(bench: Bench) -> Sequence[Row]:
    """The same default settings as the drain runs with."""
    figures: dict[str, list[float | None]] = {}
    if OURS.present:
        figures |= in_turns(bench, "fairness", {OURS.name: lambda: spread_out(bench, OURS)})
    figures |= in_turns(bench, "fairness", {CELERY.name: lambda: spread_out(bench, CELERY)}, runs=1)
    target = Target("", figures.get(OURS.name, []), 12, at_least=False, unit=" s")
    name = f"{SHORT} tasks of {SHORT_S:.0f} s and one of {LONG_S:.0f} s on 2 nodes of 1 slot"
    note = f"{GIVE_UP_S:.0f} s means that a short task was still waiting then"
    settings = settings_for(bench, 1, "-n", "fair1@%h")
    return [Row(name, "s until all short ones are done", figures, [target], [note], settings)]
