"""Turns figures into rows, verdicts and one table (pure): medians of runs, ratios paired run by run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Figures = Mapping[str, Sequence[float | None]]


def median(values: Sequence[float | None]) -> float | None:
    """The median of the runs that gave a figure; None when none did."""
    taken = [value for value in values if value is not None]
    return statistics.median(taken) if taken else None


def paired(over: Sequence[float | None], under: Sequence[float | None]) -> list[float | None]:
    """The ratio of each run's two figures: both were taken within the same minute, so the machine's moods cancel."""
    return [None if a is None or not b else a / b for a, b in zip(over, under, strict=False)]


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure is held to: `values` (one a run, their median counts) at least or at most `limit`."""

    what: str
    values: Sequence[float | None]
    limit: float
    at_least: bool = True
    unit: str = "x"

    @property
    def value(self) -> float | None:
        """The median; None when nothing could be measured."""
        return median(self.values)

    @property
    def met(self) -> bool:
        """Whether the median keeps the limit. Not measured is not met."""
        value = self.value
        if value is None:
            return False
        return value >= self.limit if self.at_least else value <= self.limit

    def text(self) -> str:
        """`12.3x Celery (at least 8x: met)`."""
        value, bound = self.value, "at least" if self.at_least else "at most"
        shown = "not measured" if value is None else f"{number(value)}{self.unit}"
        return f"{shown} {self.what} ({bound} {number(self.limit)}{self.unit}: {'met' if self.met else 'MISSED'})"


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: what each contender did, in `unit`, and what is asked of ours."""

    name: str
    unit: str
    figures: Figures
    targets: Sequence[Target] = ()
    notes: Sequence[str] = field(default=())
    settings: Mapping[str, str] = field(default_factory=dict)  # that ours ran with, where it matters

    @property
    def met(self) -> bool:
        """Whether every target of the row is met."""
        return all(target.met for target in self.targets)

    def as_json(self) -> dict[str, object]:
        """Everything, for a file that a program reads."""
        return {
            "name": self.name,
            "unit": self.unit,
            "runs": {who: list(values) for who, values in self.figures.items()},
            "median": {who: median(values) for who, values in self.figures.items()},
            "targets": [
                {
                    "what": target.what,
                    "values": list(target.values),
                    "value": target.value,
                    "limit": target.limit,
                    "at_least": target.at_least,
                    "met": target.met,
                }
                for target in self.targets
            ],
            "notes": list(self.notes),
            "settings": dict(self.settings),
        }


def number(value: float) -> str:
    """Three figures that mean something: 12,345; 123; 12.3; 1.23; 0.123."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def spread(values: Sequence[float | None]) -> str:
    """The median, with the lowest and the highest run behind it when there were several."""
    taken = [value for value in values if value is not None]
    if not taken:
        return "failed"
    middle = number(statistics.median(taken))
    return middle if len(taken) == 1 else f"{middle} ({number(min(taken))}-{number(max(taken))})"


def cells(rows: Sequence[Row], columns: Sequence[str]) -> list[list[str]]:
    """The table as text: a heading, then a line per row and one more for each further target of it."""
    table = [["measurement", *columns, "held to"]]
    for row in rows:
        figures = [spread(row.figures[who]) if who in row.figures else "" for who in columns]
        held = [target.text() for target in row.targets] or [""]
        table.append([f"{row.name}, {row.unit}", *figures, held[0]])
        table.extend([*[""] * (len(columns) + 1), more] for more in held[1:])
    return table


def columns_of(rows: Sequence[Row]) -> list[str]:
    """Every contender that has a figure anywhere, in the order of first appearance, the ceilings last."""
    seen = dict.fromkeys(who for row in rows for who in row.figures)
    last = [who for who in seen if who.startswith("ceiling")]
    return [who for who in seen if who not in last] + last


def settings_lines(rows: Sequence[Row]) -> list[str]:
    """Every setting once where all rows that name settings ran with the same value, else with each row's value."""
    told = [row for row in rows if row.settings]
    lines = []
    for key in dict.fromkeys(key for row in told for key in row.settings):
        values = [row.settings.get(key, "(none)") for row in told]
        if len(set(values)) == 1:
            lines.append(f"{key} = {values[0]}")
        else:
            lines.extend(f"{key} = {value}   # {row.name}" for row, value in zip(told, values, strict=True))
    return lines


def text(rows: Sequence[Row]) -> str:
    """The table for a terminal."""
    table = cells(rows, columns_of(rows))
    widths = [max(len(line[at]) for line in table) for at in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
    notes = [f"{row.name}: {note}" for row in rows for note in row.notes]
    settings = settings_lines(rows)
    heading = ["", "amqtask's settings:"] if settings else []
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], "", *notes, *heading, *settings]).rstrip()


def markdown(rows: Sequence[Row]) -> str:
    """The table for the documentation."""
    table = cells(rows, columns_of(rows))
    lines = ["| " + " | ".join(line) + " |" for line in table]
    rule = "|" + "|".join(["---"] * len(table[0])) + "|"
    notes = [f"- {row.name}: {note}" for row in rows for note in row.notes]
    settings = settings_lines(rows)
    block = ["", "amqtask ran with these settings:", "", "```text", *settings, "```"] if settings else []
    return "\n".join([lines[0], rule, *lines[1:], "", *notes, *block]).rstrip() + "\n"


BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"


def replace_between_marks(page: str, table: str) -> str:
    """Put a table between the two marks of a documentation page. ValueError when it has no marks."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} ... {END}")
    return f"{head}{BEGIN}\n{table}{END}{tail}"
