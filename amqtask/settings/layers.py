"""One source of settings as a flat list of entries, and the merging of several: later ones win, key by key.

A source is read into a `Layer` whatever it was: a file, the environment, Python. Each entry keeps where it came from,
and what is wrong is collected instead of raised, so that one look at the settings tells all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel

from amqtask.errors import SettingProblem, nearest
from amqtask.settings.schema import ROOT, Kind, Path, Place, dotted, keys_of, known_keys, place_of, step

DEFAULT = "default"  # the origin of a value that nobody set
ROUTES: Path = ("routes",)  # the one list that sources add to instead of replacing it


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of one source. `present` marks a named table that is there, with or without keys."""

    path: Path
    value: object
    origin: str
    present: bool = False


@dataclass(slots=True)
class Layer:
    """What one source said, what is wrong with it, and what a person should know about it."""

    entries: list[Entry] = field(default_factory=list)
    problems: list[SettingProblem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, path: Path, value: object, origin: str) -> None:
        """Add a value; a table is taken apart, and each unknown key in it becomes a problem."""
        place = place_of(path)
        if place.kind is Kind.UNKNOWN:
            self.unknown(path, origin)
        elif place.kind is Kind.LEAF:
            self.entries.append(Entry(path, value, origin))
        else:
            self._table(path, place, value, origin)

    def table(self, values: Mapping[str, object], origin: str) -> None:
        """Add a whole tree, as a TOML file holds it."""
        self._table((), ROOT, values, origin)

    def problem(self, key: str, text: str, origin: str, *, near: str | None = None) -> None:
        """Note that something is wrong."""
        self.problems.append(SettingProblem(key=key, text=text, where=origin, nearest=near))

    def unknown(self, path: Path, origin: str) -> None:
        """Note an unknown key, with the nearest one that exists."""
        near = nearest_key(path)
        self.problem(dotted(path), f"unknown setting{hint(near)}", origin, near=near)

    def _table(self, path: Path, place: Place, value: object, origin: str) -> None:
        if isinstance(value, BaseModel):  # one of ours, from Python
            value = value.model_dump(exclude_unset=True)
        if not isinstance(value, Mapping):
            self.problem(dotted(path), f"a table is needed, not {kind_of_value(value)}", origin)
            return
        if place.kind is Kind.SECTION and len(path) == 2:
            self.entries.append(Entry(path, {}, origin, present=True))
        for name, below in value.items():
            if not isinstance(name, str):
                self.problem(dotted(path), f"{name!r} is not a name", origin)
                continue
            found = step(place, name)
            if found.kind is Kind.UNKNOWN:
                self.unknown((*path, name), origin)
            elif found.kind is Kind.LEAF:
                self.entries.append(Entry((*path, name), below, origin))
            else:
                self._table((*path, name), found, below, origin)


def hint(near: str | None) -> str:
    """How the nearest name is offered."""
    return f"; did you mean {near!r}?" if near else ""


def kind_of_value(value: object) -> str:
    """A value's kind in the words of the person who wrote it."""
    words = {str: "text", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "a table"}
    return words.get(type(value), type(value).__name__)


def nearest_key(path: Path) -> str | None:
    """The known key most like `path`: a sibling first, else any key whose end is alike (`url` for `broker.url`)."""
    *above, last = path
    siblings = keys_of(place_of(tuple(above)))
    near = nearest(last.lower(), siblings)
    if near:
        return dotted((*above, near))
    everything = known_keys()
    same_end = [key for key in everything if key.rpartition(".")[2] == last.lower()]
    if len(same_end) == 1:
        return same_end[0]
    return nearest(dotted(path).lower(), everything)


@dataclass(frozen=True, slots=True)
class Merged:
    """All sources together: the tree to validate, and where each value came from (`routes.0` for a list's parts)."""

    values: dict[str, object]
    origins: dict[Path, str]


def merge(layers: Sequence[Layer]) -> Merged:
    """Merge layers, the weakest first.

    A list replaces the list of a weaker source. Routes are the exception: those of a stronger source come first and
    the others stay, as the first rule that fits decides.
    """
    values: dict[str, object] = {}
    origins: dict[Path, str] = {}
    rules: list[tuple[object, str]] = []
    for layer in layers:
        of_layer: list[tuple[object, str]] = []
        for entry in layer.entries:
            if entry.path == ROUTES and isinstance(entry.value, list | tuple):
                of_layer.extend((rule, entry.origin) for rule in entry.value)
                continue
            if entry.present:
                _table_at(values, entry.path)
                origins.setdefault(entry.path, entry.origin)
            else:
                _table_at(values, entry.path[:-1])[entry.path[-1]] = entry.value
                origins[entry.path] = entry.origin
        rules = of_layer + rules
    if rules:
        values["routes"] = [rule for rule, _ in rules]
        origins[ROUTES] = joined(origin for _, origin in rules)
        origins.update({("routes", str(i)): origin for i, (_, origin) in enumerate(rules)})
    return Merged(values, origins)


def joined(origins: Iterable[str]) -> str:
    """Several origins as one text, each once."""
    return "; ".join(dict.fromkeys(origins))


def _table_at(values: dict[str, object], path: Path) -> dict[str, object]:
    for name in path:
        below = values.setdefault(name, {})
        assert isinstance(below, dict), path
        values = below
    return values
