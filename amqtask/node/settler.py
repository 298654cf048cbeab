"""The only place that tells the broker how a delivery ended, and that publishes what follows from it. Loop-confined.

Order: what follows is published and confirmed, then the delivery is acknowledged. A crash between the two does the work
again; the other order would lose it. A delivery whose session is lost is an orphan: its execution goes on, publishes
nothing, and is settled when the broker delivers the same execution again, here. If it goes to another node, it runs
there a second time, and what is kept here is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from amqtask.clock import Clock
from amqtask.consume.consumer import QueueConsumer
from amqtask.consume.dead_letter import Death, dead_letter
from amqtask.consume.delivery import ACKED, ORPHAN, Delivery
from amqtask.errors import AmqtaskError, MessageTooLarge, Unroutable
from amqtask.execute.outcome import Kind, Outcome, Settlement, settle
from amqtask.node.orphans import Orphans
from amqtask.wire.content import correlation_id_of
from amqtask.wire.message import Encoded

log = structlog.get_logger("amqtask.node")

RETRY_S = 2.0  # before a dead letter that could not be published is tried again; doubled each time, up to the next
RETRY_MAX_S = 60.0
SWEEP_S = 60.0  # between two looks at orphans that ended long ago
SMALL_BYTES = 2_000  # properties that any frame takes: RabbitMQ's frames are at least 8,192 bytes

_EARLY = object()  # stored with an orphan that was to be acknowledged as it started


class Publishes(Protocol):
    """The node's way to publish: calls back once with None when confirmed, else with the error."""

    def __call__(
        self, encoded: Encoded, exchange: str, routing_key: str, done: Callable[[AmqtaskError | None], None], /
    ) -> None: ...


class Waits(Protocol):
    """The part of the loop that this needs."""

    def call_later(self, seconds: float, fn: Callable[[], None]) -> object:
        """Call back once, later."""


@dataclass(slots=True, eq=False)
class _Burial:
    """A dead letter under way, and the delivery that is acknowledged once it is confirmed."""

    delivery: Delivery
    death: Death
    letter: Encoded
    queue: str
    pause_s: float = RETRY_S


class Settler:
    """Settles deliveries. `on_missing` is called when a dead-letter queue turns out not to exist."""

    def __init__(
        self,
        *,
        node: str,
        loop: Waits,
        publish: Publishes,
        dead_letters: Mapping[str, str],
        max_crashes: int,
        clock: Clock,
        on_missing: Callable[[], None],
    ) -> None:
        self.succeeded = 0
        self.failed = 0
        self._node = node
        self._loop = loop
        self._publish = publish
        self._dead_letters = dead_letters
        self._max_crashes = max_crashes
        self._clock = clock
        self._on_missing = on_missing
        self._orphans = Orphans(clock)
        self._burials: dict[Delivery, _Burial] = {}
        self._sweeping = False

    @property
    def pending(self) -> int:
        """Deliveries whose dead letter is not confirmed yet."""
        return len(self._burials)

    # -- what a pool reports ---------------------------------------------------------------------------------------

    def done(self, delivery: Delivery) -> None:
        """It succeeded and has nothing to publish."""
        self.succeeded += 1
        if not delivery.source.ack(delivery) and delivery.generation == ORPHAN:
            self._orphans.ended(delivery, Outcome(Kind.IGNORED, "succeeded"))

    def ended(self, delivery: Delivery, outcome: Outcome) -> None:
        """It ended in any other way."""
        if delivery.generation == ORPHAN:
            self._orphans.ended(delivery, outcome)
            return
        task_id = correlation_id_of(delivery.properties)
        if outcome.kind is not Kind.IGNORED:
            self.failed += 1
            log.warning(
                f"task.{outcome.kind.value}",
                task=outcome.task,
                task_id=task_id,
                queue=delivery.queue,
                reason=outcome.reason,
                error=outcome.error,
                attempt=_attempt(delivery, outcome),
            )
        match settle(outcome):
            case Settlement.ACK:
                self._finish(delivery)
            case Settlement.REQUEUE:
                if not delivery.source.give_back(delivery):
                    log.warning("task.not_requeued", task_id=task_id, queue=delivery.queue)
            case Settlement.DEAD_LETTER:
                self._bury(delivery, outcome)

    def crashed(self, delivery: Delivery, how: str) -> bool:
        """Its executor died under it. True: it needs nothing more from the pool; False: run it again."""
        early = delivery.generation == ACKED or delivery.stored is _EARLY
        task_id = correlation_id_of(delivery.properties)
        if early:
            self.failed += 1
            log.error("task.lost", task_id=task_id, queue=delivery.queue, how=how, why="acknowledged before it ran")
        if delivery.generation == ORPHAN:
            if early:
                self._orphans.ended(delivery, Outcome(Kind.IGNORED, "lost"))
            else:
                self._orphans.drop(delivery)  # it has gone back to its queue with the session that was lost
            return True
        if early:
            return True
        delivery.crashes += 1
        log.warning(
            "task.crashed", task_id=task_id, queue=delivery.queue, how=how, crash=delivery.crashes, of=self._max_crashes
        )
        if delivery.crashes < self._max_crashes:
            return False
        error = f"the process that ran it died {delivery.crashes} times; the last time: {how}"
        self.ended(delivery, Outcome(Kind.CRASHED, "worker_lost", error))
        return True

    def started(self, delivery: Delivery) -> None:
        """It has started, and its task or pool acknowledges early."""
        if delivery.source.ack(delivery):
            delivery.source.flush()  # whatever waits for company: the sooner it is gone, the rarer it runs twice
            delivery.generation = ACKED
        else:
            delivery.stored = _EARLY

    # -- sessions --------------------------------------------------------------------------------------------------

    def orphan(self, delivery: Delivery) -> None:
        """Its channel is gone while it runs."""
        if delivery.generation == ACKED:
            return
        delivery.generation = ORPHAN
        self._orphans.add(delivery)
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(SWEEP_S, self._sweep)

    def lost(self, source: QueueConsumer | None) -> None:
        """The channel of `source` (None: of all) is gone: so are the tags of what has a dead letter under way."""
        for delivery in self._burials:
            if source is None or delivery.source is source:
                self.orphan(delivery)

    def adopts(self, delivery: Delivery) -> bool:
        """Whether this is an execution of ours that came back. It then has the new tag, and nothing is to be run."""
        if not delivery.redelivered or not self._orphans:
            return False
        known = self._orphans.take(delivery)
        if known is None:
            return False
        stored, known.stored = known.stored, None
        known.source, known.generation, known.tag = delivery.source, delivery.generation, delivery.tag
        known.body = delivery.body
        log.info("delivery.adopted", task_id=correlation_id_of(delivery.properties), queue=delivery.queue)
        if stored is _EARLY:
            self.started(known)
        elif isinstance(stored, Outcome):
            self.ended(known, stored)
        return True

    def _sweep(self) -> None:
        self._orphans.sweep()
        self._sweeping = bool(self._orphans)
        if self._sweeping:
            self._loop.call_later(SWEEP_S, self._sweep)

    # -- ends ------------------------------------------------------------------------------------------------------

    def _finish(self, delivery: Delivery) -> None:
        if not delivery.source.ack(delivery) and delivery.generation == ORPHAN:
            self._orphans.ended(delivery, Outcome(Kind.IGNORED, "settled"))

    def _bury(self, delivery: Delivery, outcome: Outcome) -> None:
        queue = self._dead_letters.get(delivery.queue)
        if queue is None:
            # Its user switched dead-lettering off, or a stream keeps the message anyway.
            self._finish(delivery)
            return
        death = Death(
            reason=outcome.reason,
            error=outcome.error,
            traceback=outcome.traceback,
            queue=delivery.queue,
            attempt=_attempt(delivery, outcome),
            node=self._node,
            at=self._clock.now(),
        )
        letter = dead_letter(delivery.route, delivery.properties, delivery.body, death)
        burial = self._burials[delivery] = _Burial(delivery, death, letter, queue)
        self._send(burial)

    def _send(self, burial: _Burial) -> None:
        if burial.delivery in self._burials:
            self._publish(burial.letter, "", burial.queue, lambda error: self._answered(burial, error))

    def _answered(self, burial: _Burial, error: AmqtaskError | None) -> None:
        delivery = burial.delivery
        if delivery not in self._burials:
            return  # given up meanwhile
        if error is None:
            del self._burials[delivery]
            self._finish(delivery)
            return
        # It stays unacknowledged: whatever happens to us, the broker still has it.
        pause_s, burial.pause_s = burial.pause_s, min(2 * burial.pause_s, RETRY_MAX_S)
        missing = isinstance(error, Unroutable)
        event = "dead_letter.unroutable" if missing else "dead_letter.failed"
        log.error(event, queue=burial.queue, task_id=burial.letter.id, error=str(error), retry_in_s=pause_s)
        if missing:
            self._on_missing()
        elif isinstance(error, MessageTooLarge):  # this broker's frames are smaller than most
            burial.letter = dead_letter(
                delivery.route, delivery.properties, delivery.body, burial.death, max_bytes=SMALL_BYTES
            )
        self._loop.call_later(pause_s, lambda: self._send(burial))

    def give_up(self) -> int:
        """Give back every delivery whose dead letter is not confirmed; returns how many. For a node that must end."""
        burials, self._burials = self._burials, {}
        for delivery in burials:
            delivery.source.give_back(delivery)
        return len(burials)


def _attempt(delivery: Delivery, outcome: Outcome) -> int:
    """Executions begun, the one that ended now among them; 0 when it never ran."""
    return delivery.crashes + (outcome.kind not in (Kind.REFUSED, Kind.CRASHED))
