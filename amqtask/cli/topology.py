"""`amqtask topology`: plan, apply, compare and check what is declared; definitions out and in."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

import click

from amqtask.cli.declared import declared, settings_of
from amqtask.cli.support import FAILED, OK, USAGE, common, print_json

if TYPE_CHECKING:
    from amqtask.provision.apply import Allowed, Applied
    from amqtask.provision.management import Management
    from amqtask.provision.plan import Change, Plan
    from amqtask.settings import Settings
    from amqtask.topology.model import Topology

_SIGNS = {"create": "+", "update": "~", "conflict": "!", "extra": "?", "unchanged": " "}
_COLOURS = {"create": "green", "update": "yellow", "conflict": "red", "extra": "cyan", "unchanged": None}
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def topology() -> None:
    """Plan, apply, compare and check exchanges, queues and bindings."""


@topology.command()
@common
@_as_json
@click.pass_context
def plan(ctx: click.Context, *, app: str | None, config_file: str | None, as_json: bool) -> int:
    """Show what `apply` would do. Nothing is changed.

    + is missing and would be made, ~ is a policy that would be replaced, ! differs and would have to be deleted and
    made again, ? is on the broker and not declared. Exit code 2 when this broker cannot have what is declared.
    """
    made = _plan(ctx, app, config_file)
    _show_plan(made, as_json=as_json)
    return USAGE if made.faults else OK


@topology.command()
@common
@click.option("--strict", is_flag=True, help="Queues and exchanges that nobody declares count, too.")
@_as_json
@click.pass_context
def diff(ctx: click.Context, *, app: str | None, config_file: str | None, strict: bool, as_json: bool) -> int:
    """As `plan`, for scripts: exit code 0 when the broker is as declared, 1 when it is not."""
    made = _plan(ctx, app, config_file)
    _show_plan(made, as_json=as_json)
    if made.faults:
        return USAGE
    return FAILED if made.drift or (strict and made.of("extra")) else OK


@topology.command()
@common
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--recreate", is_flag=True, help="Delete and make again what differs.")
@click.option("--unbind", is_flag=True, help="Drop bindings to declared queues and exchanges that are not declared.")
@click.option("--delete", is_flag=True, help="Delete what is not declared: queues, exchanges, bindings.")
@click.option("--discard-messages", is_flag=True, help="Also where that loses messages or stops a consumer.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before something is destroyed.")
@click.option(
    "--amqp", is_flag=True, help="Declare over AMQP, without the management API: no policies, no flags above."
)
@_as_json
@click.pass_context
def apply(
    ctx: click.Context,
    *,
    app: str | None,
    config_file: str | None,
    dry_run: bool,
    recreate: bool,
    unbind: bool,
    delete: bool,
    discard_messages: bool,
    yes: bool,
    amqp: bool,
    as_json: bool,
) -> int:
    """Make what is declared and missing; set policies.

    Destroys nothing without one of the flags that say so, and asks first. Exit code 1 when something could not be
    made or still differs.
    """
    from amqtask.provision.apply import Allowed
    from amqtask.provision.apply import apply as carry_out
    from amqtask.provision.plan import plan as compare

    settings, wanted = declared(ctx, app, config_file)
    allowed = Allowed(recreate=recreate, unbind=unbind, delete=delete, discard_messages=discard_messages)
    if amqp:
        if allowed.destructive or dry_run:
            raise click.UsageError("--amqp can only make what is missing: no --dry-run, --recreate, --unbind, --delete")
        return _declare(settings, wanted, as_json=as_json)
    client, vhost = _client(settings)
    with client:
        from amqtask.provision.live import live

        made = compare(wanted, live(client, vhost))
        if dry_run or made.faults:
            _show_plan(made, as_json=as_json)
            return USAGE if made.faults else OK
        if not yes and not _confirmed(made, allowed):
            return USAGE
        applied = carry_out(made, client, allowed=allowed, on_done=None if as_json else _told)
    if as_json:
        print_json(_applied_json(applied))
    else:
        _show_applied(applied)
    conflicts = [change for change in applied.left if change.action == "conflict"]
    return FAILED if applied.failed or conflicts else OK


@topology.command()
@common
@click.option("--broker-version", metavar="VERSION", help="Check for this RabbitMQ, as 3.13, not for broker.version.")
@click.option("--strict", is_flag=True, help="Exit code 1 for warnings, too.")
@_as_json
@click.pass_context
def lint(
    ctx: click.Context,
    *,
    app: str | None,
    config_file: str | None,
    broker_version: str | None,
    strict: bool,
    as_json: bool,
) -> int:
    """Check exchanges, queues, bindings, routes and pools without a broker. Exit code 1 when there are errors."""
    from amqtask.provision.lint import lint as look
    from amqtask.topology.versions import parse_version

    version = parse_version(broker_version) if broker_version else None
    settings, of_tasks = settings_of(ctx, app, config_file)
    found = look(settings, extra_queues=of_tasks, version=version)
    if as_json:
        print_json([{"level": one.level, "where": one.where, "text": one.text} for one in found])
    else:
        for one in found:
            click.echo(one)
        if not found:
            click.echo("Nothing to complain about.")
    bad = {"error", "warning"} if strict else {"error"}
    return FAILED if any(one.level in bad for one in found) else OK


@topology.command()
@common
@click.option("-o", "--output", type=click.File("w"), default="-", metavar="FILE", help="Write to this file.")
@click.option("--vhost", metavar="NAME", help="The virtual host to write into it, not the one of broker.url.")
@click.pass_context
def export(ctx: click.Context, *, app: str | None, config_file: str | None, output: TextIO, vhost: str | None) -> int:
    """Print what is declared as a definitions file for `rabbitmqctl import_definitions`. Needs no broker."""
    import json

    from amqtask.provision.definitions import export_definitions
    from amqtask.provision.management import virtual_host

    settings, wanted = declared(ctx, app, config_file)
    document = export_definitions(wanted, vhost or virtual_host(settings))
    output.write(json.dumps(document, indent=2) + "\n")
    return OK


@topology.command("import")
@click.argument("file", type=click.File("r"))
@click.option("--vhost", metavar="NAME", help="Which virtual host of the file.")
def import_(*, file: TextIO, vhost: str | None) -> int:
    """Print a configuration that declares what a definitions file (`rabbitmqctl export_definitions`) holds."""
    import json

    from amqtask.errors import SettingsError
    from amqtask.provision.definitions import as_toml, import_definitions

    try:
        document = json.load(file)
    except ValueError as error:
        raise SettingsError(f"is not JSON: {error}", where=file.name) from error
    click.echo(as_toml(import_definitions(document, vhost=vhost)), nl=False)
    return OK


def _declare(settings: Settings, wanted: Topology, *, as_json: bool) -> int:
    from amqtask.provision.declare import declare_by_amqp
    from amqtask.topology.declare import operations

    told = declare_by_amqp(settings, operations(wanted))
    if as_json:
        print_json({"done": told.done, "failed": [{"what": str(one), "error": str(e)} for one, e in told.failures]})
    else:
        for _, error in told.failures:
            click.secho(f"  failed: {error}", fg="red", err=True)
        click.echo(f"{told.done} are there, {len(told.failures)} failed; policies were not looked at")
    return FAILED if told.failures else OK


def _client(settings: Settings) -> tuple[Management, str]:
    from amqtask.provision.management import Management, endpoints, virtual_host

    return Management(endpoints(settings)), virtual_host(settings)


def _plan(ctx: click.Context, app: str | None, config_file: str | None) -> Plan:
    from amqtask.provision.live import live
    from amqtask.provision.plan import plan as compare

    settings, wanted = declared(ctx, app, config_file)
    client, vhost = _client(settings)
    with client:
        return compare(wanted, live(client, vhost))


def _show_plan(plan: Plan, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "vhost": plan.vhost,
                "version": plan.version,
                "drift": plan.drift,
                "faults": [str(fault) for fault in plan.faults],
                "changes": [_change_json(change) for change in plan.changes],
            }
        )
        return
    click.echo(f"RabbitMQ {plan.version}, virtual host {plan.vhost!r}")
    for change in plan.of("create", "update", "conflict", "extra"):
        _show_change(change)
    for fault in plan.faults:
        click.secho(f"  cannot be: {fault}", fg="red")
    words = {"create": "to make", "update": "to update", "conflict": "in conflict", "extra": "not declared"}
    counted = [f"{len(found)} {word}" for action, word in words.items() if (found := plan.of(action))]  # type: ignore[arg-type]
    click.echo(", ".join([*counted, f"{len(plan.of('unchanged'))} as declared"]))


def _show_change(change: Change) -> None:
    name = change.name if change.kind == "binding" else f"{change.kind} {change.name!r}"
    click.secho(f"  {_SIGNS[change.action]} {name}", fg=_COLOURS[change.action])
    for line in change.lines():
        click.echo(f"      {line}")


def _confirmed(plan: Plan, allowed: Allowed) -> bool:
    """Whether the person at the terminal agrees to what would be destroyed; nobody there means no."""
    going = [change for change in plan.changes if allowed.takes(change)]
    if not going:
        return True
    click.echo("This would be deleted" + (" (and made again where it is declared):" if allowed.recreate else ":"))
    for change in going:
        _show_change(change)
    if not sys.stdin.isatty():
        click.echo("amqtask: nobody is there to be asked; say --yes", err=True)
        return False
    return click.confirm("Delete them?")


_DONE = {"create": "made", "update": "updated", "conflict": "made again", "extra": "deleted"}


def _told(change: Change) -> None:
    name = change.name if change.kind == "binding" else f"{change.kind} {change.name!r}"
    click.echo(f"  {_DONE[change.action]}: {name}")


def _show_applied(applied: Applied) -> None:
    for change, error in applied.failed:
        click.secho(f"  failed: {change.kind} {change.name!r}: {error}", fg="red", err=True)
    for change in applied.left:
        if change.action == "conflict":
            _show_change(change)
    conflicts = sum(change.action == "conflict" for change in applied.left)
    click.echo(f"{len(applied.done)} done, {len(applied.failed)} failed, {conflicts} left in conflict")
    if conflicts:
        click.echo("What is in conflict was left as it is: change the configuration, or use --recreate.")


def _change_json(change: Change) -> dict[str, object]:
    return {
        "action": change.action,
        "kind": change.kind,
        "name": change.name,
        "differences": {name: {"declared": a, "live": b} for name, (a, b) in change.differences.items()},
        "note": change.note,
    }


def _applied_json(applied: Applied) -> dict[str, object]:
    return {
        "done": [_change_json(change) for change in applied.done],
        "failed": [{**_change_json(change), "error": str(error)} for change, error in applied.failed],
        "left": [_change_json(change) for change in applied.left],
    }
