"""Configuration files: where one is looked for, and how it and the topology files that it names are read."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from amqtask.errors import SettingsError
from amqtask.settings.layers import Layer

TOPOLOGY_TABLES = ("exchanges", "queues", "routes")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One place where a configuration file may be, and who says so; `explicit` ones must exist."""

    path: Path
    said_by: str
    explicit: bool = False


def candidates(config_file: str | None, environ: Mapping[str, str]) -> list[Candidate]:
    """The search path, the first that exists is read."""
    named = [
        Candidate(Path(name).expanduser(), said_by, explicit=True)
        for name, said_by in ((config_file, "--config"), (environ.get("AMQTASK_CONFIG"), "AMQTASK_CONFIG"))
        if name
    ]
    home = environ.get("XDG_CONFIG_HOME") or (f"{environ['HOME']}/.config" if environ.get("HOME") else "~/.config")
    return [
        *named,
        Candidate(Path("amqtask.toml"), "the working directory"),
        Candidate(Path("config/amqtask.toml"), "the working directory"),
        Candidate(Path(home).expanduser() / "amqtask" / "amqtask.toml", "the user"),
        Candidate(Path("/etc/amqtask/amqtask.toml"), "the machine"),
    ]


def find(config_file: str | None, environ: Mapping[str, str]) -> Path | None:
    """The configuration file, or None when there is none.

    Raises SettingsError, with the search path, when a file that somebody named is missing.
    """
    places = candidates(config_file, environ)
    for place in places:
        if place.path.is_file():
            return place.path
        if place.explicit:
            searched = "\n".join(f"  {p.path} ({p.said_by})" for p in places)
            raise SettingsError(
                f"there is no file {str(place.path)!r}. Files are looked for in this order:\n{searched}",
                where=place.said_by,
            )
    return None


def read_toml(path: Path, layer: Layer) -> dict[str, object]:
    """The file's content; what makes it unreadable becomes a problem of `layer`."""
    # Here, as it takes long and a program without a file need not wait for it.
    from amqtask.settings.sources import toml_content

    try:
        if path.is_file():
            return toml_content(path)
        # A glob finds directories, too, and the library passes over whatever is no file.
        layer.problem("", "cannot be read: it is no file", str(path))
    except OSError as error:
        layer.problem("", f"cannot be read: {error.strerror}", str(path))
    except UnicodeDecodeError as error:
        layer.problem("", f"is not UTF-8 at byte {error.start}", str(path))
    except tomllib.TOMLDecodeError as error:
        layer.problem("", f"is not TOML: {error}", str(path))
    return {}


def topology_paths(patterns: Sequence[str], base: Path, *, origin: str, layer: Layer) -> list[Path]:
    """The files that `topology.files` names, relative ones from `base`; a glob's in the order of their names."""
    found: list[Path] = []
    for pattern in patterns:
        path = Path(pattern).expanduser()
        path = path if path.is_absolute() else base / path
        if any(char in pattern for char in "*?["):
            try:
                found += _globbed(path)
            except ValueError as error:
                layer.problem("topology.files", f"{pattern!r} is no pattern of files: {error}", origin)
        elif path.is_file():
            found.append(path)
        else:
            layer.problem("topology.files", f"there is no file {str(path)!r}", origin)
    return list(dict.fromkeys(found))


def _globbed(pattern: Path) -> list[Path]:
    start = Path(pattern.anchor)
    return sorted(start.glob(str(pattern.relative_to(start) if pattern.anchor else pattern)))


def add_file(layer: Layer, path: Path) -> None:
    """Read the main configuration file into `layer`."""
    layer.table(read_toml(path, layer), str(path))


def add_topology_file(layer: Layer, path: Path, declared: dict[tuple[str, str], str]) -> None:
    """Read one topology file into `layer`.

    `declared` says which file declared a queue or exchange before: two files that declare one are a mistake, as which
    of them holds would hang on their order.
    """
    content = read_toml(path, layer)
    for table in content:
        if table not in TOPOLOGY_TABLES:
            layer.problem(table, f"a topology file holds {', '.join(TOPOLOGY_TABLES)} only", str(path))
    kept: dict[str, object] = {table: content[table] for table in TOPOLOGY_TABLES if table in content}
    for table in ("exchanges", "queues"):
        names = kept.get(table)
        if not isinstance(names, Mapping):
            continue
        for name in list(names):
            first = declared.setdefault((table, name), str(path))
            if first != str(path):
                layer.problem(f"{table}.{name}", f"is declared in {first} too", str(path))
        kept[table] = {name: names[name] for name in names if declared[table, name] == str(path)}
    layer.table(kept, str(path))
