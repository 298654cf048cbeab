"""What the commands about topology and queues share: the settings, and the topology that app and settings declare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from amqtask.cli.support import chosen

if TYPE_CHECKING:
    from amqtask.settings import Settings
    from amqtask.topology.model import Topology


def settings_of(ctx: click.Context, app: str | None, config_file: str | None) -> tuple[Settings, tuple[str, ...]]:
    """The settings, and the queues that tasks name: an app, if one is named, is imported with all its tasks."""
    from amqtask.settings import load

    app, config_file = chosen(ctx, app, config_file)
    named = app or load(config_file=config_file, complete=False).app
    if named is None:
        return load(config_file=config_file), ()
    from amqtask.app import find_app

    found = find_app(named, config_file=config_file)
    found.load()
    queues = (task.options.queue for task in found.tasks.values())
    return found.settings, tuple(dict.fromkeys(name for name in queues if isinstance(name, str)))


def declared(
    ctx: click.Context, app: str | None, config_file: str | None, *, queues: Sequence[str] = ()
) -> tuple[Settings, Topology]:
    """The settings and the topology. `queues` are names given on the command line; an unknown one is an error."""
    from amqtask.topology.model import Topology

    settings, of_tasks = settings_of(ctx, app, config_file)
    return settings, Topology.from_settings(settings, extra_queues=(*of_tasks, *queues))
