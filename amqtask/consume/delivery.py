"""One received message and the tag it must be settled with. Loop-confined."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amqtask.consume.consumer import QueueConsumer

# Generations that no channel has: the first one is 1.
ORPHAN = 0  # the session it came by is lost, its tag is dead: the broker has it back
ACKED = -1  # acknowledged before it ran


class Delivery:
    """What came from the broker, undecoded, with all that its settlement needs.

    `generation` is that of the channel it came by, or ORPHAN, or ACKED. `stored` holds the end of an execution that
    outlived its session, until the same execution is delivered again.
    """

    __slots__ = (
        "body",
        "crashes",
        "generation",
        "handover",
        "properties",
        "redelivered",
        "route",
        "source",
        "stored",
        "tag",
    )

    def __init__(
        self,
        source: QueueConsumer,
        generation: int,
        tag: int,
        redelivered: bool,
        route: bytes,
        properties: bytes,
        body: bytes,
    ) -> None:
        self.source = source
        self.generation = generation
        self.tag = tag
        self.redelivered = redelivered
        self.route = route
        self.properties = properties
        self.body = body
        self.crashes = 0
        self.handover = 0  # the number of its last hand-over to an executor: they rise, so they give the order back
        self.stored: object = None

    @property
    def size_bytes(self) -> int:
        """Memory that its content takes."""
        return len(self.body) + len(self.properties) + len(self.route)

    @property
    def queue(self) -> str:
        """The queue it was consumed from."""
        return self.source.queue
