"""Reads the settings: finds the file, merges the sources, validates, and says where each value came from."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

from amqtask.errors import SettingsError
from amqtask.settings.models import Settings


def load(
    *,
    config_file: str | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
    python: object | Mapping[str, object] | None = None,
) -> Settings:
    """Read and check the settings. Raises SettingsError."""
    values: dict[str, object] = dict(python) if isinstance(python, Mapping) else {}
    if config_file is not None:
        _merge(values, tomllib.loads(Path(config_file).read_text(encoding="utf-8")))
    for name, text in (os.environ if environ is None else environ).items():
        if name.startswith("AMQTASK_") and "__" in name:
            _put(values, name.removeprefix("AMQTASK_").lower().split("__"), text)
    for key, value in (overrides or {}).items():
        _put(values, key.split("."), value)
    try:
        return Settings.model_validate(values)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _put(values: dict[str, object], path: list[str], value: object) -> None:
    for part in path[:-1]:
        below = values.setdefault(part, {})
        assert isinstance(below, dict)
        values = below
    values[path[-1]] = value


def _merge(values: dict[str, object], more: Mapping[str, object]) -> None:
    for key, value in more.items():
        mine = values.get(key)
        if isinstance(value, dict) and isinstance(mine, dict):
            _merge(mine, value)
        else:
            values[key] = value
