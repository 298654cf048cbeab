"""How long one confirmed send takes, beside pika's own blocking publish of the same message."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from benchmarks.bench import Bench, in_turns, wire_copy
from benchmarks.contenders import OURS, PEERS, Contender
from benchmarks.report import Row, Target, paired

PIKA = "pika"


def latency(bench: Bench) -> Sequence[Row]:
    """`task.delay` against pika in the same process, in turns of a few sends; the peers in processes of their own."""
    sends = str(bench.options.sends)
    beside: list[float | None] = []  # pika's figures of the runs so far

    def ours() -> float:
        beside.append(None)
        queue = bench.queue("latency")
        template = bench.capture(OURS, queue)
        bench.settle()
        modules = f"{OURS.module},pika_app"
        answer = bench.send(OURS, queue, "latency", modules, sends, BENCH_TEMPLATE=wire_copy(template))
        bench.delete(queue)
        beside[-1] = float(answer["pika_app"]) * 1e6
        return float(answer[OURS.module]) * 1e6

    def peer(contender: Contender) -> float:
        queue = bench.queue("latency")
        bench.capture(contender, queue)
        bench.settle()
        answer = bench.send(contender, queue, "latency", contender.module, sends)
        bench.delete(queue)
        return float(answer[contender.module]) * 1e6

    takers = {OURS.name: ours} if OURS.present else {}
    takers |= {who.name: partial(peer, who) for who in PEERS if who.present}
    figures = in_turns(bench, "latency", takers)
    figures[PIKA] = beside
    target = Target("pika", paired(figures.get(OURS.name, []), figures.get(PIKA, [])), 1.2, at_least=False)
    return [Row("one confirmed send", "us, median", figures, [target])]
