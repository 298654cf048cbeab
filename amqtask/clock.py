"""The only place that reads a clock, so that tests can hand in another one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Clock:
    """Where services take their time from.

    `monotonic` gives seconds that never go back: durations and deadlines. `time` gives Unix seconds: what is shown or
    sent to others.
    """

    monotonic: Callable[[], float] = time.monotonic
    time: Callable[[], float] = time.time

    def now(self) -> datetime:
        """The moment, aware, in UTC."""
        return datetime.fromtimestamp(self.time(), UTC)


SYSTEM = Clock()
