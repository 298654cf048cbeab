"""Shows how far something is: a bar on a terminal, a plain line every few seconds anywhere else."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

LINE_EVERY_S = 3.0
DRAW_EVERY_S = 0.1


class Progress:
    """`reach(n)` says that `n` of `total` are done. A context manager."""

    def __init__(self, label: str, total: int) -> None:
        self._label = label
        self._total = total
        self._reached = 0
        self._drawn = 0
        self._bar: ProgressBar[int] | None = None
        if sys.stdout.isatty():
            self._bar = click.progressbar(length=total, label=f"{label:<9}", show_pos=True, width=30)
        self._every_s = LINE_EVERY_S if self._bar is None else DRAW_EVERY_S
        self._next = time.monotonic() + self._every_s

    def reach(self, count: int) -> None:
        """`count` are done by now."""
        self._reached = count
        if time.monotonic() >= self._next:
            self._show()

    def _show(self) -> None:
        self._next = time.monotonic() + self._every_s
        if self._bar is None:
            click.echo(f"{self._label}: {self._reached:,} of {self._total:,}")
        else:
            self._bar.update(self._reached - self._drawn)
            self._drawn = self._reached

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show()
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)
