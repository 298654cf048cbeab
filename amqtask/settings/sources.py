"""The sources of pydantic-settings, asked for one file or one variable at a time, so that each value's origin is known.

Only to be imported when there is something to read: the library brings asyncio and ssl, which a program that says all
in Python need not pay for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from amqtask.settings.models import Settings
from amqtask.settings.types import LISTED, URLS


class Tree(Settings, BaseSettings):
    """The tree as the sources want to have it: they look at its fields. Never made, never validated with.

    Case counts, as the library would take `[Broker]` in a file for `[broker]`, and of both in one file drop one.
    """

    model_config = SettingsConfigDict(defer_build=True, case_sensitive=True)


def toml_content(path: Path) -> dict[str, object]:
    """What a TOML file holds. Raises OSError, UnicodeDecodeError or tomllib.TOMLDecodeError."""
    return TomlConfigSettingsSource(Tree, path)()


class Variables(EnvSettingsSource):
    """What the text of a variable means: JSON where its setting has structure, and otherwise the text itself."""

    def __init__(self, *, prefix: str, delimiter: str) -> None:
        super().__init__(Tree, case_sensitive=False, env_prefix=prefix, env_nested_delimiter=delimiter)
        self._delimiter = delimiter

    def value(self, variable: str, text: str) -> object:
        """The value of the setting that `variable` names. Raises ValueError when JSON is needed and `text` is none.

        The variable must name a setting that there is.
        """
        self.env_vars = {variable.lower(): text}
        top, *below = variable.lower()[self.env_prefix_len :].split(self._delimiter)
        field = Tree.model_fields[top]
        found, _, is_complex = self.get_field_value(field, top)
        value: Any = self.prepare_field_value(top, field, found, is_complex)
        for name in below:
            value = value[name]
        return value

    def field_is_complex(self, field: FieldInfo) -> bool:
        """Whether JSON may stand for it. Where it may be unset, too, the library would take bad JSON for text."""
        return _takes_text(field) or super().field_is_complex(field)

    def decode_complex_value(self, field_name: str, field: FieldInfo | None, value: Any) -> Any:
        """Decode JSON; of a list that text may spell, only what looks like JSON: its type takes `a,b` apart."""
        if field is not None and _takes_text(field) and not value.lstrip().startswith("["):
            return value
        # A table under a name of the user's comes without a field, which the library's annotation leaves out.
        return super().decode_complex_value(field_name, field, value)  # type: ignore[arg-type]


def _takes_text(field: FieldInfo) -> bool:
    """Whether text with commas or semicolons may stand for the list."""
    return LISTED in field.metadata or URLS in field.metadata
