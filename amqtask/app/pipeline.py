"""Bulk sends of planned calls: the broker's answers are awaited together, and each failure is named by its position."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from amqtask.app.planner import Planned
from amqtask.errors import AmqtaskError, BatchFailed
from amqtask.tasks.handle import AsyncResult
from amqtask.tasks.signature import Signature

if TYPE_CHECKING:
    from amqtask.publish.pipeline import Pipeline as MessagePipeline


class Pipeline:
    """Sends without waiting, and waits for all of it at the end of the `with` block. For one thread.

        with app.pipeline() as p:
            for path in paths:
                p.send(index.s(path))

    Leaving the block raises BatchFailed when some were not accepted: its `failures` maps their position, counted from
    0, to the error of each. When the block itself raises, that comes through, and what was sent before stays sent.
    """

    def __init__(self, plan: Callable[[Signature], Planned], messages: MessagePipeline) -> None:
        self._plan = plan
        self._messages = messages
        self._positions: list[int] = []  # of each message among all calls
        self._failures: dict[int, AmqtaskError] = {}
        self._count = 0

    def send(self, call: Signature) -> AsyncResult[object]:
        """Send one call; waits only while too many are under way.

        Raises TaskError or TopologyError at once for a call that cannot be sent; it does not count.
        """
        planned = self._plan(call)
        self._positions.append(self._count)
        self._count += 1
        self._messages.send(
            planned.message,
            exchange=planned.route.exchange,
            routing_key=planned.route.routing_key,
            deadline_s=planned.deadline_s,
            retry=planned.retry,
            retry_policy=planned.retry_policy,
        )
        return AsyncResult(planned.message.id, call.task)

    def finish(self) -> None:
        """Wait for every answer. Raises BatchFailed, naming what was not accepted."""
        failures = self._failures
        try:
            self._messages.finish()
        except BatchFailed as failed:
            failures |= {self._positions[position]: error for position, error in failed.failures.items()}
        if failures:
            raise BatchFailed(dict(sorted(failures.items())), sent=self._count)

    def send_all(self, calls: Iterable[Signature]) -> list[AsyncResult[object]]:
        """Send every call and wait. One that cannot be sent is among the failures, and the others go on."""
        results: list[AsyncResult[object]] = []
        for call in calls:
            try:
                results.append(self.send(call))
            except AmqtaskError as error:
                self._failures[self._count] = error
                self._count += 1
        self.finish()
        return results

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
        else:
            self._messages.__exit__(kind, error, trace)
