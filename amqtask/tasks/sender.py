"""What a task needs from its app: somebody who sends a signature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from amqtask.tasks.handle import AsyncResult
    from amqtask.tasks.signature import Signature


class Sender(Protocol):
    """Sends planned calls; an App is one."""

    @property
    def main(self) -> str | None:
        """The name that it gives to tasks defined in `__main__`."""

    def send(self, call: Signature) -> AsyncResult[object]:
        """Send one call; returns when the broker has it.

        Raises TaskError before anything is sent when the call is wrong, TopologyError when its destination is not
        declared, PublishError or BrokerError when it was not accepted.
        """

    async def asend(self, call: Signature) -> AsyncResult[object]:
        """The same, awaited instead of waited for."""
