"""One module per kind of figure; `ALL` names them in the order of the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.bench import Bench
from benchmarks.measures import drain, fairness, latency, node, publish, startup
from benchmarks.report import Row

Measure = Callable[[Bench], Sequence[Row]]

ALL: dict[str, Measure] = {
    "drain": drain.drain,
    "publish": publish.publish,
    "latency": latency.latency,
    "node": node.node,
    "backlog": drain.backlog,
    "startup": startup.startup,
    "fairness": fairness.fairness,
}
