"""Finds the app that `-A`, the environment or the settings name, and says what was tried when there is none."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from types import ModuleType

from amqtask.app.app import App
from amqtask.errors import AmqtaskError, SettingsError
from amqtask.settings import load

VARIABLES = ("AMQTASK_APP", "CELERY_APP")
ATTRIBUTES = ("app", "celery")  # where in a module an app usually is
SUBMODULES = ("celery", "app")  # where in a package


class AppImportFailed(SettingsError):
    """The app's own code raised while it was imported; the cause is what it raised."""


def find_app(
    spec: str | None,
    *,
    environ: Mapping[str, str] | None = None,
    config_file: str | None = None,
    overrides: Mapping[str, object] | None = None,
) -> App:
    """The app that `spec` names: `module`, `package`, `pkg.mod:attribute` or `pkg.mod.attribute`.

    Without one, the variables AMQTASK_APP and CELERY_APP name it, else the setting `app`; if none does but
    `tasks.imports` lists modules, it is an app of those. The working directory is put on the import path first.
    `config_file` and `overrides` (dotted keys) go into the app's settings. Raises SettingsError saying what was tried,
    and AppImportFailed, which is one, when the app's own code raised.
    """
    environment = os.environ if environ is None else environ
    _add_working_directory()
    where = "-A"
    for variable in VARIABLES if not spec else ():
        spec = environment.get(variable)
        if spec:
            where = variable
            break
    if not spec:
        settings = load(config_file=config_file, environ=environment, overrides=overrides, complete=False)
        spec, where = settings.app, settings.origins.get("app", "app")
        if not spec and settings.tasks.imports:
            app = App()
            app.configure(config_file=config_file, overrides=overrides, environ=environ)
            return app
    if not spec:
        raise SettingsError(f"no app is named: use -A, {' or '.join(VARIABLES)}, or `app` in the configuration")
    app = _Search(where).find(spec)
    app.configure(config_file=config_file, overrides=overrides, environ=environ)
    return app


def _add_working_directory() -> None:
    here = str(os.getcwd())  # noqa: PTH109 - sys.path holds texts
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


class _Search:
    """One search; `tried` collects what was looked at in vain."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._tried: list[str] = []

    def find(self, spec: str) -> App:
        name, colon, attribute = spec.partition(":")
        app = self._attribute(name, attribute) if colon else self._dotted(spec)
        if app is None:
            tried = "".join(f"\n  {line}" for line in self._tried)
            raise SettingsError(f"no app found for {spec!r}. Tried:{tried}", where=self._where)
        return app

    def _dotted(self, spec: str) -> App | None:
        """A module or package that holds an app, or a module's attribute."""
        module = self._import(spec)
        if module is not None:
            return self._within(module)
        name, dot, attribute = spec.rpartition(".")
        return self._attribute(name, attribute) if dot else None

    def _attribute(self, name: str, path: str) -> App | None:
        module = self._import(name)
        if module is None:
            return None
        if not path:
            return self._within(module)
        value: object = module
        for part in path.split("."):
            try:
                value = getattr(value, part)
            except AttributeError:
                self._tried.append(f"{name}:{path}: there is no attribute {part!r}")
                return None
        if isinstance(value, ModuleType):
            return self._within(value)
        return self._as_app(value, f"{name}:{path}")

    def _within(self, module: ModuleType) -> App | None:
        """The app of a module: its usual attributes, its usual submodules, else the only one that it has."""
        name = module.__name__
        for attribute in ATTRIBUTES:
            value = getattr(module, attribute, None)
            if value is None or isinstance(value, ModuleType):
                self._tried.append(f"{name}:{attribute}: there is none")
                continue
            app = self._as_app(value, f"{name}:{attribute}")
            if app is not None:
                return app
        if hasattr(module, "__path__"):
            for below in SUBMODULES:
                submodule = self._import(f"{name}.{below}")
                app = self._within(submodule) if submodule is not None else None
                if app is not None:
                    return app
        apps = {id(value): (key, value) for key, value in vars(module).items() if isinstance(value, App)}
        if len(apps) == 1:
            return next(iter(apps.values()))[1]
        names = ", ".join(f"{name}:{key}" for key, _ in apps.values())
        self._tried.append(f"{name}: it has several apps, name one of {names}" if apps else f"{name}: no App in it")
        return None

    def _as_app(self, value: object, where: str) -> App | None:
        if isinstance(value, App):
            return value
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        self._tried.append(f"{where}: it is a {kind}, not an amqtask.App")
        return None

    def _import(self, name: str) -> ModuleType | None:
        """The module, None when there is none of that name; an error in its own code is shown as what it is."""
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if name == missing or name.startswith(f"{missing}."):
                self._tried.append(f"{name}: there is no module {missing!r}")
                return None
            raise self._failed(name, error) from error
        except AmqtaskError:
            raise
        except (ValueError, TypeError) as error:
            if not name or name.startswith(".") or ".." in name or name.endswith("."):
                self._tried.append(f"{name!r}: no name of a module")
                return None
            raise self._failed(name, error) from error
        except Exception as error:
            raise self._failed(name, error) from error

    def _failed(self, name: str, error: Exception) -> AppImportFailed:
        return AppImportFailed(f"importing {name!r} failed: {cause(error)}", where=self._where)


def cause(error: BaseException) -> str:
    """An exception and the line of the user's code that raised it."""
    text = f"{type(error).__name__}: {error}"
    frame = error.__traceback__
    place = ""
    while frame is not None:
        file = frame.tb_frame.f_code.co_filename
        if not file.startswith("<frozen") and file != __file__ and "/importlib/" not in file:
            place = f" ({file}:{frame.tb_lineno})"
        frame = frame.tb_next
    return text + place
