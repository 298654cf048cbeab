"""Settings from the environment: `AMQTASK_BROKER__URL`, and `AMQTASK_BROKER__URL_FILE` for a value kept in a file.

Two underscores stand where a key has a dot. A variable of ours that names no setting is an error, as a misspelt key in
a file is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import get_args

from amqtask.errors import nearest
from amqtask.settings.layers import Layer, hint
from amqtask.settings.schema import ROOT, UNKNOWN, Kind, Path, Place, default_leaves, dotted, place_of, step

PREFIX = "AMQTASK_"
RESERVED = ("AMQTASK_CONFIG",)  # read by the search for a file
RESERVED_PREFIXES = ("AMQTASK_TEST_",)  # what the test suite is told

# Kubernetes gives each pod variables for every service: a service called `amqtask` makes these.
_KUBERNETES = re.compile(
    r"AMQTASK_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP)(_\w+)?)?)"
)


def read(environ: Mapping[str, str], names: Mapping[str, Iterable[str]]) -> tuple[Layer, Layer]:
    """What the environment says, and what the files that it points to say; the second is the stronger one.

    `names` has what weaker sources declared (`{"queues": [...]}`): a variable's name cannot spell `file.text`, so
    `AMQTASK_QUEUES__FILE_TEXT__TYPE` finds the one declared queue that reads like it.
    """
    plain, secret = Layer(), Layer()
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or _not_ours(variable):
            continue
        path = _path(variable, names)
        place = place_of(path)
        if place.kind is Kind.LEAF:
            _add(plain, path, environ[variable], f"env {variable}", place)
        elif place.kind is not Kind.UNKNOWN:
            _add_table(plain, path, environ[variable], f"env {variable}")
        elif variable.endswith("_FILE") and place_of(_path(variable.removesuffix("_FILE"), names)).kind is Kind.LEAF:
            _add_file(secret, variable, environ[variable], _path(variable.removesuffix("_FILE"), names))
        else:
            near = nearest(variable, [*known_variables(), *RESERVED])
            plain.problem(variable, f"names no setting{hint(near)}", "environment", near=near)
    return plain, secret


def known_variables() -> list[str]:
    """The variable of every setting that has a fixed key."""
    return [variable_of(path) for path, _ in default_leaves()]


def variable_of(path: Path) -> str:
    """The variable that sets the value at `path`."""
    return PREFIX + "__".join(re.sub(r"\W", "_", part) for part in path).upper()


def _not_ours(variable: str) -> bool:
    return variable in RESERVED or variable.startswith(RESERVED_PREFIXES) or _KUBERNETES.fullmatch(variable) is not None


def _path(variable: str, names: Mapping[str, Iterable[str]]) -> Path:
    path: list[str] = []
    place: Place = ROOT
    for part in variable.removeprefix(PREFIX).split("__"):
        name = part.lower()
        if place.kind is Kind.NAMED:
            name = _declared(name, names.get(path[-1], ()))
        path.append(name)
        place = step(place, name) if name else UNKNOWN
    return tuple(path)


def _declared(name: str, known: Iterable[str]) -> str:
    """The declared name that reads like `name`, or `name` itself when there is none or more than one."""
    alike = [one for one in known if re.sub(r"\W", "_", one).lower() == name]
    return alike[0] if len(alike) == 1 else name


def _add(layer: Layer, path: Path, text: str, origin: str, place: Place) -> None:
    assert place.field is not None
    if not _holds_tables(place.field.annotation) and not text.lstrip().startswith("["):
        layer.add(path, text, origin)
        return
    try:
        value = json.loads(text)
    except ValueError as error:
        layer.problem(dotted(path), f"JSON is needed here: {error}", origin)
        return
    layer.add(path, value, origin)


def _add_table(layer: Layer, path: Path, text: str, origin: str) -> None:
    """A whole table in one variable, as JSON."""
    try:
        value = json.loads(text)
    except ValueError:
        layer.problem(dotted(path), "is a table: set one of its keys, or give the table as JSON", origin)
        return
    layer.add(path, value, origin)


def _add_file(layer: Layer, variable: str, name: str, path: Path) -> None:
    """A value kept in a file, as container platforms hand secrets over; the line end that editors add is not part."""
    try:
        text = FilePath(name).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or no path at all
        layer.problem(dotted(path), f"{name!r} cannot be read: {error}", f"env {variable}")
        return
    place = place_of(path)
    _add(layer, path, text, f"{name} (env {variable})", place)


def _holds_tables(annotation: object) -> bool:
    """Whether a value of this type has structure, so that plain text cannot spell it."""
    if annotation is dict or getattr(annotation, "__origin__", None) is dict:
        return True
    if annotation is tuple or getattr(annotation, "__origin__", None) is tuple:
        return not all(_is_text(arg) for arg in get_args(annotation) if arg is not Ellipsis)
    return any(_holds_tables(arg) for arg in get_args(annotation))


def _is_text(annotation: object) -> bool:
    return annotation is str or any(arg is str for arg in get_args(annotation))
