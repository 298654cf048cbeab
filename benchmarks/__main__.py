"""`python -m benchmarks`: starts a private RabbitMQ, measures everything in one run, and prints one table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from benchmarks import report
from benchmarks.bench import Bench, Options
from benchmarks.contenders import OURS, PEERS
from benchmarks.measures import ALL
from tests.support.rabbit import LATEST_OF_THIS_MACHINE, BrokerFailed, Rabbits, Roots
from tests.support.sandbox import Sandbox

QUICK = Options(runs=1, messages=8000, small_backlog=4000, large_backlog=20_000, idle_s=4, sends=200, quick=True)

# The management plugin's statistics are off: they would be part of every figure, and nobody here reads them.
BROKER_CONF = ("management_agent.disable_metrics_collector = true",)


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(ALL), help="measure this alone (may be given again)")
    parser.add_argument("--runs", type=int, help="runs of each; their median counts (5; 1 with --quick)")
    parser.add_argument("--messages", type=int, help="messages of a run (40000; 8000 with --quick)")
    parser.add_argument("--large-backlog", type=int, help="messages of the long backlog (500000; 20000 with --quick)")
    parser.add_argument("--quick", action="store_true", help="a look in about two minutes; no figures to quote")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    parser.add_argument("--page", type=Path, metavar="FILE", help="put the table between the marks of this page")
    return parser.parse_args(argv)


def options(given: argparse.Namespace) -> Options:
    """How much to measure."""
    base = QUICK if given.quick else Options()
    return Options(
        runs=given.runs or base.runs,
        messages=given.messages or base.messages,
        small_backlog=base.small_backlog,
        large_backlog=given.large_backlog or base.large_backlog,
        idle_s=base.idle_s,
        sends=base.sends,
        quick=base.quick,
    )


def conditions(rabbit_version: str, chosen: Options) -> str:
    """One line on where and with what the figures were taken."""
    parts = [f"Python {platform.python_version()}", f"RabbitMQ {rabbit_version}", f"{os.cpu_count()} cores"]
    for package in ("amqtask", "pika", "celery", "dramatiq", "taskiq", "taskiq-aio-pika"):
        try:
            parts.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            parts.append(f"{package} missing")
    return ", ".join([*parts, f"median of {chosen.runs}" + (" (quick: not to be quoted)" if chosen.quick else "")])


def measure(given: argparse.Namespace, chosen: Options) -> tuple[list[report.Row], str]:
    """Take every figure that was asked for."""
    begun = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - begun:6.1f} s] {line}", file=sys.stderr, flush=True)

    for contender in (OURS, *PEERS):
        if not contender.present:
            say(f"{contender.name} is not installed and is left out (pip install amqtask[bench])")
    rows: list[report.Row] = []
    with Sandbox() as sandbox:
        rabbits = Rabbits(sandbox, Roots(os.environ.get("AMQTASK_TEST_RABBIT_ROOTS", "")))
        rabbit = rabbits.make(LATEST_OF_THIS_MACHINE, conf=BROKER_CONF).start()
        bench = Bench(sandbox, rabbit, chosen, say=say)
        for name in given.only or ALL:
            rows.extend(ALL[name](bench))
        version = rabbit.eval("rabbit_misc:version()").strip('"')
    return rows, conditions(version, chosen)


def main(argv: Sequence[str]) -> int:
    """Measure, print, write; 0 when every target is met, 1 when one is missed, 2 when nothing could be measured."""
    given = arguments(argv)
    chosen = options(given)
    # In the background of a shell SIGINT arrives ignored, and Ctrl-C must stop what was started there too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A terminated run cleans up like an interrupted one: the sandbox is a context manager.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        rows, where = measure(given, chosen)
    except BrokerFailed as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; everything that was started is stopped", file=sys.stderr)
        return 130
    print(f"{where}\n\n{report.text(rows)}")
    if given.json:
        given.json.write_text(
            json.dumps({"conditions": where, "rows": [row.as_json() for row in rows]}, indent=2) + "\n"
        )
    if given.page:
        given.page.write_text(
            report.replace_between_marks(given.page.read_text(), f"{where}\n\n{report.markdown(rows)}")
        )
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
