"""One run of the demo: sends a task per file, watches the index and the dead-letter queues, draws the balance."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from amqtask import App, BatchFailed
from amqtask.cli.support import print_table
from examples.file_index import kinds, tasks
from examples.file_index.index import Index, shown, walk
from examples.file_index.planted import plant
from examples.file_index.progress import Progress
from examples.file_index.report import HEADINGS, DeadLetter, Report, Sent
from examples.file_index.stage import Worker, broker, environment, worker
from tests.support.raw import Raw
from tests.support.sandbox import Sandbox

ENOUGH = 5_000  # files, for the figures to mean something
MORE = ("/usr/share", "/usr/lib")  # where they are taken from when the usual folder has too few
LOOK_EVERY_S = 0.2
STUCK_S = 30.0


def files_to_index(folder: str, *, fill: bool) -> list[str]:
    """Every file below `folder`; with `fill`, as many below MORE as are missing to ENOUGH. Says what it does."""
    found = list(walk(folder))
    click.echo(f"{folder}: {len(found):,} files")
    if not fill or len(found) >= ENOUGH:
        return found
    known, missing = set(found), ENOUGH - len(found)
    more = itertools.chain.from_iterable(walk(place) for place in MORE)
    found += itertools.islice((path for path in more if path not in known), missing)
    click.echo(f"that is fewer than {ENOUGH:,}, so with files from {' and '.join(MORE)}: {len(found):,}")
    return found


def run(folder: str, index_path: Path, *, fill: bool) -> bool:
    """Index; True when all that was sent is accounted for. Raises StageFailed when broker or worker fail."""
    with ExitStack() as stack:
        try:
            return _run(stack, files_to_index(folder, fill=fill), index_path)
        finally:
            # From here on everything is being stopped; a second Ctrl-C could only leave something running.
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run(stack: ExitStack, paths: Sequence[str], index_path: Path) -> bool:
    sandbox = stack.enter_context(Sandbox())
    planted = plant(sandbox.folder("planted"))
    click.echo(f"and {len(planted)} files that are made to fail")
    index_path.parent.mkdir(parents=True, exist_ok=True)
    index = stack.enter_context(Index(index_path, make=True))
    click.echo("starting RabbitMQ and a worker ...")
    node = stack.enter_context(broker(sandbox))
    environ = environment(node.url(), index_path)
    working = stack.enter_context(worker(sandbox, environ))
    raw = stack.enter_context(Raw(node.url()))
    tasks.app.configure(environ=environ)
    started = time.monotonic()
    with tasks.app:
        sent, refused = send(tasks.app, [*paths, *planted])
    finished = watch(index, raw, working, expected=len(sent))
    lasted_s = time.monotonic() - started
    report = Report(
        sent=sent,
        done=index.done(),
        failed=index.failed(),
        dead=dead_letters(raw),
        planted=[shown(path) for path in planted],
    )
    show(report, index, lasted_s)
    faults = [*refused, *report.faults()]
    for fault in faults:
        click.secho(f"WRONG: {fault}", fg="red")
    if not finished:
        click.echo(f"nothing moved for {STUCK_S:.0f} s; the worker's last words:\n{working.last_words()}")
    return finished and not faults


def send(app: App, paths: Sequence[str]) -> tuple[dict[str, Sent], list[str]]:
    """Send a task per file, in bulk; gives what the broker has taken, and what was wrong with the rest."""
    sent: dict[str, Sent] = {}
    try:
        with Progress("sending", len(paths)) as progress, app.pipeline() as pipeline:
            for count, path in enumerate(paths, 1):
                kind = kinds.kind_of(path)
                call = tasks.TASKS[kind].s(path).set(routing_key=kinds.routing_key(path))
                sent[shown(path)] = Sent(kind, time.time())
                pipeline.send(call)
                progress.reach(count)
    except BatchFailed as failed:
        for position in failed.failures:
            del sent[shown(paths[position])]
        return sent, [str(failed)]
    return sent, []


def watch(index: Index, raw: Raw, working: Worker, *, expected: int) -> bool:
    """Wait until `expected` files are in the index or in a dead-letter queue; False when nothing moves any more."""
    last, moved_at = (-1, -1), time.monotonic()
    with Progress("indexing", expected) as progress:
        while True:
            now = index.counts()[0], dead_count(raw)
            progress.reach(min(sum(now), expected))
            if sum(now) >= expected:
                return True
            working.check()
            if now != last:
                last, moved_at = now, time.monotonic()
            elif time.monotonic() - moved_at > STUCK_S:
                return False
            time.sleep(LOOK_EVERY_S)


def dead_count(raw: Raw) -> int:
    """The messages in all dead-letter queues."""
    return sum(raw.count(f"{kind}.dlq") for kind in kinds.KINDS)


def dead_letters(raw: Raw) -> list[DeadLetter]:
    """Take every message off the dead-letter queues."""
    return [
        DeadLetter.read(kind, message.headers, message.body)
        for kind in kinds.KINDS
        for message in raw.drain(f"{kind}.dlq")
    ]


def show(report: Report, index: Index, lasted_s: float) -> None:
    """Print the tables and the check."""
    click.echo()
    print_table(HEADINGS, [row.cells() for row in report.rows()])
    click.echo("\nDead letters:")
    print_table(("count", "queue", "reason", "error", "for example"), report.reasons())
    found = index.summary()
    click.echo(
        f"\nThe index: {found['files']:,} files with {found['bytes'] / 1e6:,.1f} MB; {found['lines']:,} lines and "
        f"{found['words']:,} words of text, {found['images']:,} images, {found['archives']:,} archives that unpack to "
        f"{found['unpacked_bytes'] / 1e6:,.1f} MB."
    )
    click.echo(f"{report.sum_line()}, in {lasted_s:.1f} s; {report.run_again()} ran more than once.")
