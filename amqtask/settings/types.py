"""The value types that settings are made of: durations, names, bounded numbers, lists that a string may spell.

Pydantic validates in its lax mode, because environment variables are strings; what lax mode would let through and a
person never means (a boolean as a number) is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number is needed, not a boolean")
    return value


def _seconds(value: object) -> object:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return _no_bool(value)


def _none_word(value: object) -> object:
    """TOML and the environment have no null: the word `none` says it."""
    if isinstance(value, str) and value.strip().lower() == "none":
        return None
    return value


def _none_or_empty(value: object) -> object:
    """Where empty text can mean nothing else, it means that nothing is set: `AMQTASK_LOG__FILE=`."""
    return None if isinstance(value, str) and value.strip().lower() in ("", "none") else value


def _empty(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _listed(value: object) -> object:
    """A list, or a string with commas: what `-Q a,b` and an environment variable look like."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, set | frozenset):
        return sorted(value)
    return value


def _urls(value: object) -> object:
    """Several broker addresses: a list, or one string with semicolons."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ";".join(str(part) for part in value)
    return value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value


def name_fault(name: str, what: str = "name") -> str | None:
    """Why `name` cannot name a queue, an exchange or a routing key; None when it can.

    AMQP carries names as short strings: at most 255 bytes. Blanks at an edge are always a slip (`-Q a, b`), and the
    broker would take them as another name.
    """
    if name != name.strip():
        return f"{what} {name!r} has blanks at an edge; did you mean {name.strip()!r}?"
    if len(name.encode()) > 255:
        return f"{what} is longer than 255 bytes"
    if any(ord(char) < 32 for char in name):
        return f"{what} {name!r} has control characters in it"
    return None


def _name(value: str) -> str:
    if not value:
        raise ValueError("a name must not be empty")
    return _name_or_empty(value)


def _name_or_empty(value: str) -> str:
    fault = name_fault(value)
    if fault:
        raise ValueError(fault)
    return value


def _pattern(value: object) -> object:
    """A compiled pattern becomes `re:...` with its flags written into it, so that settings stay plain text."""
    if isinstance(value, re.Pattern):
        flags = "".join(
            letter
            for letter, flag in {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}.items()
            if value.flags & flag
        )
        return f"re:(?{flags}){value.pattern}" if flags else f"re:{value.pattern}"
    return value


def _task_rule(value: str) -> str:
    if not value.strip():
        raise ValueError("a rule needs a task name, a glob or re:PATTERN")
    if value.startswith("re:"):
        try:
            re.compile(value[3:])
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
    return value


_CONTENT = {"application/json": "json"}
_COMPRESSIONS = {
    "zlib": "gzip",
    "application/x-gzip": "gzip",
    "bzip": "bzip2",
    "bz2": "bzip2",
    "application/x-bz2": "bzip2",
}


def _content_name(value: object) -> object:
    """Celery lets a content type stand where a serializer's name does."""
    return _CONTENT.get(value, value) if isinstance(value, str) else value


def _compression_name(value: object) -> object:
    """kombu's other names for the same two formats."""
    value = _none_word(value)
    return _COMPRESSIONS.get(value, value) if isinstance(value, str) else value


Count: TypeAlias = Annotated[int, BeforeValidator(_no_bool), Field(ge=0)]
Positive: TypeAlias = Annotated[int, BeforeValidator(_no_bool), Field(ge=1)]
Priority: TypeAlias = Annotated[int, BeforeValidator(_no_bool), Field(ge=0, le=255)]
Seconds: TypeAlias = Annotated[float, BeforeValidator(_seconds), Field(ge=0, allow_inf_nan=False)]
PositiveSeconds: TypeAlias = Annotated[float, BeforeValidator(_seconds), Field(gt=0, allow_inf_nan=False)]

# Where a list stands or text that spells one. The reading of variables looks for these: it asks for JSON elsewhere.
LISTED = BeforeValidator(_listed)
URLS = BeforeValidator(_urls)

Text: TypeAlias = Annotated[str, AfterValidator(_not_blank)]
Name: TypeAlias = Annotated[str, AfterValidator(_name)]
NameOrEmpty: TypeAlias = Annotated[str, AfterValidator(_name_or_empty)]
BrokerUrls: TypeAlias = Annotated[str, URLS, AfterValidator(_not_blank)]
TaskRule: TypeAlias = Annotated[str, BeforeValidator(_pattern), AfterValidator(_task_rule)]

Serializer: TypeAlias = Annotated[Literal["json"], BeforeValidator(_content_name)]
Serializers: TypeAlias = Annotated[tuple[Serializer, ...], LISTED]
Compression: TypeAlias = Annotated[Literal["gzip", "bzip2"] | None, BeforeValidator(_compression_name)]

Names: TypeAlias = Annotated[tuple[Name, ...], LISTED]
Texts: TypeAlias = Annotated[tuple[Text, ...], LISTED]

OptionalCount: TypeAlias = Annotated[Count | None, BeforeValidator(_none_or_empty)]
OptionalPositive: TypeAlias = Annotated[Positive | None, BeforeValidator(_none_or_empty)]
OptionalPriority: TypeAlias = Annotated[Priority | None, BeforeValidator(_none_or_empty)]
OptionalSeconds: TypeAlias = Annotated[Seconds | None, BeforeValidator(_none_or_empty)]
OptionalPositiveSeconds: TypeAlias = Annotated[PositiveSeconds | None, BeforeValidator(_none_or_empty)]
OptionalText: TypeAlias = Annotated[Text | None, BeforeValidator(_none_or_empty)]
# A name may be the word `none`, so that word is nothing special here.
OptionalName: TypeAlias = Annotated[Name | None, BeforeValidator(_empty)]
OptionalNameOrEmpty: TypeAlias = NameOrEmpty | None
OptionalNames: TypeAlias = Annotated[tuple[Name, ...] | None, LISTED, BeforeValidator(_empty)]
