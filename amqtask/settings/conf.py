"""`app.conf`: what a program sets before its app is used, by our names or Celery's, checked as it is assigned.

    app.conf.task_default_queue = "orders"          Celery's name
    app.conf["broker.heartbeat_s"] = 30             ours, as an item
    app.conf.broker.heartbeat_s = 30                ours, as attributes
    app.conf.update(task_acks_late=True, queues={"orders": {"type": "quorum"}})

It belongs to the thread that builds the app. Once the app reads its settings, `freeze` is called and a later assignment
is an error, as it could no longer have an effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from amqtask.errors import SettingsError
from amqtask.settings import celery_names, python_source
from amqtask.settings.celery_table import HOLDS, MAPPED
from amqtask.settings.layers import Layer, merge
from amqtask.settings.masking import masked_problem
from amqtask.settings.models import Settings
from amqtask.settings.schema import Kind, Path, dotted, place_of, undotted, value_at

ORIGIN = "app.conf"


@dataclass(frozen=True, slots=True)
class _Object:
    """A module, object, dict or import path that settings are read from when they are first needed."""

    source: object
    namespace: str | None
    origin: str | None


class Conf:
    """The settings that a program makes in Python. Raises SettingsError for names and values that cannot be."""

    __slots__ = ("_assigned", "_objects", "_settings")

    _assigned: dict[str, object]
    _objects: list[_Object]
    _settings: Settings | None

    def __init__(self, values: Mapping[str, object] | None = None) -> None:
        object.__setattr__(self, "_assigned", {})
        object.__setattr__(self, "_objects", [])
        object.__setattr__(self, "_settings", None)
        if values:
            self.update(values)

    def update(self, values: Mapping[str, object] | None = None, /, **named: object) -> None:
        """Assign several settings: all of them, or none when one is wrong."""
        new = {**(values or {}), **named}
        self._check(new)
        self._assigned.update(new)

    def add_object(self, source: object, *, namespace: str | None = None, origin: str | None = None) -> None:
        """Read settings from a module, an object, a dict, or the import path of one; read when first needed.

        What is assigned wins over what such an object says, whichever came first.
        """
        if self._settings is not None:
            raise SettingsError("settings are in use; configure the app before it is used", where=ORIGIN)
        self._objects.append(_Object(source, namespace, origin))

    def layers(self) -> list[Layer]:
        """What was said in Python, the weakest first."""
        read = [python_source.read(one.source, namespace=one.namespace, origin=one.origin) for one in self._objects]
        return [*read, python_source.translate(self._assigned, ORIGIN)]

    def freeze(self, settings: Settings) -> None:
        """From now on reading gives what holds in `settings`, and assigning is an error."""
        object.__setattr__(self, "_settings", settings)

    @property
    def frozen(self) -> bool:
        """Whether the settings are in use."""
        return self._settings is not None

    def get(self, name: str, default: object = None) -> object:
        """The value of a setting; `default` when nobody knows the name."""
        try:
            return self[name]
        except KeyError:
            return default

    def __getitem__(self, name: str) -> object:
        path = self._path(name)
        if path is not None:
            return Table(self, path) if place_of(path).kind is not Kind.LEAF else self._ours(path)
        new = celery_names.canonical(name)
        if new is None:
            raise KeyError(name)
        if self._settings is None or new not in MAPPED:
            for used, value in self._assigned.items():
                if celery_names.canonical(used) == new:
                    return value
        if new in MAPPED:
            value = self._ours(undotted(MAPPED[new][0]))
            return value == "late" if new == "task_acks_late" else value
        return HOLDS[new][0][0] if new in HOLDS else None

    def __setitem__(self, name: str, value: object) -> None:
        self.update({name: value})

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (self._path(name) is not None or celery_names.canonical(name) is not None)

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"app.conf has no setting {name!r}") from None

    def __setattr__(self, name: str, value: object) -> None:
        self.update({name: value})

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *Settings.model_fields, *celery_names.new_names()]

    def __repr__(self) -> str:
        return f"<Conf: {len(self._assigned)} assigned, {len(self._objects)} objects>"

    def _check(self, values: Mapping[str, object]) -> None:
        if self._settings is not None:
            names = ", ".join(values)
            raise SettingsError("settings are in use; set this before the app is used", where=f"{ORIGIN}: {names}")
        problems = [masked_problem(one) for one in python_source.translate(values, ORIGIN, alone=True).problems]
        if problems:
            raise SettingsError("\n".join(str(problem) for problem in problems), problems=problems)

    @staticmethod
    def _path(name: str) -> Path | None:
        path = undotted(name)
        return path if path and place_of(path).kind is not Kind.UNKNOWN else None

    def _ours(self, path: Path) -> object:
        """What holds at `path` as far as is known: the settings in use, else what was said here, else the default."""
        if self._settings is None:
            said = merge(self.layers()).values
            try:
                return value_at(said, path)
            except KeyError:
                return value_at(Settings(), path)
        return value_at(self._settings, path)


class Table:
    """One table of `app.conf`, so that `app.conf.broker.url = ...` works."""

    __slots__ = ("_at", "_conf")

    _conf: Conf
    _at: Path

    def __init__(self, conf: Conf, at: Path) -> None:
        object.__setattr__(self, "_conf", conf)
        object.__setattr__(self, "_at", at)

    def __getitem__(self, name: str) -> object:
        return self._conf[dotted((*self._at, name))]

    def __setitem__(self, name: str, value: object) -> None:
        self._conf[dotted((*self._at, name))] = value

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{ORIGIN}.{dotted(self._at)} has no setting {name!r}") from None

    def __setattr__(self, name: str, value: object) -> None:
        self[name] = value

    def __repr__(self) -> str:
        return f"<{ORIGIN}.{dotted(self._at)}>"
