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
    defaults of each queue would hide the rest.
    """
    for path in leaves(settings):
        if path == ("routes",):
            for index, rule in enumerate(settings.routes):
                key = f"routes[{index}]"
                yield Shown(("routes", str(index)), key, plain(rule), settings.origins.get(key, DEFAULT))
            continue
        key = dotted(path)
        origin = settings.origins.get(key, DEFAULT)
        if everything or origin != DEFAULT or path[0] not in ("exchanges", "queues", "pools"):
            yield Shown(path, key, plain(value_at(settings, path), path[-1]), origin)


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
