"""The `amqtask` command: finds a command's file by its name and loads nothing else, so that `--help` is quick."""

from __future__ import annotations

import importlib
import sys
from importlib import metadata

import click

# command: (module, attribute, help line). The help line stands here so that `amqtask --help` imports none of them.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "worker": ("amqtask.cli.worker", "worker", "Run a node: consume queues and execute their tasks."),
    "call": ("amqtask.cli.call", "call", "Send one task by name."),
    "queue": ("amqtask.cli.queue", "queue", "Look at queues."),
    "topology": ("amqtask.cli.topology", "topology", "Plan, apply, compare and check exchanges, queues and bindings."),
    "config": ("amqtask.cli.config", "config", "Show and check the configuration."),
    "multi": ("amqtask.cli.multi", "multi", "Start and stop several named nodes on this machine."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order in which a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the file that holds `cmd_name`, or None when there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown command names the nearest one."""
        name = click.utils.make_str(args[0])
        if name not in COMMANDS and not name.startswith("-"):
            from amqtask.errors import nearest

            near = nearest(name, COMMANDS)
            hint = f" Did you mean {near!r}?" if near else f" Commands: {', '.join(COMMANDS)}."
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"amqtask {metadata.version('amqtask')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-A", "--app", metavar="APP", help="The app: module, module:attribute or module.attribute.")
@click.option("--config", "config_file", metavar="FILE", help="The configuration file (TOML).")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
@click.option("--version", is_flag=True, callback=_version, expose_value=False, is_eager=True, help="Show the version.")
@click.pass_context
def cli(ctx: click.Context, app: str | None, config_file: str | None, debug: bool) -> None:
    """A task router for RabbitMQ."""
    ctx.obj = {"app": app, "config": config_file, "debug": debug}


def main() -> None:
    """Run the command line; an error of ours becomes one line on stderr and its exit code."""
    from amqtask.cli.support import run

    sys.exit(run(cli))
