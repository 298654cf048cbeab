"""Names of nodes and the paths made from them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from amqtask.errors import SettingsError

RANGE_PREFIX = "amqtask"  # `multi start 3` names its nodes amqtask1, amqtask2, amqtask3
MAX_COUNT = 1000  # a larger count is a slip of the keyboard
_SIGN = re.compile(r"%(.?)")
# What ends up in file names, process titles and on the wire.
_SHORT = re.compile(r"[\w][\w.+-]*")
_HOST = re.compile(r"[\w][\w.:-]*")


@dataclass(frozen=True, slots=True)
class NodeName:
    """`short@host`, and the place it has on the command line, from 1."""

    short: str
    host: str
    position: int

    def __str__(self) -> str:
        return f"{self.short}@{self.host}"


def expand(pattern: str, values: Mapping[str, str], *, where: str) -> str:
    """`pattern` with `%x` replaced by `values["x"]` and `%%` by a percent sign.

    Raises SettingsError for a sign that `values` has not.
    """

    def replaced(match: re.Match[str]) -> str:
        sign = match.group(1)
        if sign == "%":
            return "%"
        if sign not in values:
            known = ", ".join(f"%{known}" for known in values)
            raise SettingsError(f"%{sign} in {pattern!r} means nothing here; there are {known} and %%", where=where)
        return values[sign]

    return _SIGN.sub(replaced, pattern)


def node_names(words: Sequence[str], *, host: str) -> tuple[NodeName, ...]:
    """The nodes that the words of a command line name: one count (`3`), or names (`w1 w2@%h w3@example.org`).

    In a name `%h` is the host with its domain, `%n` the host alone, `%d` the domain alone; `host` is what %h stands for
    and what a name without `@` gets. Raises SettingsError for no name, a bad one, and one that is given twice.
    """
    if not words:
        raise SettingsError("name the nodes (w1 w2 ...) or say how many (3)")
    if len(words) == 1 and words[0].isascii() and words[0].isdigit():
        count = int(words[0])
        if not 1 <= count <= MAX_COUNT:
            raise SettingsError(f"{words[0]} nodes: the count is 1 to {MAX_COUNT}")
        words = [f"{RANGE_PREFIX}{number}" for number in range(1, count + 1)]
    names = tuple(node_name(word, host=host, position=position) for position, word in enumerate(words, 1))
    seen: dict[str, NodeName] = {}
    for name in names:
        if str(name) in seen:
            raise SettingsError(f"node {name} is named twice")
        seen[str(name)] = name
    return names


def node_name(word: str, *, host: str, position: int = 1) -> NodeName:
    """One node's name as it was written, with `%h`, `%n` and `%d` as in `node_names`. Raises SettingsError."""
    alone, _, domain = host.partition(".")
    where = f"node {word!r}"
    short, at, given = word.partition("@")
    values = {"h": host, "n": alone, "d": domain}
    short = expand(short, values, where=where)
    given = expand(given, values, where=where) if at else host
    if not _SHORT.fullmatch(short):
        raise SettingsError(
            "the name before @ begins with a letter, digit or _, and has only those and . + - in it", where=where
        )
    if not _HOST.fullmatch(given):
        raise SettingsError("behind @ comes a host name", where=where)
    return NodeName(short, given, position)


def path_values(name: NodeName) -> dict[str, str]:
    """What the signs in a node's pid and log paths stand for.

    %n is the node's name before the @, %h its host, %d the host's domain. %i and %I are the index of an executor, plain
    and behind a dash: empty, as executors write no files of their own.
    """
    return {"n": name.short, "h": name.host, "d": name.host.partition(".")[2], "i": "", "I": ""}
