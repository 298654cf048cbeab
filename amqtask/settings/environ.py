"""Settings from the environment: `AMQTASK_BROKER__URL`, and `AMQTASK_BROKER__URL_FILE` for a value kept in a file.

Two underscores stand where a key has a dot. A variable of ours that names no setting is an error, as a misspelt key in
a file is; so which setting a variable names is decided here. What its text means, pydantic-settings says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

from amqtask.errors import nearest
from amqtask.settings.layers import Layer, hint
from amqtask.settings.schema import ROOT, UNKNOWN, Kind, Path, Place, default_leaves, dotted, place_of, step

if TYPE_CHECKING:
    from amqtask.settings.sources import Variables

PREFIX = "AMQTASK_"
DELIMITER = "__"
RESERVED = ("AMQTASK_CONFIG",)  # read by the search for a file
RESERVED_PREFIXES = ("AMQTASK_TEST_",)  # what the test suite is told

# Kubernetes gives each pod variables for every service: a service called `amqtask` makes these.
_KUBERNETES = re.compile(
    r"AMQTASK_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP)(_\w+)?)?)"
)

_FILE = "_FILE"
_TABLE = "is a table: set one of its keys, or give the table as JSON"


def read(environ: Mapping[str, str], names: Mapping[str, Iterable[str]]) -> tuple[Layer, Layer]:
    """What the environment says, and what the files that it points to say; the second is the stronger one.

    `names` has what weaker sources declared (`{"queues": [...]}`): a variable's name cannot spell `file.text`, so
    `AMQTASK_QUEUES__FILE_TEXT__TYPE` finds the one declared queue that reads like it.
    """
    plain, secret = Layer(), Layer()
    ours = [variable for variable in sorted(environ) if variable.startswith(PREFIX) and not _not_ours(variable)]
    if not ours:
        return plain, secret
    # Here, as it takes long and a program without such variables need not wait for it.
    from amqtask.settings.sources import Variables

    values = Variables(prefix=PREFIX, delimiter=DELIMITER)
    for variable in ours:
        text = environ[variable]
        path = _path(variable, names)
        path_of_file = _path(variable.removesuffix(_FILE), names)
        if place_of(path).kind is not Kind.UNKNOWN:
            _add(plain, values, variable, text, path=path, origin=f"env {variable}")
        elif variable.endswith(_FILE) and place_of(path_of_file).kind is Kind.LEAF:
            _add_file(secret, values, variable, text, path_of_file)
        else:
            near = nearest(variable, [*known_variables(), *RESERVED])
            plain.problem(variable, f"names no setting{hint(near)}", "environment", near=near)
    return plain, secret


def known_variables() -> list[str]:
    """The variable of every setting that has a fixed key."""
    return [variable_of(path) for path, _ in default_leaves()]


def variable_of(path: Path) -> str:
    """The variable that sets the value at `path`."""
    return PREFIX + DELIMITER.join(re.sub(r"\W", "_", part) for part in path).upper()


def _not_ours(variable: str) -> bool:
    return variable in RESERVED or variable.startswith(RESERVED_PREFIXES) or _KUBERNETES.fullmatch(variable) is not None


def _path(variable: str, names: Mapping[str, Iterable[str]]) -> Path:
    path: list[str] = []
    place: Place = ROOT
    for part in variable.removeprefix(PREFIX).split(DELIMITER):
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


def _add(layer: Layer, values: Variables, variable: str, text: str, *, path: Path, origin: str) -> None:
    """Add what `text` means as the value of `variable`."""
    is_table = place_of(path).kind is not Kind.LEAF
    try:
        value = values.value(variable, text)
    except ValueError as error:
        layer.problem(dotted(path), _TABLE if is_table else f"JSON is needed here: {error}", origin)
        return
    if is_table and not isinstance(value, Mapping):
        layer.problem(dotted(path), _TABLE, origin)
        return
    layer.add(path, value, origin)


def _add_file(layer: Layer, values: Variables, variable: str, name: str, path: Path) -> None:
    """A value kept in a file, as container platforms hand secrets over; the line end that editors add is not part."""
    try:
        text = FilePath(name).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or no path at all
        layer.problem(dotted(path), f"{name!r} cannot be read: {error}", f"env {variable}")
        return
    _add(layer, values, variable.removesuffix(_FILE), text, path=path, origin=f"{name} (env {variable})")
