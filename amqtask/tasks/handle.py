"""AsyncResult: what a program gets back for a task that it sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from amqtask.errors import ResultError

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class AsyncResult(Generic[R_co]):
    """The id of a sent task and the task's name. Its text is the id, so it can be stored and compared as such."""

    id: str
    task: str | None = None

    @property
    def task_id(self) -> str:
        """Another spelling of `id`."""
        return self.id

    def __str__(self) -> str:
        return self.id

    def get(self, timeout: float | None = None) -> R_co:
        """The task's return value. This version stores no results: raises ResultError."""
        raise self._none_stored("get()")

    @property
    def state(self) -> str:
        """The task's state. This version stores no results: raises ResultError."""
        raise self._none_stored("state")

    def ready(self) -> bool:
        """Whether the task has ended. This version stores no results: raises ResultError."""
        raise self._none_stored("ready()")

    def _none_stored(self, what: str) -> ResultError:
        return ResultError(f"{what} of task {self.id}: this version of amqtask stores no results")
