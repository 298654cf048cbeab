"""From a command line that was read to what each node is started with: its options, its pid file, its log file.

Reads and makes folders; starts nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from amqtask.errors import AmqtaskError, SettingsError
from amqtask.node.multi.options import Given
from amqtask.pool.names import NodeName, expand, path_values

PIDFILE = "pidfile"
LOGFILE = "logfile"
PATHS = (PIDFILE, LOGFILE, "config_file")  # options whose values may hold %n and its like
MAX_PIDFILE_BYTES = 32


class PathUnusable(AmqtaskError):
    """A pid or log file cannot be made or is something else."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where pid and log files go that have no path of their own."""

    pid: Path
    log: Path


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """One node: `options` are those of `amqtask worker`, in long spelling, without name, pid and log file."""

    name: NodeName
    options: tuple[str, ...]
    pidfile: Path
    logfile: Path

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments of `amqtask worker`."""
        files = (f"--pidfile={self.pidfile}", f"--logfile={self.logfile}")
        return (f"--hostname={self.name}", *self.options, *files)


def default_folders(environ: Mapping[str, str], *, root: bool) -> Folders:
    """For root /run/amqtask and /var/log/amqtask; else $XDG_STATE_HOME/amqtask (~/.local/state/amqtask) for both.

    Source: Filesystem Hierarchy Standard 3.0, XDG Base Directory Specification (a path in it that is not absolute is
    invalid and to be ignored).
    """
    if root:
        return Folders(Path("/run/amqtask"), Path("/var/log/amqtask"))
    state = environ.get("XDG_STATE_HOME", "")
    home = Path(state) if state.startswith("/") else Path("~/.local/state").expanduser()
    return Folders(home / "amqtask", home / "amqtask")


def plan(names: Sequence[NodeName], chosen: Sequence[Mapping[str, Given]], folders: Folders) -> tuple[PlannedNode, ...]:
    """What to start for each name with the options that hold for it.

    Raises SettingsError for a path with an unknown sign and when two nodes would share a pid or log file.
    """
    nodes = tuple(_planned(name, given, folders) for name, given in zip(names, chosen, strict=True))
    for kind, option in (("pid", "--pidfile"), ("log", "--logfile")):
        owners: dict[Path, PlannedNode] = {}
        for node in nodes:
            path = node.pidfile if kind == "pid" else node.logfile
            other = owners.setdefault(path, node)
            if other is not node:
                raise SettingsError(
                    f"{other.name} and {node.name} would share the {kind} file {path}: put %n into its name (w1@%h "
                    f"and w1@elsewhere need %h, too)",
                    where=option,
                )
    return nodes


def _planned(name: NodeName, chosen: Mapping[str, Given], folders: Folders) -> PlannedNode:
    values = path_values(name)
    paths: dict[str, str] = {}
    options: list[str] = []
    for key, given in chosen.items():
        value = given.value
        if value is not None and key in PATHS:
            value = paths[key] = _absolute(expand(value, values, where=given.written))
        if key not in (PIDFILE, LOGFILE):
            spelling = max(given.option.spellings, key=len)
            options.append(spelling if value is None else f"{spelling}={value}")
    return PlannedNode(
        name=name,
        options=tuple(options),
        pidfile=Path(paths.get(PIDFILE) or folders.pid / f"{name.short}.pid"),
        logfile=Path(paths.get(LOGFILE) or folders.log / f"{name.short}.log"),
    )


def _absolute(path: str) -> str:
    # The shell leaves the tilde of --pidfile=~/x alone.
    return str(Path.cwd() / Path(path).expanduser())


def make_folders(nodes: Sequence[PlannedNode]) -> None:
    """Make the folders of all pid and log files, and see that the files can be written.

    Raises PathUnusable before anything is started.
    """
    for node in nodes:
        for path in (node.pidfile, node.logfile):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise PathUnusable(f"{path.parent}: {error.strerror}") from error
            if path.is_dir():
                raise PathUnusable(f"{path} is a folder")
            if not os.access(path if path.exists() else path.parent, os.W_OK):
                raise PathUnusable(f"{path}: not writable for this user")
        _check_pidfile(node.pidfile)


def _check_pidfile(path: Path) -> None:
    """The node will empty this file: it must not be one that holds something else."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_PIDFILE_BYTES + 1)
    except FileNotFoundError:
        return
    except OSError as error:
        raise PathUnusable(f"pid file {path}: {error.strerror}") from error
    if content.strip() and not content.strip().isdigit():
        raise PathUnusable(f"{path} is there already and is no pid file: it is left as it is")
