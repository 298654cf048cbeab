"""Broker versions, as far as features depend on them: major and minor."""

from __future__ import annotations

import re

from amqtask.errors import SettingsError, TopologyUnsupported

Version = tuple[int, int]

OLDEST: Version = (3, 10)  # dead-lettering at least once, streams without a plugin, all four forms of x-match
_FORM = re.compile(r"\s*(\d+)\.(\d+)")


def parse_version(text: str) -> Version:
    """The version that a setting or a broker's `server_properties` gives: `3.10.8` is (3, 10).

    Raises SettingsError for what is no version, TopologyUnsupported for a broker older than 3.10.
    """
    match = _FORM.match(text)
    if match is None:
        raise SettingsError(f"{text!r} is no RabbitMQ version; write it as 3.13 or 4.0.5", where="broker.version")
    version = (int(match[1]), int(match[2]))
    if version < OLDEST:
        raise TopologyUnsupported(
            f"RabbitMQ {show_version(version)} is older than {show_version(OLDEST)}, the oldest that amqtask works with"
        )
    return version


def show_version(version: Version) -> str:
    """`3.10` from (3, 10)."""
    return f"{version[0]}.{version[1]}"
