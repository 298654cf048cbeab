"""How many messages and consumers queues have, asked of the broker itself: for where no management API answers.

Declares passively on one connection of its own, blocking. Needs no configure right before RabbitMQ 4.2.6. AMQP tells
ready messages and consumers; what is delivered and not acknowledged only the management API knows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from amqtask.errors import BrokerError, ChannelClosed, ConnectionLost
from amqtask.transport.loop import Loop
from amqtask.transport.session import Channel, Session
from amqtask.transport.url import BrokerAddress, parse_urls

if TYPE_CHECKING:
    from pika.frame import Method
    from pika.spec import Queue

    from amqtask.settings import Settings

NOT_FOUND = 404
DEADLINE_S = 10.0

Counts = dict[str, tuple[int, int] | None]  # queue: (ready messages, consumers), None where there is no such queue


def counts_by_amqp(settings: Settings, queues: Sequence[str]) -> Counts:
    """The counts of `queues`, from the first broker of `broker.url` that answers.

    Raises ConnectionLost, AccessRefused, or ChannelClosed when the broker refuses to tell.
    """
    error: BrokerError | None = None
    for address in parse_urls(settings.broker.url):
        asking = _Asking(settings, address, queues)
        error = asking.run()
        if error is None:
            return asking.counts
        if not isinstance(error, ConnectionLost):
            break
    assert error is not None, "parse_urls gives at least one address"
    raise error


class _Asking:
    """One session that asks for one queue after the other."""

    def __init__(self, settings: Settings, address: BrokerAddress, queues: Sequence[str]) -> None:
        self.counts: Counts = {}
        self._settings = settings
        self._address = address
        self._ahead = deque(queues)
        self._error: BrokerError | None = None
        self._loop = Loop()

    def run(self) -> BrokerError | None:
        """Ask them all; gives the error that stopped it."""
        session = Session(
            self._loop,
            self._address,
            settings=self._settings.broker,
            name="amqtask queue list",
            on_open=self._next,
            on_lost=self._end,
        )
        silent = ConnectionLost(f"{self._address}: no answer within {DEADLINE_S:g} s")
        late = self._loop.call_later(DEADLINE_S, lambda: session.drop(silent))
        self._loop.run()
        late.cancel()
        self._loop.close()
        return self._error

    def _next(self, session: Session) -> None:
        session.open_channel(self._ask, self._closed)

    def _ask(self, channel: Channel) -> None:
        if not self._ahead:
            channel.session.close(self._loop.stop)
            return

        def told(frame: Method[Queue.DeclareOk]) -> None:
            self.counts[self._ahead.popleft()] = (frame.method.message_count, frame.method.consumer_count)
            self._ask(channel)

        channel.pika.queue_declare(self._ahead[0], passive=True, callback=told)

    def _closed(self, channel: Channel, error: ChannelClosed) -> None:
        if error.code != NOT_FOUND:
            self._error = error
            channel.session.close(self._loop.stop)
            return
        self.counts[self._ahead.popleft()] = None
        self._next(channel.session)

    def _end(self, error: BrokerError) -> None:
        self._error = error
        self._loop.stop()
