"""`amqtask call`: send one task by its name, confirmed, and print its id. No task code is imported for it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, cast

import click

from amqtask.cli.support import OK, chosen, common, print_json

if TYPE_CHECKING:
    from amqtask.app import App
    from amqtask.tasks.options import SendOptions


@click.command()
@common
@click.argument("name")
@click.argument("values", nargs=-1, metavar="[JSON]...")
@click.option("--args", "args_json", metavar="JSON", help="The positional arguments as one JSON list.")
@click.option("--kwargs", "kwargs_json", metavar="JSON", help="The named arguments as one JSON object.")
@click.option("-Q", "--queue", metavar="QUEUE", help="The queue to send it to, instead of where routing sends it.")
@click.option("--exchange", metavar="NAME", help="The exchange to publish it to.")
@click.option("--routing-key", metavar="KEY", help="The routing key to publish it with.")
@click.option("--priority", type=click.IntRange(0, 255), help="The message's priority; larger is sooner.")
@click.option("--expires", metavar="SECONDS|TIME", help="Not to be started after so many seconds, or an ISO 8601 time.")
@click.option("--header", "headers", metavar="NAME=TEXT", multiple=True, help="A header of your own; may be repeated.")
@click.option("--task-id", metavar="ID", help="The task's id, instead of a new one.")
@click.option("--deadline", "deadline_s", type=float, metavar="SECONDS", help="How long the send may take.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def call(
    ctx: click.Context,
    *,
    app: str | None,
    config_file: str | None,
    name: str,
    values: Sequence[str],
    args_json: str | None,
    kwargs_json: str | None,
    queue: str | None,
    exchange: str | None,
    routing_key: str | None,
    priority: int | None,
    expires: str | None,
    headers: Sequence[str],
    task_id: str | None,
    deadline_s: float | None,
    as_json: bool,
) -> int:
    """Send the task NAME and print its id once the broker has it.

    Each JSON is one positional argument: `amqtask call orders.ship 17 '"express"'`. An app is imported only where -A,
    AMQTASK_APP or CELERY_APP names one; else the configuration says where the broker is. Exit code 0 when the broker
    has it, 1 when it was not accepted, 2 for a wrong option, name or setting, 69 when the broker cannot be reached.
    """
    options: SendOptions = {
        "queue": queue,
        "exchange": exchange,
        "routing_key": routing_key,
        "priority": priority,
        "expires": _expires(expires),
        "headers": _headers(headers) or None,
        "task_id": task_id,
        "deadline_s": deadline_s,
    }
    given = cast("SendOptions", {key: value for key, value in options.items() if value is not None})
    args = _arguments(values, args_json)
    kwargs = _json(kwargs_json, "--kwargs") if kwargs_json is not None else {}
    if not isinstance(kwargs, dict):
        raise click.BadParameter("a JSON object is needed", param_hint="--kwargs")
    # The error that ends the command says what was wrong with the connection; each attempt need not.
    logging.getLogger("amqtask").setLevel(logging.ERROR)
    app, config_file = chosen(ctx, app, config_file)
    with _app(app, config_file) as sender:
        result = sender.send_task(name, args, kwargs, **given)
    if as_json:
        print_json({"id": result.id, "task": name})
    else:
        click.echo(result.id)
    return OK


def _app(spec: str | None, config_file: str | None) -> App:
    from amqtask.app import App, find_app
    from amqtask.app.find import VARIABLES

    if spec or any(os.environ.get(variable) for variable in VARIABLES):
        return find_app(spec, config_file=config_file)
    return App(config=config_file, set_as_current=False)


def _json(text: str, where: str) -> object:
    try:
        value: object = json.loads(text)
    except ValueError as error:
        quoted = json.dumps(text)
        raise click.BadParameter(f"{text!r} is not JSON ({error}); a text is '{quoted}'", param_hint=where) from None
    return value


def _arguments(values: Sequence[str], args_json: str | None) -> list[object]:
    if args_json is None:
        return [_json(text, f"argument {number}") for number, text in enumerate(values, 1)]
    if values:
        raise click.UsageError("arguments are given one by one or by --args, not both")
    args = _json(args_json, "--args")
    if not isinstance(args, list):
        raise click.BadParameter("a JSON list is needed", param_hint="--args")
    return args


def _expires(text: str | None) -> float | datetime | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither seconds nor an ISO 8601 time", param_hint="--expires") from None


def _headers(pairs: Sequence[str]) -> dict[str, object]:
    headers: dict[str, object] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{pair!r} is not NAME=TEXT", param_hint="--header")
        headers[name] = value
    return headers
