"""What can be read off the models: which keys exist, what a key's place is, and how a key is written.

A path is a key taken apart: `("queues", "file.text", "type")`. Three kinds of place exist: a section (a table with
fixed keys), a table of named sections (`queues`, where the user chooses the names), and a leaf (a value).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from amqtask.settings.models import Settings

Path: TypeAlias = tuple[str, ...]
Model: TypeAlias = type[BaseModel]

_BARE = re.compile(r"[A-Za-z0-9_-]+")  # what TOML lets stand without quotes


class Kind(enum.Enum):
    """What a path leads to."""

    SECTION = "section"
    NAMED = "named"  # a table of sections under names of the user's
    LEAF = "leaf"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads: its kind, its section's model (SECTION, NAMED), its field (a model's, when it is one)."""

    kind: Kind
    model: Model | None = None
    field: FieldInfo | None = None


UNKNOWN = Place(Kind.UNKNOWN)
ROOT = Place(Kind.SECTION, Settings)


def place_of_field(field: FieldInfo) -> Place:
    """What a field of a model holds."""
    annotation = field.annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return Place(Kind.SECTION, annotation, field)
    if get_origin(annotation) is dict:
        inner = get_args(annotation)[1]
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return Place(Kind.NAMED, inner, field)
    return Place(Kind.LEAF, None, field)


def step(place: Place, name: str) -> Place:
    """The place of `name` below `place`."""
    if place.kind is Kind.NAMED:
        return Place(Kind.SECTION, place.model)
    if place.kind is Kind.SECTION and place.model is not None and name in place.model.model_fields:
        return place_of_field(place.model.model_fields[name])
    return UNKNOWN


def place_of(path: Path) -> Place:
    """Where `path` leads, from the top."""
    place = ROOT
    for name in path:
        place = step(place, name)
    return place


def keys_of(place: Place) -> tuple[str, ...]:
    """The keys that may stand at a section."""
    return tuple(place.model.model_fields) if place.kind is Kind.SECTION and place.model is not None else ()


def default_leaves(place: Place = ROOT, path: Path = ()) -> Iterator[tuple[Path, FieldInfo]]:
    """Every leaf with a fixed path: those below names of the user's are left out."""
    for name in keys_of(place):
        below = step(place, name)
        if below.kind is Kind.SECTION:
            yield from default_leaves(below, (*path, name))
        elif below.kind is Kind.LEAF and below.field is not None:
            yield (*path, name), below.field


def known_keys() -> tuple[str, ...]:
    """Every fixed key, dotted: what a misspelt one is compared with."""
    return (*(dotted(path) for path, _ in default_leaves()), "exchanges", "queues", "pools")


def dotted(path: Path) -> str:
    """The key as a person writes it: joined by dots, a part that TOML would quote in quotes."""
    return ".".join(part if _BARE.fullmatch(part) else _quoted(part) for part in path)


def _quoted(part: str) -> str:
    return '"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"'


def undotted(key: str) -> Path:
    """A written key taken apart.

    Quotes may be left out around the name of a queue, an exchange or a pool: in `queues.file.text.type` the name is
    what stands between the table and the last part, as that is a key of a queue.
    """
    found = re.findall(r'"((?:[^"\\]|\\.)*)"|([^."]+)', key)
    parts: list[str] = [bare or re.sub(r"\\(.)", r"\1", quoted) for quoted, bare in found]
    if len(parts) > 2 and '"' not in key and (table := place_of((parts[0],))).kind is Kind.NAMED:
        if step(Place(Kind.SECTION, table.model), parts[-1]).kind is not Kind.UNKNOWN:
            return (parts[0], ".".join(parts[1:-1]), parts[-1])
        if len(parts) > 3:
            return (parts[0], ".".join(parts[1:-1]), parts[-1])
    return tuple(parts)


def value_at(values: BaseModel | Mapping[str, object], path: Path) -> object:
    """The value at `path` in a tree of models and dicts. Raises KeyError when there is none."""
    at: object = values
    for name in path:
        if isinstance(at, Mapping):
            at = at[name]
        elif isinstance(at, BaseModel) and name in type(at).model_fields:
            at = getattr(at, name)
        else:
            raise KeyError(dotted(path))
    return at
