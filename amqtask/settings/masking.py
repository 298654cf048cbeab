"""Keeps secrets out of what is shown: passwords inside addresses, and values whose key says that they are secret."""

from __future__ import annotations

import re
from dataclasses import replace

from amqtask.errors import SettingProblem

MASK = "**"

# user:password@ of an address; the password may hold anything but the characters that end it. One slash is enough: an
# address that was taken for a path has lost the other.
_PASSWORD = re.compile(r"(?P<before>\b[A-Za-z][A-Za-z0-9+.-]*:/+[^:/@\s;]*:)[^/\s;]*(?=@)")
_QUERY = re.compile(r"(?i)([?&](?:password|passwd|secret|token|key)=)[^&;\s]+")
_SECRET_KEY = re.compile(r"(?i)(^|[._-])(password|passwd|secret|token|credentials?)$")


def masked_text(text: str) -> str:
    """`text` with the passwords of all addresses in it masked."""
    return _QUERY.sub(rf"\1{MASK}", _PASSWORD.sub(rf"\g<before>{MASK}", text))


def masked(value: object, key: str = "") -> object:
    """`value` with every secret in it masked, however deep it is."""
    if isinstance(value, str):
        return MASK if value and _SECRET_KEY.search(key) else masked_text(value)
    if isinstance(value, dict):
        return {name: masked(below, str(name)) for name, below in value.items()}
    if isinstance(value, list | tuple):
        return [masked(below, key) for below in value]
    return value


def masked_problem(problem: SettingProblem) -> SettingProblem:
    """`problem` with the secrets masked that a wrong key or value may hold: an address where a file's name belongs."""
    return replace(
        problem, key=masked_text(problem.key), text=masked_text(problem.text), where=masked_text(problem.where)
    )
