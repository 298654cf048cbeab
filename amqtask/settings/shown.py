"""Settings as a person or a program sees them: plain values by dotted key, with every secret masked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel

from amqtask.settings.layers import DEFAULT
from amqtask.settings.masking import masked
from amqtask.settings.models import Settings
from amqtask.settings.schema import Path, dotted, value_at
from amqtask.settings.validation import leaves

_NAMED = ("exchanges", "queues", "pools")


@dataclass(frozen=True, slots=True)
class Shown:
    """One setting: its key, its value in plain types, where it came from."""

    path: Path
    key: str
    value: object
    origin: str


def shown(settings: Settings, *, everything: bool = False) -> Iterator[Shown]:
    """Every setting in the order of the reference.

    Of a declared exchange, queue or pool only what somebody set is given, unless `everything` is asked for: the
    defaults of each queue would hide the rest. One of which nothing is set is given as an empty table.
    """
    told: set[Path] = set()
    for path in leaves(settings):
        if path == ("routes",):
            for index, rule in enumerate(settings.routes):
                key = f"routes[{index}]"
                yield Shown(("routes", str(index)), key, plain(rule), settings.origins.get(key, DEFAULT))
            continue
        key = dotted(path)
        origin = settings.origins.get(key, DEFAULT)
        if path[0] in _NAMED and path[:2] not in told and not _is_set(settings, path[:2]):
            told.add(path[:2])
            name = dotted(path[:2])
            yield Shown(path[:2], name, {}, settings.origins.get(name, DEFAULT))
        if everything or origin != DEFAULT or path[0] not in _NAMED:
            yield Shown(path, key, plain(value_at(settings, path), path[-1]), origin)


def _is_set(settings: Settings, name: Path) -> bool:
    """Whether anything of a declared name was set."""
    value = value_at(settings, name)
    return isinstance(value, BaseModel) and bool(value.model_fields_set)


def plain(value: object, key: str = "") -> object:
    """A value in the types that JSON has, secrets masked; a callable is named."""
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_unset=True)
    elif isinstance(value, tuple):
        return [plain(part, key) for part in value]
    elif callable(value):
        name = getattr(value, "__qualname__", None)
        return f"{value.__module__}.{name}" if name else repr(value)
    return masked(value, key)
