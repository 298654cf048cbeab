"""Keeps one session up over several addresses, for ever, with jittered pauses. Loop-confined.

Each session is a new one; nothing of the last is used again. The addresses are tried in turn from a random one, so that
a fleet does not fall onto one node of a cluster. Pauses grow with each failed round and the length of the outage, up to
`reconnect_max_s`; `hurry()` shortens the one that is under way, for callers that cannot wait.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from tenacity import RetryCallState
from tenacity.wait import wait_random_exponential

from amqtask.clock import SYSTEM, Clock
from amqtask.errors import BrokerError
from amqtask.transport.log import EventLog
from amqtask.transport.loop import Loop, Timer
from amqtask.transport.session import BrokerOptions, Session
from amqtask.transport.url import BrokerAddress

log = EventLog("amqtask.transport")

FIRST_PAUSE_S = 0.1  # grows by doubling, with full jitter
LEAST_PAUSE_S = 0.02
SHORT_PAUSE_S = 2.5  # or a tenth of the outage, if that is longer: a restarted broker has its clients back in seconds
HURRY_PAUSE_S = 0.25  # between attempts that somebody waits for
HURRY_REFUSED_S = 1.0  # the same after a refused login: a broker logs each of them
STEADY_S = 5.0  # a session that lasted this long starts pauses anew
UNSTEADY_FAILURES = 4  # a shorter one may be part of a loop, so it pauses as if this often failed: up to 1.6 s


class Connector:
    """`on_session(session)` is called for each session once it is open, `on_down(error)` for each session that was
    lost and each attempt that failed. Wrong credentials are reported like the rest, and tried again like the rest:
    somebody may be about to correct them."""

    def __init__(
        self,
        loop: Loop,
        addresses: Sequence[BrokerAddress],
        *,
        settings: BrokerOptions,
        name: str,
        on_session: Callable[[Session], None],
        on_down: Callable[[BrokerError], None],
        clock: Clock = SYSTEM,
        rng: random.Random | None = None,
    ) -> None:
        self.session: Session | None = None  # the open one
        self.last_error: BrokerError | None = None  # why there is none; None while one is open or the first is tried
        self.last_error_at = 0.0  # when that was, by the clock's monotonic
        self._loop = loop
        self._addresses = tuple(addresses)
        self._settings = settings
        self._name = name
        self._on_session = on_session
        self._on_down = on_down
        self._clock = clock
        self._rng = rng or random.Random()
        self._next = self._rng.randrange(len(self._addresses))
        self._longest_pause_s = settings.reconnect_max_s
        self._attempt: Session | None = None  # the one that is not open yet
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self._failures = 0
        self._up_at = clock.monotonic()  # when a session was opened or lost last
        self._generation = 0
        self._stopped = True

    @property
    def connecting(self) -> bool:
        """Whether an attempt is under way."""
        return self._attempt is not None

    def start(self) -> None:
        """Connect now, and keep connected."""
        if self._stopped:
            self._stopped = False
            self._connect()

    def stop(self, on_stopped: Callable[[], None] | None = None) -> None:
        """Close the session in order and make no other; then call `on_stopped`, within CLOSE_TIMEOUT_S."""
        self._stopped = True
        self._cancel_timer()
        session = self.session or self._attempt
        self.session = self._attempt = None
        if session is not None:
            session.close(on_stopped)
        elif on_stopped is not None:
            self._loop.call_soon(on_stopped)

    def hurry(self) -> None:
        """Somebody waits: make the next attempt soon, whatever the pause that is under way."""
        if self._timer is None or self._stopped:
            return
        pause_s = HURRY_PAUSE_S if self.last_error is None or self.last_error.retryable else HURRY_REFUSED_S
        now = self._clock.monotonic()
        at = max(now, self.last_error_at + pause_s)
        if at < self._timer_at:
            self._pause(at - now)

    def abandon(self) -> None:
        """In a forked child: forget the connection, unheard by the broker."""
        self._stopped = True
        for session in (self.session, self._attempt):
            if session is not None:
                session.abandon()
        self.session = self._attempt = None

    def _connect(self) -> None:
        self._cancel_timer()
        address = self._addresses[self._next]
        self._generation += 1
        self._attempt = Session(
            self._loop,
            address,
            settings=self._settings,
            name=self._name,
            on_open=self._opened,
            on_lost=self._lost,
            generation=self._generation,
            clock=self._clock,
        )

    def _opened(self, session: Session) -> None:
        self.session, self._attempt = session, None
        self.last_error = None
        self._up_at = self._clock.monotonic()
        log.info("connection.opened", name=self._name, broker=str(session.address), version=session.server_version)
        self._on_session(session)

    def _lost(self, error: BrokerError) -> None:
        was_open = self.session is not None
        self.session = self._attempt = None
        now = self._clock.monotonic()
        if was_open:
            self._failures = 0 if now - self._up_at >= STEADY_S else min(self._failures, UNSTEADY_FAILURES)
            self._up_at = now
        self._failures += 1
        self._next = (self._next + 1) % len(self._addresses)
        self.last_error, self.last_error_at = error, now
        event = "connection.lost" if was_open else "connection.failed"
        log.warning(event, name=self._name, error=str(error), failures=self._failures)
        self._pause(self._pause_s())
        self._on_down(error)

    def _pause_s(self) -> float:
        rounds, position = divmod(self._failures, len(self._addresses))
        if position:  # the other addresses are tried before anybody waits
            return self._rng.uniform(LEAST_PAUSE_S, FIRST_PAUSE_S)
        outage_s = self._clock.monotonic() - self._up_at
        longest_s = min(self._longest_pause_s, max(SHORT_PAUSE_S, outage_s / 10))
        wait = wait_random_exponential(multiplier=FIRST_PAUSE_S, max=longest_s, min=LEAST_PAUSE_S)
        state = RetryCallState(None, None, (), {})  # type: ignore[arg-type]  # the strategies read the number alone
        state.attempt_number = rounds
        return float(wait(state))

    def _pause(self, seconds: float) -> None:
        self._cancel_timer()
        self._timer_at = self._clock.monotonic() + seconds
        self._timer = self._loop.call_later(seconds, self._connect)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
