"""`amqtask queue`: look at queues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from amqtask.cli.declared import declared
from amqtask.cli.support import FAILED, OK, common, print_json, print_table

if TYPE_CHECKING:
    from amqtask.settings import Settings

Row = dict[str, object]


@click.group()
def queue() -> None:
    """Look at queues."""


@queue.command("list")
@common
@click.option("-Q", "--queues", multiple=True, metavar="A,B", help="Only these queues.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_(
    ctx: click.Context, *, app: str | None, config_file: str | None, queues: tuple[str, ...], as_json: bool
) -> int:
    """Show the declared queues with their messages and consumers.

    The management API is asked where it answers, else the broker itself, which does not tell unacknowledged messages.
    Exit code 1 when a declared queue does not exist.
    """
    from amqtask.topology.names import parse_queue_list

    named = parse_queue_list(*queues) if queues else ()
    settings, topology = declared(ctx, app, config_file, queues=named)
    names = named or tuple(topology.queues)
    rows = _rows(settings, names)
    for row in rows:
        row["type"] = topology.require(str(row["queue"])).type
        row["dead_letter_queue"] = topology.dead_letter_queue(str(row["queue"]))
    if as_json:
        print_json(rows)
    else:
        headings = ("queue", "type", "ready", "unacked", "consumers", "")
        print_table(headings, [_cells(row) for row in rows])
    return OK if all(row["exists"] for row in rows) else FAILED


def _cells(row: Row) -> Sequence[object]:
    figures = ["-" if row[key] is None else row[key] for key in ("ready", "unacked", "consumers")]
    return [row["queue"], row["type"], *figures, "" if row["exists"] else "does not exist"]


def _rows(settings: Settings, names: Sequence[str]) -> list[Row]:
    """One row for each name; None for a figure that nobody tells."""
    from amqtask.errors import BrokerError
    from amqtask.provision.counts import counts_by_amqp
    from amqtask.provision.live import live
    from amqtask.provision.management import Management, endpoints, virtual_host

    try:
        with Management(endpoints(settings), timeout_s=settings.broker.connect_timeout_s) as client:
            there = live(client, virtual_host(settings)).counts
    except BrokerError as error:
        if settings.broker.management_url:  # who names it wants to know
            click.echo(f"amqtask: {error}", err=True)
    else:
        return [
            _row(name, (found.ready, found.unacked, found.consumers) if (found := there.get(name)) else None)
            for name in names
        ]
    told = counts_by_amqp(settings, names)
    return [_row(name, (one[0], None, one[1]) if (one := told[name]) is not None else None) for name in names]


def _row(name: str, figures: tuple[int, int | None, int] | None) -> Row:
    ready, unacked, consumers = figures or (None, None, None)
    return {"queue": name, "exists": figures is not None, "ready": ready, "unacked": unacked, "consumers": consumers}
