"""Reads the settings: asks every source, merges them, validates, and keeps where each value came from.

The weakest source first: built-in defaults; Python (modules and objects, then `app.conf`); the configuration file and
the topology files it names; `AMQTASK_` variables; files that `AMQTASK_..._FILE` variables point to; the command line.
Python stands below the file because a program says what it needs, and whoever operates it has the last word.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath

from pydantic import ValidationError

from amqtask.errors import SettingProblem, SettingsError
from amqtask.settings import checks, discover, python_source
from amqtask.settings import environ as environment
from amqtask.settings.conf import Conf
from amqtask.settings.layers import Layer, Merged, merge
from amqtask.settings.masking import masked_problem, masked_text
from amqtask.settings.models import Settings
from amqtask.settings.schema import Path, undotted, value_at
from amqtask.settings.validation import all_origins, origin_of, validated

COMMAND_LINE = "command line"


def load(
    *,
    config_file: str | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
    python: object | Mapping[str, object] | None = None,
    complete: bool = True,
) -> Settings:
    """Read and check the settings.

    `config_file` is what `--config` names; without it `AMQTASK_CONFIG` and then the usual places are looked at.
    `environ` stands in for the process's environment. `overrides` are the command line's, by dotted key; None in it
    means not given. `python` is a `Conf`, a mapping, a module, an object, or the import path of one. `complete` False
    says that the app's Python is yet to be read, so that names are not checked against each other: a pool may serve a
    queue that the app declares.

    Raises SettingsError, whose `problems` has everything that is wrong.
    """
    variables = os.environ if environ is None else environ
    layers = _python_layers(python)
    stronger = _override_layer(overrides or {})
    file_layer = Layer()
    path = discover.find(config_file, variables)
    if path is not None:
        discover.add_file(file_layer, path)
    # Which topology files there are may itself be said by any source, so those are asked first.
    named = merge([*layers, file_layer, *environment.read(variables, {}), stronger])
    topology_layer = _topology_layer(named, file_layer, path)
    weaker = [*layers, file_layer, topology_layer]
    plain, secret = environment.read(variables, _names(merge(weaker)))
    return _settings([*weaker, plain, secret, stronger], complete=complete)


def _python_layers(python: object) -> list[Layer]:
    if python is None:
        return []
    return python.layers() if isinstance(python, Conf) else [python_source.read(python)]


def _override_layer(overrides: Mapping[str, object]) -> Layer:
    layer = Layer()
    for key, value in overrides.items():
        if value is not None:
            layer.add(undotted(key), value, COMMAND_LINE)
    return layer


def _names(merged: Merged) -> dict[str, list[str]]:
    """The names that sources declared so far, by table."""
    tables = {table: merged.values.get(table) for table in ("exchanges", "queues", "pools")}
    return {table: list(names) for table, names in tables.items() if isinstance(names, Mapping)}


def _topology_layer(named: Merged, file_layer: Layer, main: FilePath | None) -> Layer:
    """What the files say that `topology.files` names, relative to the file that names them."""
    layer = Layer()
    key: Path = ("topology", "files")
    try:
        patterns = Settings.model_validate({"topology": {"files": value_at(named.values, key)}}).topology.files
    except (KeyError, ValidationError):
        return layer  # nothing named; or something wrong, which validation is going to tell
    origin = named.origins[key]
    said_by_main = main is not None and origin == str(main)
    base = main.parent if said_by_main and main is not None else FilePath()
    declared = {(e.path[0], e.path[1]): e.origin for e in file_layer.entries if e.present and e.path[0] != "pools"}
    for path in discover.topology_paths(patterns, base, origin=origin, layer=layer):
        discover.add_topology_file(layer, path, declared)
    # Rules of the main file come first, and then those of the others in their order: one source, not a stronger one.
    main_rules = [entry for entry in file_layer.entries if entry.path == ("routes",)]
    for entry in main_rules:
        file_layer.entries.remove(entry)
    layer.entries[:0] = main_rules
    return layer


def _settings(layers: Sequence[Layer], *, complete: bool) -> Settings:
    merged = merge(layers)
    problems = [problem for layer in layers for problem in layer.problems]
    settings, wrong = validated(merged)
    problems += wrong
    if settings is not None and complete:
        problems += checks.check(settings, lambda path: origin_of(path, merged.origins))
    if problems:
        problems = [masked_problem(problem) for problem in problems]
        raise SettingsError(_report(problems), problems=problems)
    assert settings is not None
    notes = tuple(dict.fromkeys(masked_text(note) for layer in layers for note in layer.notes))
    return settings.located(all_origins(settings, merged.origins), notes)


def _report(problems: Sequence[SettingProblem]) -> str:
    if len(problems) == 1:
        return str(problems[0])
    return f"{len(problems)} settings are wrong:\n" + "\n".join(f"  {problem}" for problem in problems)
