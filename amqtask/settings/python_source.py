"""Settings from Python: a module, an object, a dict, or `app.conf`; with our names, Celery's, or both.

A dict says settings and nothing else, so an unknown name in it is an error. A module holds helpers too: there a name
that does not look like a setting is noted and left alone.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from types import ModuleType

from amqtask.errors import nearest
from amqtask.settings import celery_names
from amqtask.settings.celery_special import SPECIALS, Given, Source
from amqtask.settings.celery_table import HOLDS, LATER, MAPPED, NEVER
from amqtask.settings.layers import ROUTES, Layer, hint
from amqtask.settings.models import Settings
from amqtask.settings.schema import Path, dotted, known_keys, undotted

_TOP = tuple(Settings.model_fields)
_EMPTY: tuple[object, ...] = (None, False, 0, "")


def read(source: object, *, namespace: str | None = None, origin: str | None = None) -> Layer:
    """What a Python source says: a mapping, a module, an object, or the import path of one of the last two.

    With a `namespace`, only names that begin with it and an underscore are settings, as in Django's settings module.
    """
    if isinstance(source, str):
        layer = Layer()
        found = _import(source, layer)
        return layer if found is None else read(found, namespace=namespace, origin=origin or source)
    if isinstance(source, Mapping):
        if namespace is None:
            return translate(source, origin or "Python")
        return translate(_within(source, namespace), origin or "Python")
    where = origin or (source.__name__ if isinstance(source, ModuleType | type) else type(source).__name__)
    values = {name: getattr(source, name) for name in dir(source) if not name.startswith("_")}
    if namespace is not None:
        return translate(_within(values, namespace), where)
    own, notes = _own_variables(values)
    layer = translate({name: value for name, value in values.items() if name not in own}, where)
    layer.notes.extend(f"{where}: {note}" for note in notes)
    return layer


def translate(values: Mapping[str, object], origin: str, *, alone: bool = False) -> Layer:
    """A layer from names and values. Names may be ours (`broker`, `broker.url`), Celery's new ones and its old ones.

    `alone` says that these are not all values of their source, so that one may lean on another that is not here.
    """
    layer = Layer()
    given: dict[str, Given] = {}
    names: list[str] = []  # by which name each entry of the layer was given
    for name, value in values.items():
        if name in _TOP or ("." in name and undotted(name)):
            layer.add(undotted(name), value, origin)
            names += [name] * (len(layer.entries) - len(names))
            continue
        new = celery_names.canonical(name)
        if new is None:
            _unknown(layer, name, origin)
        elif new in given and given[new].value != value:
            layer.problem(name, f"is the same setting as {given[new].used}, which has another value", origin)
        else:
            given.setdefault(new, Given(name, value))
    source = Source(_with_imports_joined(given), layer, origin, alone)
    for new, one in source.given.items():
        _celery(source, new, one)
        names += [one.used] * (len(layer.entries) - len(names))
    _find_conflicts(layer, names, origin)
    return layer


def _import(path: str, layer: Layer) -> object | None:
    module, _, attribute = path.partition(":")
    try:
        found: object = importlib.import_module(module)
        for part in attribute.split(".") if attribute else ():
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        ends = "; leave the .py off" if path.endswith(".py") else ""
        layer.problem("", f"cannot be imported: {error}{ends}", path)
        return None
    return found


def _within(values: Mapping[str, object], namespace: str) -> dict[str, object]:
    """The settings of a namespace, under names that are understood without it."""
    prefix = namespace.rstrip("_") + "_"
    found: dict[str, object] = {}
    for name, value in values.items():
        if not name.startswith(prefix):
            continue
        short = name.removeprefix(prefix)
        ours = undotted(short.lower().replace("__", "."))
        if celery_names.canonical(name):
            found[name] = value
        elif celery_names.canonical(short.lower()):
            found[short.lower()] = value
        elif ours[0] in _TOP:
            found[dotted(ours)] = value
        else:
            found[name] = value
    return found


def _own_variables(values: Mapping[str, object]) -> tuple[set[str], list[str]]:
    """Which names of a module or object are its own business, and what to note about them."""
    own: set[str] = set()
    notes: list[str] = []
    for name, value in values.items():
        if celery_names.canonical(name):
            continue
        if name in _TOP and isinstance(value, str if name == "app" else Mapping | list | tuple):
            continue
        if inspect.ismodule(value) or callable(value):
            own.add(name)
        elif name in _TOP or not _meant_as_setting(name):
            own.add(name)
            notes.append(f"{name}: not a setting; taken for a variable of its own")
    return own, notes


def _meant_as_setting(name: str) -> bool:
    if celery_names.looks_like_setting(name) or celery_names.invented(name):
        return True
    near = nearest(name, celery_names.all_names())
    return near is not None and abs(len(near) - len(name)) <= 2


def _unknown(layer: Layer, name: str, origin: str) -> None:
    advice = celery_names.invented(name)
    if advice is not None:
        layer.problem(name, f"is not a Celery setting either (Celery ignores it); {advice}", origin)
        return
    known = (*celery_names.all_names(), *known_keys(), *_TOP)
    lower = {one.lower(): one for one in reversed(known)}
    near = lower.get(name.lower()) or nearest(name, known) or nearest(name.lower(), known)
    either = " (Celery has none of that name either)" if celery_names.looks_like_setting(name) else ""
    layer.problem(name, f"unknown setting{either}{hint(near)}", origin, near=near)


def _with_imports_joined(given: dict[str, Given]) -> dict[str, Given]:
    """Celery imports what `imports` and `include` name, both; together they are one setting here."""
    if "imports" not in given or "include" not in given:
        return given
    parts: list[object] = []
    for name in ("imports", "include"):
        value = given[name].value
        parts += [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple | set) else []
    both = Given(f"{given['imports'].used} and {given['include'].used}", list(dict.fromkeys(parts)))
    return {name: one for name, one in given.items() if name != "include"} | {"imports": both}


def _celery(source: Source, new: str, one: Given) -> None:
    """Do what the table says about one of Celery's settings."""
    if new in MAPPED:
        key, convert = MAPPED[new]
        if one.value is None:  # what Celery has for "not set"
            source.note(one.used, f"is not set; here: {key}")
            return
        try:
            value = convert(one.value)
        except ValueError as error:
            source.refuse(one.used, str(error))
            return
        source.add(one.used, undotted(key), value)
        source.note(one.used, f"is Celery's name; here: {key}")
    elif new in SPECIALS:
        SPECIALS[new](source, one)
    elif new in HOLDS:
        values, text = HOLDS[new]
        if any(one.value is held or (type(one.value) is type(held) and one.value == held) for held in values):
            source.note(one.used, f"nothing to set: {text}")
        else:
            source.refuse(one.used, f"cannot be {one.value!r}: {text}")
    elif _asks_for_nothing(one.value):
        source.note(one.used, f"is {one.value!r}, which asks for nothing")
    elif new in NEVER:
        source.refuse(one.used, f"has no meaning here: {NEVER[new]}")
    else:
        source.refuse(one.used, f"is a Celery setting that this version of amqtask does not have: {LATER[new]} yet")


def _asks_for_nothing(value: object) -> bool:
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return not value
    return any(value is empty or (type(value) is type(empty) and value == empty) for empty in _EMPTY)


def _find_conflicts(layer: Layer, names: list[str], origin: str) -> None:
    """One source that gives a setting twice, under two names and with two values, is not to be guessed at."""
    seen: dict[Path, tuple[str, object]] = {}
    for entry, name in zip(layer.entries, names, strict=True):
        if entry.present or entry.path == ROUTES:
            continue
        first, value = seen.setdefault(entry.path, (name, entry.value))
        if first != name and value != entry.value:
            layer.problem(f"{first} and {name}", f"are both {dotted(entry.path)}, with different values", origin)
