"""The only place that tells the broker how a delivery ended, and that publishes what follows from it. Loop-confined.

Order: what follows is published and confirmed, then the delivery is acknowledged. A crash between the two does the work
again; the other order would lose it. A delivery whose session is lost is an orphan: its execution goes on, publishes
nothing, and is settled when the broker delivers the same execution again, here. If it goes to another node, it runs
there a second time, and what is kept here is dropped.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from amqtask.clock import Clock
from amqtask.consume.dead_letter import Death, dead_letter
from amqtask.consume.delivery import ACKED, ORPHAN, Delivery
from amqtask.errors import AmqtaskError, MalformedMessage, Unroutable
from amqtask.execute.outcome import Kind, Outcome, Settlement, settle
from amqtask.wire.content import correlation_id_of, decode_properties
from amqtask.wire.message import Encoded

log = structlog.get_logger("amqtask.node")

MAX_ORPHANS = 10_000
RETRY_S = 2.0  # before a dead letter that could not be published is tried again

Key = tuple[str, str, object]  # queue, id, retries: the same execution, not only the same task


class Publishes(Protocol):
    """The node's way to publish: calls back once with None when confirmed, else with the error."""

    def __call__(
        self, encoded: Encoded, exchange: str, routing_key: str, done: Callable[[AmqtaskError | None], None], /
    ) -> None: ...


class Waits(Protocol):
    """The part of the loop that this needs."""

    def call_later(self, seconds: float, fn: Callable[[], None]) -> object:
        """Call back once, later."""


class Settler:
    """Settles deliveries. `pending` counts those whose dead letter is not confirmed yet."""

    def __init__(
        self,
        *,
        node: str,
        loop: Waits,
        publish: Publishes,
        dead_letters: Mapping[str, str],
        max_crashes: int,
        clock: Clock,
    ) -> None:
        self.pending = 0
        self.succeeded = 0
        self.failed = 0
        self._node = node
        self._loop = loop
        self._publish = publish
        self._dead_letters = dead_letters
        self._max_crashes = max_crashes
        self._clock = clock
        self._orphans: OrderedDict[Key, Delivery] = OrderedDict()

    # -- what a pool reports ---------------------------------------------------------------------------------------

    def done(self, delivery: Delivery) -> None:
        """It succeeded and has nothing to publish."""
        self.succeeded += 1
        if not delivery.source.ack(delivery) and delivery.generation == ORPHAN:
            delivery.stored = Outcome(Kind.IGNORED, "succeeded")

    def ended(self, delivery: Delivery, outcome: Outcome) -> None:
        """It ended in any other way."""
        if delivery.generation == ORPHAN:
            delivery.stored = outcome
            return
        settlement = settle(outcome)
        if outcome.kind is not Kind.IGNORED:
            self.failed += 1
            log.warning(
                f"task.{outcome.kind.value}",
                task=outcome.task,
                task_id=correlation_id_of(delivery.properties),
                queue=delivery.queue,
                reason=outcome.reason,
                error=outcome.error,
                attempt=_attempt(delivery, outcome),
            )
        match settlement:
            case Settlement.ACK:
                self._finish(delivery)
            case Settlement.REQUEUE:
                if delivery.generation == ACKED or not delivery.source.give_back(delivery):
                    self._orphaned(delivery, outcome)
            case Settlement.DEAD_LETTER:
                self._bury(delivery, outcome)

    def crashed(self, delivery: Delivery, how: str) -> bool:
        """Its executor died under it. True: it needs nothing more from the pool; False: run it again."""
        if delivery.generation == ORPHAN:
            self._drop(delivery)  # it has gone back to its queue with the session that was lost
            return True
        task_id = correlation_id_of(delivery.properties)
        if delivery.generation == ACKED:
            self.failed += 1
            log.error("task.lost", task_id=task_id, queue=delivery.queue, how=how, why="acknowledged before it ran")
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
            delivery.generation = ACKED

    # -- sessions --------------------------------------------------------------------------------------------------

    def orphan(self, delivery: Delivery) -> None:
        """Its channel is gone while it runs, or while its dead letter is under way."""
        if delivery.generation == ACKED:
            return
        delivery.generation = ORPHAN
        key = _key(delivery)
        if key is None:
            return
        self._orphans[key] = delivery
        while len(self._orphans) > MAX_ORPHANS:
            _, oldest = self._orphans.popitem(last=False)
            log.warning("outcome.orphaned", task_id=correlation_id_of(oldest.properties), why="too many are kept")

    def adopts(self, delivery: Delivery) -> bool:
        """Whether this is an execution of ours that came back. It then has the new tag, and nothing is to be run."""
        if not delivery.redelivered or not self._orphans:
            return False
        key = _key(delivery)
        known = self._orphans.pop(key, None) if key is not None else None
        if known is None:
            return False
        known.generation, known.tag = delivery.generation, delivery.tag
        log.info("delivery.adopted", task_id=correlation_id_of(delivery.properties), queue=delivery.queue)
        stored, known.stored = known.stored, None
        if isinstance(stored, Outcome):
            self.ended(known, stored)
        return True

    # -- ends ------------------------------------------------------------------------------------------------------

    def _finish(self, delivery: Delivery) -> None:
        if not delivery.source.ack(delivery) and delivery.generation == ORPHAN:
            delivery.stored = Outcome(Kind.IGNORED, "settled")

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
        encoded = dead_letter(delivery.route, delivery.properties, delivery.body, death)
        self.pending += 1
        self._send(delivery, encoded, queue)

    def _send(self, delivery: Delivery, encoded: Encoded, queue: str) -> None:
        def answered(error: AmqtaskError | None) -> None:
            if error is None:
                self.pending -= 1
                self._finish(delivery)
                return
            # It stays unacknowledged: whatever happens to us, the broker still has it.
            event = "dead_letter.unroutable" if isinstance(error, Unroutable) else "dead_letter.failed"
            log.error(event, queue=queue, task_id=encoded.id, error=str(error), retry_in_s=RETRY_S)
            self._loop.call_later(RETRY_S, lambda: self._send(delivery, encoded, queue))

        self._publish(encoded, "", queue, answered)

    def _orphaned(self, delivery: Delivery, outcome: Outcome) -> None:
        log.info(
            "outcome.orphaned",
            task_id=correlation_id_of(delivery.properties),
            queue=delivery.queue,
            kind=outcome.kind.value,
        )

    def _drop(self, delivery: Delivery) -> None:
        key = _key(delivery)
        if key is not None and self._orphans.get(key) is delivery:
            del self._orphans[key]


def _key(delivery: Delivery) -> Key | None:
    """What makes two deliveries the same execution; None when that cannot be told.

    Headers are decoded here, which the data path never does: this runs for lost sessions and redelivered messages only.
    """
    try:
        properties, headers = decode_properties(delivery.properties)
    except MalformedMessage:
        return None
    task_id = properties.correlation_id or headers.get("id")
    return (delivery.queue, task_id, headers.get("retries")) if isinstance(task_id, str) else None


def _attempt(delivery: Delivery, outcome: Outcome) -> int:
    """Executions begun, the one that ended now among them; 0 when it never ran."""
    return delivery.crashes + (outcome.kind not in (Kind.REFUSED, Kind.CRASHED))
