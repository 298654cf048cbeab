"""`amqtask multi`: start, stop and show several named nodes on this machine."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from amqtask.cli.multi_words import WordsCommand, planned, seconds
from amqtask.cli.support import CANTCREAT, FAILED, NOPERM, OK, TEMPFAIL, chosen, common, print_json, print_table
from amqtask.clock import SYSTEM

if TYPE_CHECKING:
    from amqtask.node.multi.plan import PlannedNode
    from amqtask.node.multi.start import Started
    from amqtask.node.multi.stop import Stopped

START_TIMEOUT_S = 150.0  # above worker.boot_timeout_s, so that the node itself says why it did not start
STOP_TIMEOUT_S = 300.0

JSON = ("--json", "", "Print JSON.")
START_TIMEOUT = ("--timeout", "SECONDS", f"How long a node may take until it is ready [{START_TIMEOUT_S:g}].")
STOP_TIMEOUT = ("--timeout", "SECONDS", f"How long to wait [{STOP_TIMEOUT_S:g}].")


@click.group()
@common
@click.pass_context
def multi(ctx: click.Context, app: str | None, config_file: str | None) -> None:
    """Start and stop several named nodes on this machine.

    Each node is an `amqtask worker` in the background with a pid file and a log file of its own. Where systemd is at
    hand its units do this better: they restart a node that died.
    """
    root = ctx.find_root()
    app, config_file = chosen(ctx, app, config_file)
    root.obj = {**(root.obj or {}), "app": app, "config": config_file}


@multi.command(cls=WordsCommand, own=[START_TIMEOUT, JSON])
@click.pass_context
def start(ctx: click.Context, words: tuple[str, ...]) -> int:
    """Start nodes and wait until each consumes its queues.

    All options are checked before the first node is started. Exit code 0 when all are ready; the worker's own when one
    ended (2 wrong setting, 78 the app cannot be imported); 73 when a name is taken or a file cannot be made; 75 when
    one was not ready in time, which is left running.
    """
    from amqtask.node.multi.plan import PathUnusable, make_folders
    from amqtask.node.multi.start import Starter, amqtask_command

    nodes, own = planned(ctx, words)
    timeout_s = seconds(own, START_TIMEOUT_S)
    progress = Progress("starting", len(nodes))
    starter = Starter(
        _command(ctx, amqtask_command()),
        environ=os.environ,
        parallel=max(2, len(os.sched_getaffinity(0))),
        clock=SYSTEM,
        watch=progress.show,
    )
    try:
        make_folders(nodes)
        results = starter.start(nodes, timeout_s=timeout_s)
    except PathUnusable as error:
        click.echo(f"amqtask: {error}", err=True)
        return CANTCREAT
    finally:
        progress.close()
    if "json" in own:
        print_json({"nodes": [_start_document(result) for result in results]})
    else:
        print_table(
            ("NODE", "STATE", "PID", "TOOK", ""),
            [(r.node.name, r.state, r.pid, f"{r.took_s:.1f} s", _note(r)) for r in results],
        )
        _tell_why(results)
    return _start_code(results)


@multi.command(cls=WordsCommand, own=[STOP_TIMEOUT, JSON])
@click.pass_context
def stopwait(ctx: click.Context, words: tuple[str, ...]) -> int:
    """Stop nodes (SIGTERM) and wait until their running tasks are done.

    Exit code 0 when none runs any more, 1 when one ended without a clean stop, 75 when one still runs after the
    timeout, 77 when one belongs to somebody else. A node that is stopping already and is asked once more gives its
    running tasks back to the queue at once.
    """
    return _stop(ctx, words, wait=True)


@multi.command(cls=WordsCommand, own=[JSON])
@click.pass_context
def stop(ctx: click.Context, words: tuple[str, ...]) -> int:
    """Tell nodes to stop (SIGTERM) and do not wait.

    A node that is stopping already and is asked once more gives its running tasks back to the queue at once.
    """
    return _stop(ctx, words, wait=False)


@multi.command(cls=WordsCommand, own=[JSON])
@click.pass_context
def show(ctx: click.Context, words: tuple[str, ...]) -> int:
    """Show which nodes run, and the command that `start` would run for each."""
    from amqtask.node.multi.start import amqtask_command
    from amqtask.node.multi.stop import may_look, running

    nodes, own = planned(ctx, words)
    commands = [[*_command(ctx, amqtask_command()), "worker", *node.arguments] for node in nodes]
    pids = [running(node) for node in nodes]
    states = [
        "running" if pid else "down" if may_look(node) else "not permitted"
        for node, pid in zip(nodes, pids, strict=True)
    ]
    if "json" in own:
        rows = zip(nodes, states, pids, commands, strict=True)
        print_json(
            {
                "nodes": [
                    {**_paths(node), "state": state, "pid": pid, "command": command}
                    for node, state, pid, command in rows
                ]
            }
        )
        return OK
    print_table(
        ("NODE", "STATE", "PID", "PIDFILE", "LOGFILE"),
        [
            (node.name, state, pid or "-", _pidfile_cell(node, state), node.logfile)
            for node, state, pid in zip(nodes, states, pids, strict=True)
        ],
    )
    click.echo()
    for command in commands:
        click.echo(shlex.join(command))
    return OK


@multi.command(cls=WordsCommand, own=[JSON])
@click.pass_context
def names(ctx: click.Context, words: tuple[str, ...]) -> int:
    """Print the full names of the nodes, one a line."""
    nodes, own = planned(ctx, words)
    full = [str(node.name) for node in nodes]
    if "json" in own:
        print_json({"names": full})
    else:
        click.echo("\n".join(full))
    return OK


def _command(ctx: click.Context, command: Sequence[str]) -> list[str]:
    debug = bool((ctx.find_root().obj or {}).get("debug"))
    return [*command, "--debug"] if debug else [*command]


# -- stopping ----------------------------------------------------------------------------------------------------------


def _stop(ctx: click.Context, words: Sequence[str], *, wait: bool) -> int:
    from amqtask.node.multi.stop import Stopper

    nodes, own = planned(ctx, words)
    wait_s = seconds(own, STOP_TIMEOUT_S) if wait else 0.0
    progress = Progress("stopping", len(nodes))
    try:
        results = Stopper(clock=SYSTEM, watch=progress.show).stop(nodes, wait_s=wait_s)
    finally:
        progress.close()
    if "json" in own:
        print_json({"nodes": [_stop_document(result) for result in results]})
    else:
        print_table(
            ("NODE", "STATE", "PID", "TOOK"),
            [(r.node.name, r.state, r.pid or "-", f"{r.took_s:.1f} s" if r.pid else "-") for r in results],
        )
    return _stop_code(results, wait=wait)


def _stop_code(results: Sequence[Stopped], *, wait: bool) -> int:
    states = {result.state for result in results}
    if "not permitted" in states:
        return NOPERM
    if wait and "stopping" in states:
        return TEMPFAIL
    return FAILED if "died" in states else OK


def _stop_document(result: Stopped) -> dict[str, object]:
    took_s = round(result.took_s, 3)
    return {**_paths(result.node), "state": result.state, "pid": result.pid, "took_s": took_s}


# -- what is shown -----------------------------------------------------------------------------------------------------


def _start_code(results: Sequence[Started]) -> int:
    for result in results:
        if result.state == "failed":
            code = result.exit_code or FAILED
            return code if code > 0 else FAILED
    states = {result.state for result in results}
    if "taken" in states:
        return CANTCREAT
    return TEMPFAIL if "starting" in states else OK


def _start_document(result: Started) -> dict[str, object]:
    return {
        **_paths(result.node),
        "state": result.state,
        "pid": result.pid,
        "took_s": round(result.took_s, 3),
        "exit_code": result.exit_code,
        "text": result.text,
    }


def _paths(node: PlannedNode) -> dict[str, object]:
    return {"node": str(node.name), "pidfile": str(node.pidfile), "logfile": str(node.logfile)}


def _note(result: Started) -> str:
    if result.state == "failed":
        assert result.exit_code is not None
        how = f"exit {result.exit_code}" if result.exit_code >= 0 else f"signal {-result.exit_code}"
        return f"{how}, see {result.node.logfile}"
    return result.text


def _tell_why(results: Sequence[Started]) -> None:
    for result in results:
        if result.state == "failed" and result.text:
            click.echo(f"\n{result.node.name} wrote:\n{result.text}", err=True)
        elif result.state == "starting":
            click.echo(f"\n{result.node.name} is not ready yet and was left running.", err=True)


def _pidfile_cell(node: PlannedNode, state: str) -> str:
    # A file that nobody holds is what a killed process left behind; the next start takes it over.
    return f"{node.pidfile}{' (stale)' if state == 'down' and node.pidfile.exists() else ''}"


class Progress:
    """One line on a terminal that says how far it is; nothing where there is no terminal."""

    def __init__(self, doing: str, total: int) -> None:
        self._doing = doing
        self._total = total
        self._shown = sys.stderr.isatty()
        self._began = SYSTEM.monotonic()

    def show(self, done: Sequence[object], busy: Mapping[str, str]) -> None:
        """Draw the line anew."""
        if not self._shown or not busy:
            return
        what = ", ".join(f"{name} ({status})" if status else name for name, status in busy.items())
        text = f"{self._doing} {len(done)}/{self._total} after {SYSTEM.monotonic() - self._began:.0f} s: {what}"
        width = os.get_terminal_size(sys.stderr.fileno()).columns or 80  # 0: the terminal does not know
        sys.stderr.write(f"\r\x1b[K{text[: width - 1]}")
        sys.stderr.flush()

    def close(self) -> None:
        """Take the line away."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
