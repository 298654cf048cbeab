"""What the tests of settings share."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from amqtask.errors import SettingProblem, SettingsError
from amqtask.settings import Settings, load


def loaded(
    python: object = None,
    *,
    config_file: str | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Settings:
    """Settings of these sources alone: neither this process's environment nor a file of this machine counts."""
    return load(config_file=config_file, environ=environ or {}, overrides=overrides, python=python)


def problems(python: object = None, **sources: object) -> tuple[SettingProblem, ...]:
    """Everything that is wrong with these sources."""
    with pytest.raises(SettingsError) as caught:
        loaded(python, **sources)  # type: ignore[arg-type]
    assert caught.value.problems
    return caught.value.problems


def problem(python: object = None, **sources: object) -> SettingProblem:
    """The one thing that is wrong with these sources."""
    found = problems(python, **sources)
    assert len(found) == 1, [str(one) for one in found]
    return found[0]
