"""Imports the modules that hold an app's tasks."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from amqtask.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Discovery:
    """Packages in each of which a module may hold tasks; a callable is asked for them when they are needed."""

    packages: Sequence[str] | Callable[[], Iterable[str]]
    related_name: str | None = "tasks"

    def modules(self) -> list[str]:
        """The modules that exist. SettingsError for a package that does not."""
        packages = self.packages() if callable(self.packages) else self.packages
        found = []
        for package in packages:
            if not _exists(package):
                raise SettingsError(f"there is no package {package!r} to discover tasks in")
            if self.related_name is None:
                found.append(package)
            elif _exists(f"{package}.{self.related_name}"):
                found.append(f"{package}.{self.related_name}")
        return found


def import_modules(names: Iterable[str], *, where: str) -> None:
    """Import each module. SettingsError when there is none of that name; what its own code raises comes through."""
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if name == missing or name.startswith(f"{missing}."):
                raise SettingsError(f"there is no module {missing!r}", where=f"{where}: {name}") from error
            raise


def _exists(name: str) -> bool:
    """Whether a module can be found; its parents are imported, it is not."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError as error:
        if name == error.name or name.startswith(f"{error.name}."):
            return False  # its parent is missing, or is no package
        raise
    except ValueError:  # a module without a spec, as __main__ may be: it is there
        return True
