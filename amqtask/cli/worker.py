"""`amqtask worker`: run a node in the foreground."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from amqtask.cli.support import chosen, common

LEVELS = ("debug", "info", "warning", "error", "critical")
KINDS = ("prefork",)  # as amqtask.pool.boot has them, which takes long to import


@click.command()
@common
@click.option("-Q", "--queues", metavar="A,B", help="Consume these queues only.")
@click.option("-c", "--concurrency", type=click.IntRange(min=1), help="Tasks that run at a time.")
@click.option("-n", "--hostname", metavar="NAME", help="The node's name: w1@%h (%h host, %n host name, %d domain).")
@click.option(
    "-l", "-L", "--loglevel", type=click.Choice(LEVELS, case_sensitive=False), help="Least serious events to log."
)
@click.option("-P", "--pool", "kind", type=click.Choice(KINDS), help="How tasks run.")
@click.option("-f", "--logfile", metavar="FILE", help="Log to this file.")
@click.option("--log-format", type=click.Choice(("auto", "console", "json")), help="How log lines look.")
@click.option("--pidfile", metavar="FILE", help="Write the process id to this file, locked while the node runs.")
@click.pass_context
def worker(
    ctx: click.Context,
    *,
    app: str | None,
    config_file: str | None,
    queues: str | None,
    concurrency: int | None,
    hostname: str | None,
    loglevel: str | None,
    kind: str | None,
    logfile: str | None,
    log_format: str | None,
    pidfile: str | None,
) -> int:
    """Run a node: consume queues and execute their tasks.

    Stops on SIGTERM: running tasks get worker.drain_s seconds to finish, what has not started goes back to its queue. A
    second SIGTERM gives back what runs, too. Exit code 0 after a stop, 2 for a wrong option or setting, 78 when the
    app cannot be imported.
    """
    from amqtask.node.main import main
    from amqtask.topology.names import parse_queue_list

    app, config_file = chosen(ctx, app, config_file)
    overrides: dict[str, Any] = {
        "worker.queues": list(parse_queue_list(queues)) if queues is not None else None,
        "worker.concurrency": concurrency,
        "worker.name": hostname,
        "worker.pidfile": pidfile,
        "log.level": loglevel.lower() if loglevel else None,
        "log.format": log_format,
        "log.file": logfile,
    }
    request = {
        "app": app,
        "config": config_file,
        "kind": kind,
        "overrides": {key: value for key, value in overrides.items() if value is not None},
        "path": [os.getcwd()],  # noqa: PTH109 - the template's sys.path starts where the command was given
    }
    debug = bool((ctx.find_root().obj or {}).get("debug"))
    code = main(request, environ=os.environ, debug=debug)
    sys.stdout.flush()
    return code
