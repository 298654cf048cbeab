"""Declares over AMQP, at once and blocking: `app.declare(...)`, and `topology apply` where no management API answers.

What is there already and the same is left as it is; AMQP cannot compare, set policies or take anything away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from pydantic import ValidationError

from amqtask.errors import AccessRefused, BrokerError, ConnectionLost, TaskError
from amqtask.settings import Settings, celery_queues
from amqtask.topology.declare import Bind, DeclareExchange, DeclareQueue, Operation, operations
from amqtask.topology.model import Topology
from amqtask.topology.values import Binding, Exchange, Queue
from amqtask.transport.declarer import Declared, Declarer
from amqtask.transport.loop import Loop
from amqtask.transport.session import Session
from amqtask.transport.url import BrokerAddress, parse_urls

DEADLINE_S = 30.0  # a quorum queue takes up to a second


def declare(settings: Settings, *things: object) -> None:
    """Declare exchanges, queues and bindings now: values of `amqtask.topology`, or kombu's `Exchange` and `Queue`.

    A kombu queue brings its exchange and its bindings. Each is declared exactly as it is given: no dead-letter queue
    is added. Raises the first failure (TopologyConflict, TopologyUnsupported, AccessRefused, ...) after all others have
    been tried; TaskError for what cannot be declared.
    """
    wanted = [operation for thing in things for operation in _operations(thing)]
    exchanges = [one for one in wanted if isinstance(one, DeclareExchange) and not one.exchange.predeclared]
    queues = [one for one in wanted if isinstance(one, DeclareQueue)]
    bindings = [one for one in wanted if isinstance(one, Bind)]
    done = declare_by_amqp(settings, list(dict.fromkeys([*exchanges, *queues, *bindings])))
    for _, error in done.failures:
        raise error


def declare_by_amqp(settings: Settings, wanted: Sequence[Operation]) -> Declared:
    """Run `wanted` on the first broker of `broker.url` that answers; each failure is told beside its operation.

    Raises ConnectionLost or AccessRefused when there is no broker to run them on.
    """
    error: BrokerError | None = None
    for address in parse_urls(settings.broker.url):
        declarer = Declarer("manage")
        # An operation over which the broker closes the connection is left out the next time: each costs a session.
        for _ in range(len(wanted) + 1):
            run = _Run(settings, address, wanted, declarer)
            error = run.run()
            if run.declared is not None:
                return run.declared
            if isinstance(error, AccessRefused) or error is None or error.code is None:
                break
        if isinstance(error, AccessRefused):
            break
    assert error is not None, "parse_urls gives at least one address"
    raise error


def _operations(thing: object) -> Iterable[Operation]:
    match thing:
        case Exchange():
            return [DeclareExchange(thing)]
        case Queue():
            return [DeclareQueue(thing)]
        case Binding():
            return [Bind(thing)]
        case Topology():
            return operations(thing)
    return _of_kombu(thing)


def _of_kombu(thing: object) -> Sequence[Operation]:
    """The operations for a kombu object, read as the settings read `task_queues`."""
    # A program that hands one over has imported it already; others need not pay for it.
    from kombu.entity import Exchange as KombuExchange
    from kombu.entity import Queue as KombuQueue

    if isinstance(thing, KombuExchange):
        around = KombuQueue("unused", exchange=thing)  # type: ignore[no-untyped-call]
        found = celery_queues.declared([around], celery_queues.Defaults())
        found.queues.clear()
    elif isinstance(thing, KombuQueue):
        found = celery_queues.declared([thing], celery_queues.Defaults())
    else:
        raise TaskError(f"an Exchange, a Queue or a Binding can be declared, not {type(thing).__name__}")
    if found.faults:
        raise TaskError("; ".join(found.faults))
    queues = {name: {**table, "dead_letter": False} for name, table in found.queues.items()}
    try:
        settings = Settings.model_validate({"exchanges": found.exchanges, "queues": queues})
    except ValidationError as error:
        raise TaskError(f"{thing!r} cannot be declared: {error}") from error
    topology = Topology.from_settings(settings, check=False)  # it may name exchanges that are declared beside it
    return [one for one in operations(topology) if not _default_queue(one, queues)]


def _default_queue(operation: Operation, queues: Collection[str]) -> bool:
    """Whether it is the default queue, which a topology without queues gets and nobody asked for here."""
    return isinstance(operation, DeclareQueue) and operation.queue.name not in queues


class _Run:
    """One session that declares."""

    def __init__(
        self, settings: Settings, address: BrokerAddress, wanted: Sequence[Operation], declarer: Declarer
    ) -> None:
        self.declared: Declared | None = None
        self._settings = settings
        self._address = address
        self._wanted = wanted
        self._declarer = declarer
        self._error: BrokerError | None = None
        self._loop = Loop()
        self._session: Session | None = None

    def run(self) -> BrokerError | None:
        """Declare them all; gives the error that stopped it."""
        session = self._session = Session(
            self._loop,
            self._address,
            settings=self._settings.broker,
            name="amqtask declare",
            on_open=lambda session: self._declarer.run(session, self._wanted, self._done),
            on_lost=self._lost,
        )
        silent = ConnectionLost(f"{self._address}: not all was declared within {DEADLINE_S:g} s")
        late = self._loop.call_later(DEADLINE_S, lambda: session.drop(silent))
        self._loop.run()
        late.cancel()
        self._loop.close()
        return self._error

    def _done(self, declared: Declared) -> None:
        self.declared = declared
        assert self._session is not None
        self._session.close(self._loop.stop)

    def _lost(self, error: BrokerError) -> None:
        self._declarer.lost(error)
        self._error = error
        self._loop.stop()
