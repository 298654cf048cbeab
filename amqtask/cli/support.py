"""What every command shares: exit codes, errors as one line, tables, `--json`, and finding the app."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

OK = 0
FAILED = 1
USAGE = 2  # a wrong option, setting, queue or app: what a restart cannot mend
UNAVAILABLE = 69  # EX_UNAVAILABLE: nobody answered, or the broker cannot be reached
CANTCREAT = 73  # EX_CANTCREAT: a pid or log file cannot be made
TEMPFAIL = 75  # EX_TEMPFAIL: try later
NOPERM = 77  # EX_NOPERM: the broker refused the credentials or the right


def run(command: click.Command, args: Sequence[str] | None = None) -> int:
    """Run a click command and turn its outcome into an exit code.

    Errors of amqtask print as one line on stderr; with `--debug` anywhere before the command, as a traceback too.
    """
    words = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in words
    if any(word.endswith(",") for word in words):  # `-Q a, b`: the shell has cut one list in two
        from amqtask.topology.names import join_queue_words

        words = join_queue_words(words)
    try:
        result = command.main(args=words, prog_name="amqtask", standalone_mode=False)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.exceptions.Abort:
        click.echo("Aborted.", err=True)
        return FAILED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing to say, and nobody to say it to.
        sys.stderr.close()
        return FAILED
    except Exception as error:
        code = exit_code_of(error)
        if code is None:
            raise
        if debug:
            traceback.print_exc()
        click.echo(f"amqtask: {error}", err=True)
        return code
    return result if isinstance(result, int) else OK


def exit_code_of(error: Exception) -> int | None:
    """The exit code for an error of ours; None for one that is a bug."""
    from amqtask import errors

    match error:
        case errors.SettingsError() | errors.TopologyError() | errors.TaskError() | errors.NotRegistered():
            return USAGE
        case errors.AccessRefused():
            return NOPERM
        case errors.BrokerError():
            return UNAVAILABLE
        case errors.AmqtaskError():
            return FAILED
        case _:
            return None


def common(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `-A/--app` and `--config` to a command: both are accepted before and after its name (C01)."""
    function = click.option("--config", "config_file", metavar="FILE", help="The configuration file (TOML).")(function)
    return click.option("-A", "--app", metavar="APP", help="The app: module, module:attribute or module.attribute.")(
        function
    )


def chosen(ctx: click.Context, app: str | None, config_file: str | None) -> tuple[str | None, str | None]:
    """The app and configuration file, given after the command or before it; after wins."""
    given: Mapping[str, Any] = ctx.find_root().obj or {}
    return app or given.get("app"), config_file or given.get("config")


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, indent=2, default=str))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A plain table, numbers to the right, columns as wide as their widest cell."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [
        max(len(head), *(len(row[i]) for row in cells)) if cells else len(head) for i, head in enumerate(headings)
    ]
    numeric = [bool(cells) and all(_is_number(row[i]) for row in cells) for i in range(len(headings))]

    def line(row: Sequence[str]) -> str:
        return "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()

    click.echo(click.style(line(headings), bold=True))
    for row in cells:
        click.echo(line(row))


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "").replace("-", "").replace("%", "").strip().isdigit() or text == "-"
