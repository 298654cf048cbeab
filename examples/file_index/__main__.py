"""The command: `python -m examples.file_index [FOLDER]`, run in the project's folder. Exit code 0: all adds up."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from amqtask.cli.support import FAILED, OK
from amqtask.errors import AmqtaskError
from examples.file_index.run import run
from examples.file_index.stage import StageFailed
from tests.support.rabbit import BrokerFailed

USUAL = "/usr/share/doc"
INTERRUPTED = 130


@click.command()
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False))
@click.option(
    "--index",
    "index_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(".demo/file_index.sqlite3"),
    show_default=True,
    help="The SQLite file to make.",
)
def main(*, folder: str | None, index_path: Path) -> int:
    """Index every file below FOLDER (default: /usr/share/doc) through RabbitMQ and a worker, both of the demo's own."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        right = run(folder or USUAL, index_path.resolve(), fill=folder is None)
    except (StageFailed, BrokerFailed, AmqtaskError, OSError) as error:
        click.echo(f"the demo failed: {error}", err=True)
        return FAILED
    except KeyboardInterrupt:
        click.echo("\nInterrupted; the broker and the worker are stopped.", err=True)
        return INTERRUPTED
    click.echo(f"It is in {index_path}, to be looked into with sqlite3.")
    return OK if right else FAILED


def _leave(number: int, _frame: object) -> None:
    # As an exception, so that everything is stopped on the way out.
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(standalone_mode=False))
