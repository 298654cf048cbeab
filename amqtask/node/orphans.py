"""Executions whose session is lost, kept until the broker delivers the same execution again. Loop-confined.

An orphan runs, or has ended, under a delivery tag that is dead. It is known by its queue, id and retry count; two
messages with the same three are two orphans. What runs is bounded by the slots; what has ended is kept as its outcome
alone, for a time and in a number that are bounded.
"""

from __future__ import annotations

from collections import OrderedDict

import structlog

from amqtask.clock import Clock
from amqtask.consume.delivery import Delivery
from amqtask.errors import MalformedMessage
from amqtask.execute.outcome import Outcome
from amqtask.wire.content import correlation_id_of, decode_properties

log = structlog.get_logger("amqtask.node")

MAX_ENDED = 10_000
KEPT_S = 900.0  # a broker notices a dead link within two heartbeats; after that it is somebody else's, or was deleted

Key = tuple[str, str, object]  # queue, id, retries: the same execution, not only the same task


class Orphans:
    """Who runs or ended without a session."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys: dict[Delivery, Key] = {}
        self._by_key: dict[Key, list[Delivery]] = {}
        self._ended: OrderedDict[Delivery, float] = OrderedDict()  # and when

    def __len__(self) -> int:
        """Orphans that may still be adopted."""
        return len(self._keys)

    def add(self, delivery: Delivery) -> None:
        """Its session is lost. One whose headers cannot be read is not kept: nothing could recognise it."""
        key = None if delivery in self._keys else _key(delivery)
        if key is not None:
            self._keys[delivery] = key
            self._by_key.setdefault(key, []).append(delivery)

    def ended(self, delivery: Delivery, outcome: Outcome) -> None:
        """It has come to its end, which is kept."""
        if delivery not in self._keys:
            _tell(delivery, outcome, "it cannot be recognised")
            return
        delivery.stored = outcome
        delivery.body = b""  # the message that comes back has it, too
        self._ended[delivery] = self._clock.monotonic()
        if len(self._ended) > MAX_ENDED:
            self._expire(next(iter(self._ended)), "too many are kept")

    def take(self, again: Delivery) -> Delivery | None:
        """The orphan that `again` is a redelivery of, the oldest if there are several; it is one no more."""
        key = _key(again)
        found = self._by_key.get(key) if key is not None else None
        if not found:
            return None
        known = found[0]
        self.drop(known)
        return known

    def drop(self, delivery: Delivery) -> None:
        """Forget one."""
        key = self._keys.pop(delivery, None)
        if key is not None:
            same = self._by_key[key]
            same.remove(delivery)
            if not same:
                del self._by_key[key]
            self._ended.pop(delivery, None)

    def sweep(self) -> None:
        """Forget those that ended long ago; to be called now and then."""
        until = self._clock.monotonic() - KEPT_S
        while self._ended:
            oldest, at = next(iter(self._ended.items()))
            if at > until:
                return
            self._expire(oldest, "it did not come back")

    def _expire(self, delivery: Delivery, why: str) -> None:
        self.drop(delivery)
        if isinstance(delivery.stored, Outcome):
            _tell(delivery, delivery.stored, why)


def _tell(delivery: Delivery, outcome: Outcome, why: str) -> None:
    log.info(
        "outcome.orphaned",
        task_id=correlation_id_of(delivery.properties),
        queue=delivery.queue,
        kind=outcome.kind.value,
        why=why,
    )


def _key(delivery: Delivery) -> Key | None:
    """What makes two deliveries the same execution; None when that cannot be told.

    Headers are decoded here, which the data path never does: this runs for lost sessions and redelivered messages only.
    """
    try:
        properties, headers = decode_properties(delivery.properties)
    except MalformedMessage:
        return None
    task_id = properties.correlation_id or headers.get("id")
    retries = headers.get("retries")
    if not isinstance(task_id, str) or not isinstance(retries, int | None):
        return None
    return delivery.queue, task_id, retries
