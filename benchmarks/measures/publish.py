"""How fast many tasks are sent, every one confirmed, beside Celery and beside a bare socket of pre-encoded frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from benchmarks.bench import Bench, in_turns
from benchmarks.contenders import CEILING, CELERY, OURS, PEERS, Contender
from benchmarks.errors import BenchError
from benchmarks.raw import CHANNEL, WINDOWS
from benchmarks.report import Row, Target, paired
from benchmarks.sender import WARM_UP


def sent_by(bench: Bench, contender: Contender, count: int) -> float:
    """Messages a second of a contender's sending program, the time taken inside it around the bulk send alone."""
    queue = bench.queue("publish")
    bench.capture(contender, queue)
    bench.settle()
    took = float(bench.send(contender, queue, "bulk", contender.module, str(count))["seconds"])
    with bench.raw() as client:
        found = client.depth(queue)
    bench.delete(queue)
    if found != count + WARM_UP:
        raise BenchError(f"{count + WARM_UP} tasks were sent and the queue holds {found}")
    return count / took


def sent_raw(bench: Bench, count: int, *, window: int) -> float:
    """The same by a bare socket: the frames are ready before the clock starts."""
    queue, template = bench.queue("raw"), bench.reference()
    with bench.raw() as client:
        client.declare(queue)
        bench.settle()
        frames = list(template.copies(count, channel=CHANNEL, routing_key=queue, frame_max=client.frame_max))
        took = client.publish(frames, window=window)
        found = client.depth(queue)
    bench.delete(queue)
    if found != count:
        raise BenchError(f"{count} messages were confirmed and the queue holds {found}")
    return count / took


def publish(bench: Bench) -> Sequence[Row]:
    """`send_many` against Celery with `confirm_publish`, the other peers, and the ceiling."""
    count = bench.options.messages
    takers: dict[str, Callable[[], float]] = {}
    for contender in (OURS, *PEERS):
        if contender.present:
            given = max(250, int(count * contender.share))
            takers[contender.name] = partial(sent_by, bench, contender, given)
    takers[CEILING] = lambda: max(sent_raw(bench, count, window=window) for window in WINDOWS)
    figures = in_turns(bench, "publish", takers)
    ours = figures.get(OURS.name, [])
    targets = [
        Target("Celery", paired(ours, figures.get(CELERY.name, [])), 8),
        Target("of the ceiling", paired(ours, figures[CEILING]), 0.6),
    ]
    return [Row(f"bulk publish, confirmed, {count:,}", "messages/s", figures, targets)]
