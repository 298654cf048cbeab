"""The Publisher's I/O thread: a loop, a connector and an outbox that live and die together, fed from other threads.

Other threads call `submit`, `close` and, in a forked child, `abandon`; all else runs on the I/O thread. It is woken
once for any number of messages that come while it is awake. Whatever ends it, no message is left without an outcome.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from amqtask.clock import SYSTEM, Clock
from amqtask.errors import AmqtaskError, BrokerError, ConnectionLost
from amqtask.publish import verdict
from amqtask.publish.entry import Entry
from amqtask.publish.outbox import Outbox
from amqtask.transport.connector import Connector
from amqtask.transport.declarer import Declared, Declarer
from amqtask.transport.log import EventLog
from amqtask.transport.loop import Loop
from amqtask.transport.probe import QueueState, probe_queue
from amqtask.transport.session import CLOSE_TIMEOUT_S, Session
from amqtask.transport.url import parse_urls

if TYPE_CHECKING:
    from amqtask.settings import Settings
    from amqtask.topology.declare import Operation

log = EventLog("amqtask.publish")

PROBE_AGAIN_S = 0.1  # between looks for a connection to ask by
JOIN_GRACE_S = 1.0  # on top of the close timeout, for the thread to end


class Sender:
    """One thread, one connection, one process. Runs from its constructor to `close`, and never again."""

    def __init__(
        self, settings: Settings, *, operations: Sequence[Operation], name: str, clock: Clock = SYSTEM
    ) -> None:
        self.pid = os.getpid()
        self.ended = False  # it takes no more messages
        self._inbox: deque[Entry] = deque()
        self._woken = False
        self._operations = operations
        self._declarer = Declarer(settings.topology.mode)
        self._loop = Loop()
        self._connector = Connector(
            self._loop,
            parse_urls(settings.broker.url),
            settings=settings.broker,
            name=name,
            on_session=self._session_opened,
            on_down=self._session_lost,
            clock=clock,
        )
        self._outbox = Outbox(self._loop, self._connector, clock=clock)
        self._thread = threading.Thread(target=self._run, name="amqtask-publisher", daemon=True)
        self._thread.start()

    def submit(self, entries: Sequence[Entry]) -> None:
        """Take charge of `entries`, from any thread."""
        self._inbox.extend(entries)
        if self.ended:
            self._refuse_inbox(ConnectionLost("the publisher is closed"))
        elif not self._woken:
            # The I/O thread clears the flag before it empties the inbox, so what is added after an unseen clearing
            # is seen by that emptying.
            self._woken = True
            self._loop.call_soon_threadsafe(self._take)

    def close(self, timeout_s: float) -> None:
        """Send what is under way, for at most `timeout_s` seconds; then end. For any thread but its own."""
        self._loop.call_soon_threadsafe(lambda: self._flush(timeout_s))
        self._thread.join(timeout_s + CLOSE_TIMEOUT_S + JOIN_GRACE_S)

    def abandon(self) -> None:
        """In a forked child: let go of what was inherited. The parent's connection does not feel it."""
        self.ended = True
        self._connector.abandon()
        self._loop.abandon()

    def blocked(self) -> str | None:
        """The broker's reason while it takes no publishes. From any thread."""
        return self._outbox.blocked

    def probe(self, queue: str) -> Future[QueueState]:
        """Look at a queue as soon as there is a connection. From any thread."""
        answer: Future[QueueState] = Future()
        self._loop.call_soon_threadsafe(partial(self._ask, queue, answer))
        return answer

    # On the I/O thread

    def _run(self) -> None:
        error: BrokerError = ConnectionLost("the publisher is closed")
        try:
            self._connector.start()
            self._loop.run()
        except Exception as bug:
            # Nobody is above us: what waits must hear of it, and the next publish gets a new thread.
            log.exception("publisher.thread_failed")
            error = ConnectionLost(f"the publisher's thread failed: {bug!r}")
        self.ended = True
        self._outbox.fail_all(error)
        self._refuse_inbox(error)
        self._connector.abandon()
        self._loop.close()

    def _take(self) -> None:
        self._woken = False
        inbox, submit = self._inbox, self._outbox.submit
        for _ in range(len(inbox)):
            submit(inbox.popleft())

    def _refuse_inbox(self, error: BrokerError) -> None:
        while self._inbox:
            try:
                entry = self._inbox.popleft()
            except IndexError:  # another thread refuses too
                return
            entry.settle(verdict.unsent(entry, error))

    def _session_opened(self, session: Session) -> None:
        self._declarer.run(session, self._operations, lambda declared: self._declared(session, declared))

    def _declared(self, session: Session, declared: Declared) -> None:
        # Publishing goes on: another queue's trouble is none of a message's, and its own shows as a return.
        for operation, error in declared.failures:
            log.error("topology.declare_failed", what=str(operation), error=str(error))
        if session is self._connector.session:
            self._outbox.attach(session)

    def _ask(self, queue: str, answer: Future[QueueState]) -> None:
        session = self._connector.session
        if session is None or not session.is_open:
            if not answer.done():
                self._connector.hurry()
                self._loop.call_later(PROBE_AGAIN_S, partial(self._ask, queue, answer))
            return

        def answered(state: QueueState | AmqtaskError) -> None:
            if answer.set_running_or_notify_cancel():
                if isinstance(state, QueueState):
                    answer.set_result(state)
                else:
                    answer.set_exception(state)

        probe_queue(session, queue, answered)

    def _session_lost(self, error: BrokerError) -> None:
        self._declarer.lost(error)
        self._outbox.detach(error)

    def _flush(self, timeout_s: float) -> None:
        self._take()

        def stop() -> None:
            timer.cancel()
            self._connector.stop(self._loop.stop)

        timer = self._loop.call_later(timeout_s, stop)
        self._outbox.when_idle(stop)
