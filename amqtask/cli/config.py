"""`amqtask config`: show what holds and where it came from, check it all, print the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from amqtask.cli.support import OK, USAGE, chosen, common, print_json, print_table

if TYPE_CHECKING:
    from amqtask.errors import SettingProblem
    from amqtask.settings import Settings

WIDEST = 72  # characters of a value in a table; `--json` has all of it


@click.group()
def config() -> None:
    """Show and check the configuration."""


@config.command()
@common
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option("--origin", is_flag=True, help="Show where each value came from, too.")
@click.option(
    "--all", "everything", is_flag=True, help="Show the defaults of each declared queue, exchange and pool, too."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def show(
    ctx: click.Context,
    *,
    app: str | None,
    config_file: str | None,
    keys: tuple[str, ...],
    origin: bool,
    everything: bool,
    as_json: bool,
) -> int:
    """Print the settings that hold, secrets masked. KEY narrows them down: `broker`, `queues.orders`, `log.level`."""
    from amqtask.errors import SettingsError, nearest
    from amqtask.settings.schema import Kind, place_of, undotted
    from amqtask.settings.shown import shown

    rows = list(shown(_settings(ctx, app, config_file), everything=everything))
    for key in keys:
        if place_of(undotted(key)).kind is Kind.UNKNOWN and not any(_within(row.key, key) for row in rows):
            names = {row.key for row in rows} | {part for row in rows for part in row.path[:1]}
            near = nearest(key, sorted(names))
            raise SettingsError(f"no such setting{f'; did you mean {near!r}?' if near else ''}", where=key)
    if keys:
        rows = [row for row in rows if any(_within(row.key, key) for key in keys)]
    if as_json and origin:
        print_json({row.key: {"value": row.value, "origin": row.origin} for row in rows})
    elif as_json:
        print_json({row.key: row.value for row in rows})
    elif origin:
        print_table(("setting", "value", "origin"), [(row.key, _cell(row.value), row.origin) for row in rows])
    else:
        print_table(("setting", "value"), [(row.key, _cell(row.value)) for row in rows])
    return OK


@config.command()
@common
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(ctx: click.Context, *, app: str | None, config_file: str | None, as_json: bool) -> int:
    """Check all settings and print everything that is wrong. Exit code 0 when nothing is, 2 otherwise."""
    problems, notes = _faults(ctx, app, config_file)
    if as_json:
        print_json(
            {
                "ok": not problems,
                "problems": [
                    {"where": one.where, "key": one.key, "text": one.text, "nearest": one.nearest} for one in problems
                ],
                "notes": list(notes),
            }
        )
        return USAGE if problems else OK
    for note in notes:
        click.echo(f"note: {note}")
    for one in problems:
        click.echo(f"wrong: {one}")
    if not problems:
        click.echo("The configuration is right.")
    return USAGE if problems else OK


@config.command()
@click.option("--toml", is_flag=True, help="Print a configuration file with every setting, commented out.")
def reference(*, toml: bool) -> int:
    """Print the reference of all settings, in Markdown."""
    from amqtask.settings.reference import as_markdown, as_toml

    click.echo(as_toml() if toml else as_markdown(), nl=False)
    return OK


def _settings(ctx: click.Context, app: str | None, config_file: str | None) -> Settings:
    """The settings of the app that `-A` names; without it those of files and environment, and no user code is run."""
    app, config_file = chosen(ctx, app, config_file)
    if app is None:
        from amqtask.settings import load

        settings = load(config_file=config_file)
        if settings.app is not None:
            note = f"what {settings.app!r} sets in Python is not in here; -A {settings.app} looks at that, too"
            return settings.located(settings.origins, (*settings.notes, note))
        return settings
    from amqtask.app import find_app

    return find_app(app, config_file=config_file).settings


def _faults(
    ctx: click.Context, app: str | None, config_file: str | None
) -> tuple[list[SettingProblem], tuple[str, ...]]:
    """All that is wrong, also what only shows when names are put together as a node does it; and the notes."""
    from amqtask.errors import AmqtaskError, SettingProblem, SettingsError
    from amqtask.routing.router import Router
    from amqtask.topology.model import Topology

    try:
        settings = _settings(ctx, app, config_file)
    except SettingsError as error:
        return list(error.problems) or [SettingProblem("", str(error), "")], ()
    try:
        topology = Topology.from_settings(settings, extra_queues=settings.worker.queues or ())
        Router(settings, topology)
    except AmqtaskError as error:
        return [SettingProblem("", str(error), "")], settings.notes
    default = settings.tasks.default_queue
    if default in topology.queues:
        return [], settings.notes
    note = f"tasks.default_queue: {default!r} is not declared: a task that no rule routes cannot be sent"
    return [], (*settings.notes, note)


def _within(key: str, wanted: str) -> bool:
    return key == wanted or key.startswith((f"{wanted}.", f"{wanted}["))


def _cell(value: object) -> str:
    from amqtask.settings.reference import toml_value

    text = "(unset)" if value is None else toml_value(value)
    return text if len(text) <= WIDEST else text[: WIDEST - 3] + "..."
