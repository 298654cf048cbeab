"""Merged values into settings: pydantic's verdict in our words, with the source of each value that is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from amqtask.errors import SettingProblem, nearest
from amqtask.settings.layers import DEFAULT, Merged, hint, joined
from amqtask.settings.masking import masked
from amqtask.settings.models import ExchangeBinding, QueueBinding, RouteSettings, Settings
from amqtask.settings.schema import ROOT, Kind, Path, Place, dotted, keys_of, place_of, step, value_at

_MODELS_IN_LISTS: Mapping[str, type[BaseModel]] = {
    "routes": RouteSettings,
    "queues": QueueBinding,
    "exchanges": ExchangeBinding,
}


def validated(merged: Merged) -> tuple[Settings | None, list[SettingProblem]]:
    """The settings, and what pydantic finds wrong in them.

    Values that are wrong are left out once, so that the others can be checked against each other in the same run.
    """
    try:
        return Settings.model_validate(merged.values), []
    except ValidationError as error:
        details = error.errors()
    problems = _joined([_problem(detail, merged) for detail in details])
    for detail in details:
        _leave_out(merged.values, _path_of(detail["loc"]))
    try:
        return Settings.model_validate(merged.values), problems
    except ValidationError:
        return None, problems


def _joined(problems: Iterable[SettingProblem]) -> list[SettingProblem]:
    """One problem a key: a value that fits no branch of a union is told what each would take."""
    found: dict[tuple[str, str], SettingProblem] = {}
    for one in problems:
        first = found.get((one.where, one.key))
        if first is not None:
            text = one.text if one.text == first.text else f"{first.text}, or {one.text}"
            one = replace(one, text=text, nearest=first.nearest or one.nearest)
        found[one.where, one.key] = one
    return list(found.values())


def _path_of(loc: tuple[int | str, ...]) -> Path:
    """Pydantic's location as a key: without the marks that it adds for a name and for the branches of a union."""
    marks = ("table", "callable") if loc and loc[0] == "routes" else ()
    path: Path = ()
    in_list = False
    for part in loc:
        if part == "[key]" or part in marks:
            continue
        in_list = in_list or isinstance(part, int)
        if place_of(path).kind is Kind.LEAF and not in_list:
            break  # a branch of a union: only lists have something below a value
        path = (*path, str(part))
    return path


def _problem(detail: ErrorDetails, merged: Merged) -> SettingProblem:
    path = _path_of(detail["loc"])
    origin = origin_of(path, merged.origins)
    given, key = detail["input"], dotted(path)
    if detail["type"] == "missing":
        return SettingProblem(key, "is needed", origin)
    if detail["type"] == "extra_forbidden":
        model = _MODELS_IN_LISTS.get(path[0])
        near = nearest(path[-1], model.model_fields if model else ())
        return SettingProblem(key, f"unknown setting{hint(near)}", origin, near)
    text = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    near = None
    if detail["type"] == "literal_error" and isinstance(given, str):
        near = nearest(given.lower(), _words(detail["ctx"]["expected"]))
    shown = "" if isinstance(given, Mapping | list | tuple | BaseModel) else f" (it is {masked(given, path[-1])!r})"
    return SettingProblem(key, f"{text[:1].lower()}{text[1:]}{shown}{hint(near)}", origin, near)


def _words(expected: str) -> Iterable[str]:
    """The words of pydantic's list of what may stand somewhere: `'late' or 'early'`."""
    return [word.strip("' ") for word in expected.replace(" or ", ",").split(",")]


def _leave_out(values: dict[str, object], path: Path) -> None:
    """Take the setting at `path` out: the whole of it, also when only something inside it is wrong."""
    at: dict[str, object] = values
    for length, name in enumerate(path, start=1):
        below = at.get(name)
        if length == len(path) or place_of(path[:length]).kind is Kind.LEAF or not isinstance(below, dict):
            at.pop(name, None)
            return
        at = below


def origin_of(path: Path, origins: Mapping[Path, str]) -> str:
    """Where the value at `path` came from: its own origin, or that of the nearest key above it or below it."""
    for length in range(len(path), 0, -1):
        if path[:length] in origins:
            return origins[path[:length]]
    return joined(origin for key, origin in origins.items() if key[: len(path)] == path) or DEFAULT


def all_origins(settings: Settings, origins: Mapping[Path, str]) -> dict[str, str]:
    """The origin of every value that `settings` have, of every declared name and of every rule (`routes[0]`)."""
    found = {dotted(path): origins.get(path, DEFAULT) for path in leaves(settings)}
    found |= {dotted(path): origins[path] for path in names(settings) if path in origins}
    return found | {f"routes[{i}]": origins.get(("routes", str(i)), DEFAULT) for i in range(len(settings.routes))}


def names(settings: Settings) -> list[Path]:
    """The path of every declared exchange, queue and pool."""
    tables = ("exchanges", "queues", "pools")
    return [(table, name) for table in tables for name in getattr(settings, table)]


def leaves(settings: Settings) -> list[Path]:
    """The path of every value in `settings`, those of declared exchanges, queues and pools included."""
    return _leaves_below(settings, ROOT, ())


def _leaves_below(settings: Settings, place: Place, path: Path) -> list[Path]:
    if place.kind is Kind.LEAF:
        return [path]
    keys = keys_of(place)
    if place.kind is Kind.NAMED:
        names = value_at(settings, path)
        assert isinstance(names, Mapping)
        keys = tuple(names)
    return [leaf for key in keys for leaf in _leaves_below(settings, step(place, key), (*path, key))]
