"""One queue's consumer: its channel, its prefetch, its deliveries and their settlement. Loop-confined.

Each queue has a channel of its own, so that one queue's error closes nothing else and tags run without gaps. All that
belongs to a channel is thrown away with it; the deliveries that it brought stay with the node, their tags dead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import structlog

from amqtask.clock import Clock
from amqtask.consume.acks import AckBatch
from amqtask.consume.credit import Steps
from amqtask.consume.delivery import Delivery
from amqtask.errors import AmqtaskError, ConnectionLost
from amqtask.transport.lean import NullSink

if TYPE_CHECKING:
    from amqtask.transport.session import Channel, Session

log = structlog.get_logger("amqtask.consume")


class Takes(Protocol):
    """Who gets the deliveries."""

    def delivered(self, delivery: Delivery) -> None:
        """One arrived."""


class QueueConsumer(NullSink):
    """Consumes one queue on one session after the other.

    `prefetch()` says what is wanted, `steps` when to follow it. `steady`: never changed nor paused, because a consumer
    that is begun anew goes to the end of the line (single active consumer).
    `paused` means: no consumer at the broker, by our own will, until `resume`. `changing` while a cancel, qos and
    consume are under way; what is asked meanwhile is done afterwards.
    """

    def __init__(
        self,
        queue: str,
        index: int,
        *,
        taker: Takes,
        prefetch: Callable[[], int],
        steps: Steps,
        clock: Clock,
        steady: bool = False,
        on_up: Callable[[QueueConsumer], None],
        on_down: Callable[[QueueConsumer, AmqtaskError], None],
    ) -> None:
        self.queue = queue
        self.index = index
        self.generation = 0
        self.unsettled = 0
        self.carried = 0  # of those: brought by earlier consumers, so not counted by the broker against this one
        self.prefetch = 0
        self.consuming = False
        self.paused = False
        self.steady = steady
        self.served = 0  # the number of the last hand-over from this queue: they rise, so the lowest has waited longest
        self._taker = taker
        self._wanted_prefetch = prefetch
        self._steps = steps
        self._clock = clock
        self._on_up = on_up
        self._on_down = on_down
        self._session: Session | None = None
        self._channel: Channel | None = None
        self._acks: AckBatch | None = None
        self._tag = ""
        self._serial = 0
        self._last_delivery = 0
        self._boundary = 0
        self._batch = 1
        self._changing = False
        self._opening = False
        self._stopped = False

    # -- sessions --------------------------------------------------------------------------------------------------

    def open(self, session: Session) -> None:
        """Consume on `session`, which has just come up."""
        self._session = session
        self.reopen()

    def forget(self) -> None:
        """The session is gone, and with it the channel, the tags and what was being changed."""
        self._session = None
        self._opening = False
        self._lose_channel()

    def reopen(self) -> None:
        """Try a channel on the session, after the broker closed the last one or cancelled the consumer.

        Does nothing when there is one or one is under way: with two, acknowledgements would go to the wrong one.
        """
        session = self._session
        if session is None or not session.is_open or self._channel is not None or self._opening or self._stopped:
            return
        self._opening = True
        session.open_channel(self._opened, self._closed)

    def _opened(self, channel: Channel) -> None:
        if channel.session is not self._session:
            return
        self._opening = False
        self._channel = channel
        self.generation += 1
        self._acks = AckBatch(channel.number, channel.session.send)
        channel.sink = self
        channel.pika.add_on_cancel_callback(lambda _frame: self._cancelled_by_broker(channel))
        self._consume_if_wanted()

    def _closed(self, channel: Channel, error: AmqtaskError) -> None:
        if channel is not self._channel:
            return
        self._lose_channel()
        self._on_down(self, error)

    def _lose_channel(self) -> None:
        self._channel = None
        self._acks = None
        self.unsettled = self.carried = self._last_delivery = self._boundary = 0
        self.consuming = False
        self._changing = False
        self._tag = ""

    def _cancelled_by_broker(self, channel: Channel) -> None:
        # The queue was deleted, or its node went away. If it still exists, it gets back what is not settled.
        if channel is not self._channel:
            return
        self.flush()
        self._lose_channel()
        channel.close()
        self._on_down(self, ConnectionLost(f"the broker cancelled the consumer of {self.queue!r}: is the queue gone?"))

    # -- consuming -------------------------------------------------------------------------------------------------

    def adjust(self) -> None:
        """Change the prefetch to what is wanted now, if that is due. To be called every 50 ms or so."""
        if not self.consuming or self._changing or self.paused or self._stopped or self.steady:
            return
        if self._steps.due(self.prefetch, self._wanted_prefetch(), self._clock.monotonic()):
            # A changed basic.qos holds for later consumers only, so a running one is cancelled and begun anew.
            self._cancel()

    def pause(self) -> None:
        """Take no more deliveries until `resume`. What arrives before the broker has heard of it is given back."""
        if not self.paused:
            self.paused = True
            if self.consuming and not self._changing:
                self._cancel()

    def resume(self) -> None:
        """Take deliveries again."""
        if self.paused:
            self.paused = False
            self._consume_if_wanted()

    def stop(self) -> None:
        """Take no more deliveries, for good."""
        self._stopped = True
        if self.consuming and not self._changing:
            self._cancel()

    def _consume_if_wanted(self) -> None:
        if self._channel is not None and not (self.paused or self._stopped or self.consuming or self._changing):
            self._consume()

    def _consume(self) -> None:
        channel = self._channel
        if channel is None:
            return
        self._changing = True
        self._serial += 1
        tag = f"amqtask.{self.generation}.{self._serial}"
        self.carried, self._boundary = self.unsettled, self._last_delivery
        wanted = max(1, self._wanted_prefetch())
        self._steps.taken(self.prefetch, wanted, self._clock.monotonic())
        self._batch = self._steps.ack_batch(wanted)
        self.prefetch = wanted
        self._tag = tag

        def consuming(_frame: object) -> None:
            if self._channel is not channel or self._tag != tag:
                return
            self._changing = False
            self.consuming = True
            self._on_up(self)
            if self.paused or self._stopped:
                self._cancel()

        channel.pika.basic_qos(prefetch_count=wanted)
        channel.pika.basic_consume(self.queue, _taken_by_the_sink, consumer_tag=tag, callback=consuming)

    def _cancel(self) -> None:
        """End the consumer; once the broker has said so, begin the next one if one is wanted by then."""
        channel = self._channel
        if channel is None:
            return
        self._changing = True

        def cancelled(_frame: object) -> None:
            if self._channel is not channel:
                return
            self._changing = False
            self.consuming = False
            self._tag = ""
            self._consume_if_wanted()

        channel.pika.basic_cancel(self._tag, callback=cancelled)

    # -- the sink: called by the transport for this channel's content ----------------------------------------------

    def on_delivery(
        self, consumer_tag: bytes, tag: int, redelivered: bool, route: bytes, properties: bytes, body: bytes
    ) -> None:
        """A delivery arrived."""
        if self._acks is None:
            return  # on a channel that is given up
        self.unsettled += 1
        self._last_delivery = tag
        self._acks.delivered(tag)
        delivery = Delivery(self, self.generation, tag, redelivered, route, properties, body)
        if self.paused or self._stopped:
            self.give_back(delivery)
        else:
            self._taker.delivered(delivery)

    # -- settling --------------------------------------------------------------------------------------------------

    def ack(self, delivery: Delivery) -> bool:
        """Acknowledge with the next flush. False when the delivery's tag is dead."""
        if delivery.generation != self.generation or self._acks is None:
            return False
        self._settled(delivery.tag)
        self._acks.ack(delivery.tag)
        return True

    def give_back(self, delivery: Delivery) -> bool:
        """Put it back into its queue. False when its tag is dead: the broker has it back already."""
        if delivery.generation != self.generation or self._acks is None:
            return False
        self._settled(delivery.tag)
        self._acks.nack(delivery.tag)
        return True

    def _settled(self, tag: int) -> None:
        self.unsettled -= 1
        if tag <= self._boundary:
            self.carried -= 1

    def flush_batch(self) -> bool:
        """Write the pending acknowledgements if they fill a batch; the node calls this once per turn of the loop.

        True: some are left, for a `flush` within ACK_DELAY_S. The broker pays for each frame, and what is acknowledged
        a little later costs nobody anything while there is enough unacknowledged room left.
        """
        acks = self._acks
        if acks is None or not acks:
            return False
        waiting = len(acks)
        if waiting < self._batch:
            return True
        acks.flush(beyond_gaps=self._batch == 1 or waiting >= 4 * self._batch)
        return bool(acks)

    def flush(self) -> None:
        """Write all pending acknowledgements."""
        if self._acks is not None:
            self._acks.flush()


def _taken_by_the_sink(*_: object) -> None:
    """pika wants a callback per consumer; deliveries never reach it, the lean path takes them to the sink."""
