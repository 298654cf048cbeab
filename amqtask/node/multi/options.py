"""Reads the words of `amqtask multi ACTION`: node names, options for all nodes, options for some (`-c:1-3 4`). Pure.

Options stand in any place. `-opt:nodes value` and `--option:nodes=value` hold for some nodes only; `nodes` is a list of
names (`w1`), places in the list of nodes (`2`, from 1) and ranges of places (`1-3`). For one node the option given for
it wins over the one given for all, and of two for it the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from amqtask.errors import SettingsError, nearest
from amqtask.pool.names import NodeName


@dataclass(frozen=True, slots=True)
class Option:
    """An option that may be given: its name, how it is written, whether a value follows, and whether it is multi's own.

    An option that is `own` cannot be given for single nodes. `refused` says why it cannot be given at all.
    """

    name: str
    spellings: tuple[str, ...]
    takes_value: bool = True
    own: bool = False
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """One option as it was written: for all nodes when `nodes` is None. `value` None: a flag."""

    option: Option
    value: str | None
    nodes: str | None
    written: str


@dataclass(frozen=True, slots=True)
class Words:
    """A command line, read."""

    names: tuple[str, ...]
    given: tuple[Given, ...]
    own: Mapping[str, str | None] = field(default_factory=dict)


class Reader:
    """Knows the options that there are."""

    def __init__(self, options: Iterable[Option]) -> None:
        self._by_spelling = {spelling: option for option in options for spelling in option.spellings}

    def read(self, words: Sequence[str]) -> Words:
        """Tell names from options. Raises SettingsError for an unknown option and for a value that is missing."""
        names: list[str] = []
        given: list[Given] = []
        own: dict[str, str | None] = {}
        rest = list(reversed(words))
        while rest:
            word = rest.pop()
            if word == "--":
                raise SettingsError("says nothing here: options and names may stand in any order", where="--")
            if not word.startswith("-") or word == "-":
                names.append(word)
                continue
            one = self._option(word, rest)
            if one.option.own:
                own[one.option.name] = one.value
            else:
                given.append(one)
        return Words(tuple(names), tuple(given), own)

    def _option(self, word: str, rest: list[str]) -> Given:
        """The option that begins with `word`; takes its value from `rest` when it stands apart."""
        option, spelling, nodes, value = self._split(word)
        written = spelling if nodes is None else f"{spelling}:{nodes}"
        if option.refused is not None:
            raise SettingsError(option.refused, where=written)
        if nodes == "":
            raise SettingsError("behind the colon come names or places of nodes", where=written)
        if nodes is not None and option.own:
            raise SettingsError("is an option of multi itself, not of single nodes", where=written)
        if not option.takes_value:
            if value is not None:
                raise SettingsError(f"takes no value, and {value!r} is one", where=written)
        elif value is None:
            value = self._value(rest, written)
        if option.name == "queues" and value is not None and value.rstrip().endswith(","):
            # A shell cuts `-Q a, b` in two, and `b` would become a node.
            raise SettingsError(f"{value!r} ends in a comma: write the list without blanks", where=written)
        return Given(option, value, nodes, written)

    def _value(self, rest: list[str], written: str) -> str:
        if not rest:
            raise SettingsError("needs a value", where=written)
        value = rest.pop()
        if value.startswith("-") and self._known(value):
            raise SettingsError(f"needs a value, and {value!r} is the next option", where=written)
        return value

    def _known(self, word: str) -> bool:
        try:
            self._split(word)
        except SettingsError:
            return False
        return True

    def _split(self, word: str) -> tuple[Option, str, str | None, str | None]:
        """Option, spelling, nodes and glued value of one word: `-c`, `-c4`, `-c:1-3`, `--queues:w1=a,b`."""
        if word.startswith("--"):
            head, equals, tail = word.partition("=")
            spelling, colon, nodes = head.partition(":")
            value = tail if equals else None
        else:
            spelling, behind = word[:2], word[2:]
            colon = behind[:1] if behind[:1] == ":" else ""
            nodes, equals, tail = behind[1:].partition("=") if colon else ("", "", behind)
            value = tail if equals or (tail and not colon) else None
        option = self._by_spelling.get(spelling)
        if option is None:
            near = nearest(spelling, self._by_spelling)
            hint = f"; did you mean {near!r}?" if near else ""
            raise SettingsError(f"there is no option {spelling!r}{hint}", where=word if word != spelling else None)
        return option, spelling, nodes if colon else None, value


def chosen_for(names: Sequence[NodeName], given: Sequence[Given]) -> list[dict[str, Given]]:
    """For each node the options that hold for it, by their names.

    Raises SettingsError, naming the option, when one is for a node that there is not.
    """
    chosen: list[dict[str, Given]] = [{} for _ in names]
    for one in given:
        if one.nodes is None:
            for options in chosen:
                options[one.option.name] = one
    for one in given:
        if one.nodes is not None:
            for index in select(one.nodes, names, where=one.written):
                chosen[index][one.option.name] = one
    return chosen


def select(text: str, names: Sequence[NodeName], *, where: str) -> list[int]:
    """The indices, from 0, of the nodes that `w1,3,5-7` means. Raises SettingsError for what means none."""
    found: list[int] = []
    for part in text.split(","):
        found += _select_one(part.strip(), names, where)
    return list(dict.fromkeys(found))


def _select_one(part: str, names: Sequence[NodeName], where: str) -> list[int]:
    # Before places and ranges: a name may be `7` or `2-3`.
    named = [index for index, name in enumerate(names) if part in (name.short, str(name))]
    if named:
        if part.isdigit() and int(part) - 1 not in named and int(part) <= len(names):
            raise SettingsError(
                f"{part!r} is the name of one node and the place of another; write the name with its host", where=where
            )
        return named
    first, dash, last = part.partition("-")
    if _is_place(first) and (_is_place(last) if dash else True):
        begin, end = int(first), int(last) if dash else int(first)
        if not 1 <= begin <= end <= len(names):
            there_are = f"there are {len(names)}" if len(names) > 1 else "there is 1"
            raise SettingsError(f"{part!r} are not places of nodes; {there_are}, counted from 1", where=where)
        return list(range(begin - 1, end))
    known = [name.short for name in names]
    near = nearest(part, known)
    hint = f"; did you mean {near!r}?" if near else f" (nodes: {', '.join(known[:10])})"
    raise SettingsError(f"no node is called {part!r}{hint}", where=where)


def _is_place(text: str) -> bool:
    return text.isascii() and text.isdigit()
