"""How fast two executors empty a queue of no-op tasks, beside the peers and beside a bare socket that only consumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from benchmarks.bench import Bench, in_turns
from benchmarks.contenders import CEILING, CELERY, OURS, PEERS, Contender
from benchmarks.effective import settings_for
from benchmarks.errors import BenchError
from benchmarks.raw import PREFETCHES
from benchmarks.record import total
from benchmarks.report import Row, Target, paired
from benchmarks.watch import Watch

EXECUTORS = 2
SLOWEST = 150  # tasks/s below which a contender is given up


def drained_by(bench: Bench, contender: Contender, count: int) -> float:
    """Tasks a second of a contender's worker on a standing backlog of `count`, by the broker's own counters."""
    queue = bench.queue("drain")
    template = bench.capture(contender, queue)
    bench.fill(queue, template, count)
    watch = Watch(bench.rabbit, queue, bench.path("watch"))
    with bench.worker(contender, queue, EXECUTORS) as worker:
        took = watch.wait_drained(count, timeout_s=60 + count / SLOWEST, check=worker.check)
        ran = total(worker.tally)
    bench.delete(queue)
    if ran < count:
        raise BenchError(f"{count} messages were acknowledged and {ran} tasks ran")
    return count / took


def drained_raw(bench: Bench, count: int, *, prefetch: int) -> float:
    """The same by a bare socket: it consumes, scans frames and acks in batches."""
    queue = bench.queue("raw")
    with bench.raw() as client:
        client.declare(queue)
    bench.fill(queue, bench.reference(), count)
    watch = Watch(bench.rabbit, queue, bench.path("watch"))
    with bench.raw() as client:
        client.consume(queue, count, prefetch=prefetch)
        took = watch.wait_drained(count, timeout_s=60)
    bench.delete(queue)
    return count / took


def best_raw(bench: Bench, count: int) -> Callable[[], float]:
    """The ceiling: the better of a few prefetches, each taken every time, as the better one differs by machine."""
    return lambda: max(drained_raw(bench, count, prefetch=prefetch) for prefetch in PREFETCHES)


def drain(bench: Bench) -> Sequence[Row]:
    """Two executors against each peer's two, and against the ceiling."""
    count = bench.options.messages
    takers: dict[str, Callable[[], float]] = {}
    for contender in (OURS, *PEERS):
        if contender.present:
            given = max(500, int(count * contender.share))
            takers[contender.name] = partial(drained_by, bench, contender, given)
    takers[CEILING] = best_raw(bench, count)
    figures = in_turns(bench, "drain", takers)
    ours = figures.get(OURS.name, [])
    targets = [
        Target("Celery", paired(ours, figures.get(CELERY.name, [])), 8),
        Target("of the ceiling", paired(ours, figures[CEILING]), 0.5),
    ]
    name = f"drain, {EXECUTORS} executors, backlog {count:,}"
    return [Row(name, "tasks/s", figures, targets, settings=settings_for(bench, EXECUTORS))]


def backlog(bench: Bench) -> Sequence[Row]:
    """Whether a long queue costs us more than it costs the broker: our share of the ceiling at two lengths."""
    large, small = bench.options.large_backlog, bench.options.small_backlog
    takers: dict[str, Callable[[], float]] = {}
    for count in (small, large):
        if OURS.present:
            takers[f"{OURS.name} at {count:,}"] = partial(drained_by, bench, OURS, count)
        takers[f"{CEILING} at {count:,}"] = partial(drained_raw, bench, count, prefetch=PREFETCHES[0])
    figures = in_turns(bench, "backlog", takers)

    def share(count: int) -> list[float | None]:
        return paired(figures.get(f"{OURS.name} at {count:,}", []), figures[f"{CEILING} at {count:,}"])

    kept = paired(share(large), share(small))
    rows = [
        Row(
            f"drain at a backlog of {count:,}",
            "tasks/s",
            {who: figures[f"{who} at {count:,}"] for who in (OURS.name, CEILING) if f"{who} at {count:,}" in figures},
        )
        for count in (small, large)
    ]
    target = Target("share of the ceiling, long backlog over short", kept, 0.9)
    return [rows[0], Row(rows[1].name, rows[1].unit, rows[1].figures, [target])]
