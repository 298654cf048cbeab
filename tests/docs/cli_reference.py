"""Prints, as Markdown, every command with its help, from the commands themselves.

python -m tests.docs.cli_reference > docs/reference/cli.md
"""

from __future__ import annotations

from collections.abc import Iterator

import click

from amqtask.cli.main import cli

WIDTH = 100
HEAD = """# Commands

Written by `python -m tests.docs.cli_reference` from the commands' own help. `-A` and `--config` may stand before or
after a command; [exit codes](exit-codes.md) are the same for all.
"""


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """A command's full name and help, then those below it."""
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, name
            inner = below.context_class(
                below, info_name=name, parent=context, terminal_width=WIDTH, max_content_width=WIDTH
            )
            yield from commands(below, inner)


def markdown() -> str:
    """The page."""
    context = cli.context_class(
        cli, info_name="amqtask", terminal_width=WIDTH, max_content_width=WIDTH, **cli.context_settings
    )
    parts = [HEAD]
    for path, text in commands(cli, context):
        plain = "\n".join(line.rstrip() for line in click.unstyle(text).splitlines())
        parts.append(f"\n## `{path}`\n\n```text\n{plain}\n```\n")
    return "".join(parts)


if __name__ == "__main__":
    print(markdown(), end="")
