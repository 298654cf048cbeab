"""Reads the words of an `amqtask multi` command: help, options as the worker's own command has them, planned nodes."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from amqtask.cli.support import chosen

if TYPE_CHECKING:
    from amqtask.node.multi.options import Given, Option
    from amqtask.node.multi.plan import PlannedNode
    from amqtask.pool.names import NodeName

NODES_HELP = """Nodes are names (w1 w2@%h) or one count (3: amqtask1 to amqtask3). Options of `amqtask worker` hold for
all nodes; with nodes behind a colon for these only: -Q:1-3 images,video -c:w2 4 --loglevel:4,5=debug (places count
from 1). In the paths of --pidfile, --logfile and --config %n is the node's name, %h its host, %d the host's domain,
%i and %I an executor's index (empty: executors write no files)."""


class WordsCommand(click.Command):
    """A command whose words we read ourselves: click has no options with nodes in their names."""

    def __init__(self, *args: Any, own: Sequence[tuple[str, str, str]] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.own = tuple(own)  # spelling, metavar ("" for a flag), help

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words as they are; only a wish for help is heard at once."""
        if any(word in ("-h", "--help") for word in args):
            click.echo(ctx.get_help(), color=ctx.color)
            ctx.exit()
        ctx.params["words"] = tuple(args)
        return []

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """What comes behind the command's name."""
        return ["NODE...", "[OPTIONS]"]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Multi's own options, then those of the worker."""
        records = [(f"{spelling} {metavar}".rstrip(), text) for spelling, metavar, text in self.own]
        with formatter.section("Options"):
            formatter.write_dl([*records, ("-h, --help", "Show this message and exit.")])
        of_worker = [param.get_help_record(ctx) for param in _worker().params if param.name != "hostname"]
        with formatter.section("Options of the worker"):
            formatter.write_dl([record for record in of_worker if record])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """How nodes are named."""
        formatter.write_paragraph()
        formatter.write_text(" ".join(NODES_HELP.split()))


def _worker() -> click.Command:
    from amqtask.cli.worker import worker

    return worker


def _options(own: Sequence[tuple[str, str, str]]) -> list[Option]:
    """What may be written: the options of `amqtask worker`, as its command declares them, and multi's own."""
    from amqtask.node.multi.options import Option

    options = [Option(spelling.lstrip("-"), (spelling,), bool(metavar), own=True) for spelling, metavar, _ in own]
    for param in _worker().params:
        if not isinstance(param, click.Option) or param.name is None:
            continue
        spellings = tuple(dict.fromkeys((*param.opts, *OLD_SPELLINGS.get(param.name, ()))))
        refused = "multi names its nodes itself: give the names as words (w1 w2@%h)"
        options.append(
            Option(
                param.name,
                spellings,
                takes_value=not param.is_flag,
                refused=refused if param.name == "hostname" else None,
            )
        )
    return options


# What users of Celery's multi write; the worker's own command need not know them.
OLD_SPELLINGS: Mapping[str, tuple[str, ...]] = {"pidfile": ("-p",)}


def planned(ctx: click.Context, words: Sequence[str]) -> tuple[tuple[PlannedNode, ...], Mapping[str, str | None]]:
    """Read the words, check all they say, and plan the nodes. Raises SettingsError; nothing has happened by then."""
    from amqtask.errors import SettingsError
    from amqtask.node.multi.options import Given, Reader, chosen_for
    from amqtask.node.multi.plan import default_folders, plan
    from amqtask.pool.names import node_names

    if not hasattr(os, "pidfd_open"):
        raise SettingsError("needs Linux; run `amqtask worker` under this system's service manager", where="multi")
    command = ctx.command
    assert isinstance(command, WordsCommand)
    options = _options(command.own)
    read = Reader(options).read(words)
    app, config_file = chosen(ctx, None, None)
    before = [
        Given(option, value, None, option.spellings[0])
        for option in options
        for name, value in (("app", app), ("config_file", config_file))
        if option.name == name and value is not None
    ]
    found = node_names(read.names, host=socket.gethostname())
    chosen_options = chosen_for(found, [*before, *read.given])
    nodes = plan(found, chosen_options, default_folders(os.environ, root=os.geteuid() == 0))
    for name, node, given in zip(found, nodes, chosen_options, strict=True):
        _check(name, node, given)
    return nodes, read.own


def _check(name: NodeName, node: PlannedNode, given: Mapping[str, Given]) -> None:
    """Have the worker's own command read the node's options. Raises SettingsError with the option as it was written."""
    from amqtask.errors import SettingsError
    from amqtask.topology.names import parse_queue_list

    try:
        with _worker().make_context("worker", list(node.arguments)) as context:
            options = context.params
    except click.UsageError as error:
        param = getattr(error, "param", None)
        one = given.get(param.name) if param is not None else None
        where = f"{one.written} {one.value}" if one is not None else f"node {name}"
        raise SettingsError(error.message, where=where) from error
    if options["queues"] is not None:
        try:
            parse_queue_list(options["queues"])
        except SettingsError as error:
            raise SettingsError(str(error), where=f"{given['queues'].written} {options['queues']}") from error
    config_file = options["config_file"]
    if config_file is not None and not Path(config_file).is_file():
        raise SettingsError(f"there is no file {config_file!r}", where=given["config_file"].written)


def seconds(own: Mapping[str, str | None], default: float) -> float:
    """The value of --timeout. Raises SettingsError for what is no number of seconds."""
    from amqtask.errors import SettingsError

    text = own.get("timeout")
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise SettingsError(f"{text!r} is no number of seconds", where="--timeout")
    return value
