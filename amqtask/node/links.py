"""The node's two connections: one consumes and settles, the other publishes. Loop-confined.

Two, because a broker under a memory or disk alarm stops reading from connections that publish: acknowledgements on a
connection that never published anything still arrive.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from amqtask.clock import Clock
from amqtask.errors import AmqtaskError, BrokerError
from amqtask.pool.plan import NodePlan
from amqtask.publish.entry import Entry, RetryPolicy
from amqtask.publish.outbox import Outbox
from amqtask.topology.declare import operations
from amqtask.topology.versions import parse_version
from amqtask.transport.connector import Connector
from amqtask.transport.declarer import Declared, Declarer
from amqtask.transport.loop import Loop
from amqtask.transport.session import Session
from amqtask.transport.url import parse_urls
from amqtask.wire.message import Encoded

log = structlog.get_logger("amqtask.node")

FOLLOW_UP_S = 60.0  # deadline of one attempt to publish what follows from a task; the settler tries again after it


class Links:
    """Both connectors, the outbox on one, the topology's declaration on the other."""

    def __init__(
        self,
        loop: Loop,
        plan: NodePlan,
        *,
        clock: Clock,
        on_session: Callable[[Session], None],
        on_down: Callable[[BrokerError], None],
    ) -> None:
        self._loop = loop
        self._plan = plan
        self._clock = clock
        self._on_session = on_session
        self._on_down = on_down
        self._operations = operations(plan.topology)
        self._declarer = Declarer(plan.topology_mode)
        self._declaring = False
        self._refused: frozenset[str] = frozenset()  # what the last declaration was refused, and has been logged
        addresses = parse_urls(plan.broker.url)
        self._consuming = Connector(
            loop,
            addresses,
            settings=plan.broker,
            name=f"{plan.name} consumes",
            on_session=self._declare,
            on_down=self._lost,
            clock=clock,
        )
        self._publishing = Connector(
            loop,
            addresses,
            settings=plan.broker,
            name=f"{plan.name} publishes",
            on_session=self._can_publish,
            on_down=self._cannot_publish,
            clock=clock,
        )
        self._outbox = Outbox(loop, self._publishing, clock=clock)

    def start(self) -> None:
        """Connect both, and keep them connected."""
        self._consuming.start()
        self._publishing.start()

    def stop(self, then: Callable[[], None]) -> None:
        """Close both in order, then call `then`."""
        self._consuming.stop(lambda: self._publishing.stop(then))

    def publish(
        self, encoded: Encoded, exchange: str, routing_key: str, done: Callable[[AmqtaskError | None], None]
    ) -> None:
        """Publish, confirmed; `done` is called once, with None or the error."""
        self._outbox.submit(
            Entry(
                encoded,
                exchange=exchange,
                routing_key=routing_key,
                deadline=self._clock.monotonic() + FOLLOW_UP_S,
                policy=RetryPolicy(max_retries=None),
                done=done,
            )
        )

    def declare_again(self) -> None:
        """Something that was declared is gone: declare all of it once more, then `on_session` for the same session."""
        session = self._consuming.session
        if session is not None and session.is_open and not self._declaring:
            self._run(session)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _can_publish(self, session: Session) -> None:
        self._outbox.attach(session)

    def _cannot_publish(self, error: BrokerError) -> None:
        self._outbox.detach(error)

    def _declare(self, session: Session) -> None:
        # A broker takes arguments that it does not know, and ignores them: say what will not do what it says.
        for fault in self._plan.topology.faults(parse_version(session.server_version)):
            log.warning("topology.unsupported", error=str(fault), version=session.server_version)
        self._refused = frozenset()
        self._run(session)

    def _run(self, session: Session) -> None:
        self._declaring = True
        self._declarer.run(session, self._operations, lambda declared: self._declared(session, declared))

    def _declared(self, session: Session, declared: Declared) -> None:
        # What is missing or in conflict stops its own queue only: the consumer of that one reports itself, and the
        # node is not ready until a person has mended it.
        self._declaring = False
        told, self._refused = self._refused, frozenset(str(error) for _, error in declared.failures)
        for operation, error in declared.failures:
            if str(error) not in told:
                log.error("topology.refused", what=str(operation), error=str(error))
        self._on_session(session)

    def _lost(self, error: BrokerError) -> None:
        self._declaring = False
        self._declarer.lost(error)
        self._on_down(error)
