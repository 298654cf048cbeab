"""One confirm channel: writes messages, counts their delivery tags, and tells which of them the broker has answered.

Loop-confined, and thrown away with its channel. RabbitMQ numbers the publishes of a channel from 1 in the order in
which they were written; it acks in any order and several at once. It hands a message back (basic.return) before it acks
it, and the returns of a channel come in the order of its publishes.
"""

from __future__ import annotations

from collections.abc import Callable

from amqtask.errors import AmqtaskError, MessageTooLarge, TaskError
from amqtask.publish import verdict
from amqtask.publish.entry import Entry
from amqtask.transport.lean import NullSink
from amqtask.transport.session import Channel, Session
from amqtask.wire import frames

WINDOW = 4096  # messages in flight: more brings no speed, and all of them are in doubt if the link dies
WINDOW_BYTES = 16 * 1024 * 1024

Settle = Callable[[Entry, AmqtaskError | None], None]


class Lane(NullSink):
    """The messages in flight on one channel. `settle(entry, error)` ends one, `progressed()` says there is room."""

    __slots__ = (
        "_bytes",
        "_exclusive",
        "_next_tag",
        "_oldest",
        "_progressed",
        "_return_from",
        "_settle",
        "_unanswered",
        "alive",
        "channel",
        "confirmed_exchanges",
        "session",
    )

    def __init__(self, session: Session, channel: Channel, *, settle: Settle, progressed: Callable[[], None]) -> None:
        self.session = session
        self.channel = channel
        self.alive = True
        self.confirmed_exchanges: set[str] = set()
        self._settle = settle
        self._progressed = progressed
        self._unanswered: dict[int, Entry] = {}
        self._bytes = 0
        self._exclusive = False  # what was written last wants to be alone
        self._next_tag = 1
        self._oldest = 1  # no tag below is unanswered
        self._return_from = 1  # returns come in order, so the next one is for this tag or a later one

    def __len__(self) -> int:
        """Messages that the broker has not answered; those that have passed their deadline among them."""
        return len(self._unanswered)

    def has_room(self, entry: Entry) -> bool:
        """Whether `entry` may be written now. One that is larger than the window may, when nothing else is."""
        count = len(self._unanswered)
        if not count:
            return True
        if entry.alone or self._exclusive:
            return False
        return count < WINDOW and self._bytes + entry.size <= WINDOW_BYTES

    def write(self, entry: Entry) -> None:
        """Queue its frames. What cannot be framed is settled with the reason."""
        message = entry.message
        try:
            data = frames.publish(
                self.channel.number,
                entry.exchange,
                entry.routing_key,
                mandatory=True,
                properties=message.properties,
                body=message.body,
                frame_max=self.session.frame_max,
            )
        except (MessageTooLarge, TaskError) as error:
            self._settle(entry, error)
            return
        self.session.send(data)
        tag = self._next_tag
        self._next_tag = tag + 1
        self._unanswered[tag] = entry
        self._bytes += entry.size
        self._exclusive = entry.alone
        entry.tag = tag

    def unanswered(self) -> list[Entry]:
        """What is in flight, in the order of writing."""
        return [self._unanswered[tag] for tag in sorted(self._unanswered)]

    def end(self) -> list[Entry]:
        """The channel is gone: what was in flight and not settled, in the order of writing. For the last time."""
        self.alive = False
        left = [entry for entry in self.unanswered() if not entry.settled]
        self._unanswered.clear()
        for entry in left:
            entry.tag = 0
        return left

    def on_ack(self, tag: int, multiple: bool) -> None:
        """basic.ack: taken, or, when it was returned before, not."""
        for entry in self._answered(tag, multiple):
            if entry.returned:
                self._settle(entry, verdict.unroutable(entry))
            else:
                self.confirmed_exchanges.add(entry.exchange)
                self._settle(entry, None)
        self._progressed()

    def on_nack(self, tag: int, multiple: bool, requeue: bool) -> None:
        """basic.nack: refused by a queue."""
        for entry in self._answered(tag, multiple):
            self._settle(entry, verdict.refused(entry))
        self._progressed()

    def on_return(self, code: int, text: str, route: bytes, properties: bytes, body: bytes) -> None:
        """basic.return: remember it; the ack that follows ends it."""
        entry = self._find_returned(route, properties, body)
        if entry is not None:
            entry.returned = f"{code} {text}"

    def _answered(self, tag: int, multiple: bool) -> list[Entry]:
        pop = self._unanswered.pop
        if multiple:
            found = [pop(number, None) for number in range(self._oldest, tag + 1)]
            self._oldest = max(self._oldest, tag + 1)
            entries = [entry for entry in found if entry is not None]
        else:
            entry = pop(tag, None)
            entries = [] if entry is None else [entry]
            if tag == self._oldest:
                self._oldest = tag + 1
        for entry in entries:
            self._bytes -= entry.size
            entry.tag = 0
        return [entry for entry in entries if not entry.settled]

    def _find_returned(self, route: bytes, properties: bytes, body: bytes) -> Entry | None:
        """The message that came back: the first in flight that is it byte for byte; failing that, by route and body.

        A broker may write properties anew, never the body or the route.
        """
        start = max(self._oldest, self._return_from)
        likely: int | None = None
        for tag in range(start, self._next_tag):
            entry = self._unanswered.get(tag)
            if entry is None or entry.returned:
                continue
            if entry.settled:  # past its deadline, its content gone: nobody asks any more
                likely = likely or (tag if _route(entry) == route else None)
                continue
            if entry.message.body == body and _route(entry) == route:
                if entry.message.properties == properties:
                    self._return_from = tag + 1
                    return entry
                likely = likely or tag
        if likely is None:
            return None
        self._return_from = likely + 1
        return self._unanswered[likely]


def _route(entry: Entry) -> bytes:
    exchange, key = entry.exchange.encode(), entry.routing_key.encode()
    return b"%c%b%c%b" % (len(exchange), exchange, len(key), key)
