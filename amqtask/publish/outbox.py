"""Sends messages with confirms, and ends each one with the broker's answer or a typed error, inside its deadline.

Loop-confined; used on the node's loop and on the Publisher's I/O thread alike. It outlives sessions: whoever owns the
connector tells it of each new one (`attach`) and of each loss or failed attempt (`detach`). What was in flight on a
lost session is sent again under the same id, unless it asks not to be; what was never written waits for the next.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from amqtask.clock import SYSTEM, Clock
from amqtask.errors import AmqtaskError, BrokerError, ChannelClosed, ConnectionLost
from amqtask.publish import verdict
from amqtask.publish.entry import Entry
from amqtask.publish.lane import Lane
from amqtask.transport.log import EventLog
from amqtask.transport.loop import Loop, Timer
from amqtask.transport.session import Channel, Session

log = EventLog("amqtask.publish")

# How old a refused login may be to answer a new message at once, without another attempt.
REFUSAL_FRESH_S = 1.0
CHANNEL_RETRY_S = 0.2  # before a channel that could not even be opened is tried again
SWEEP_GRACE_S = 0.005  # deadlines this close together are swept in one go
# The broker sends a heartbeat every half of the interval; silence for longer than that while an answer is overdue means
# that the link is dead, and the next host should be tried before the heartbeat check finds out.
OVERDUE_SILENCE_S = 2.0


class Link(Protocol):
    """What the outbox asks of the connector."""

    @property
    def last_error(self) -> BrokerError | None:
        """Why there is no session; None while there is one, or the first attempt has not ended."""

    @property
    def last_error_at(self) -> float:
        """When that was, by the clock's monotonic."""

    @property
    def connecting(self) -> bool:
        """Whether an attempt is under way."""

    def hurry(self) -> None:
        """Make the next attempt soon: somebody waits."""


class Outbox:
    """Takes entries by `submit` and settles each exactly once. Never blocks."""

    def __init__(self, loop: Loop, link: Link, *, clock: Clock = SYSTEM) -> None:
        self._loop = loop
        self._link = link
        self._clock = clock
        self._session: Session | None = None
        self._lane: Lane | None = None
        self._waiting: deque[Entry] = deque()
        self._deadlines: list[Entry] = []  # a heap; settled ones stay in it until they come up or it is rebuilt
        self._live = 0
        self._timer: Timer | None = None
        self._timer_at = float("inf")
        self._when_idle: list[Callable[[], None]] = []

    def __len__(self) -> int:
        """Messages that are not settled."""
        return self._live

    @property
    def blocked(self) -> str | None:
        """The broker's reason while it takes no publishes."""
        return None if self._session is None else self._session.blocked

    def submit(self, entry: Entry) -> None:
        """Take charge of `entry`. It may be settled before this returns."""
        self._live += 1
        lane = self._lane
        heapq.heappush(self._deadlines, entry)
        if entry.deadline < self._timer_at:
            self._arm(entry.deadline)
        if lane is not None and not self._waiting and self.blocked is None and lane.has_room(entry):
            lane.write(entry)
            return
        if self._session is None:
            self._unconnected(entry)
            if entry.settled:
                return
        self._waiting.append(entry)

    def attach(self, session: Session) -> None:
        """There is a new session: send what waits by it."""
        self._session = session
        self._lane = None
        session.watch_blocked(self._blocked_changed)
        self._open_lane(session)

    def detach(self, error: BrokerError) -> None:
        """The session is lost, or an attempt to have one has failed, with `error`."""
        lane, self._lane = self._lane, None
        self._session = None
        if lane is not None:
            in_flight = self._without_returned(lane.end())
            for entry in in_flight:
                entry.losses += 1
            self._send_again(in_flight, error)
        for entry in tuple(self._waiting):  # what is told of an end may submit anew
            if not error.retryable or entry.policy is None:
                self._settle(entry, verdict.unsent(entry, error))
        self._drop_settled()
        if self._live:
            self._link.hurry()

    def when_idle(self, fn: Callable[[], None]) -> None:
        """Call `fn` once, as soon as nothing is unsettled: at once if that is so now."""
        if self._live:
            self._when_idle.append(fn)
        else:
            fn()

    def fail_all(self, error: BrokerError) -> None:
        """End everything with `error`, or as uncertain if it was written: nobody will wait for answers any more."""
        lane, self._lane = self._lane, None
        for entry in lane.end() if lane is not None else ():
            self._settle(entry, verdict.unanswered(entry, str(error)))
        for entry in [*self._waiting, *self._deadlines]:
            self._settle(entry, verdict.unsent(entry, error))
        self._waiting.clear()
        self._deadlines.clear()
        self._cancel_timer()

    # Sending

    def _pump(self) -> None:
        lane, waiting = self._lane, self._waiting
        if lane is None or self.blocked is not None:
            return
        while waiting:
            entry = waiting[0]
            if not entry.settled:
                if not lane.has_room(entry):
                    return
                lane.write(entry)
            waiting.popleft()

    def _unconnected(self, entry: Entry) -> None:
        """There is no session: end `entry` if it would wait in vain, else see that there is one soon."""
        error = self._link.last_error
        if error is not None:
            fresh = self._clock.monotonic() - self._link.last_error_at < REFUSAL_FRESH_S
            hopeless = entry.policy is None and not self._link.connecting
            if hopeless or (fresh and not error.retryable):
                self._settle(entry, verdict.unsent(entry, error))
        self._link.hurry()

    def _send_again(self, entries: Iterable[Entry], why: BrokerError) -> None:
        """Queue again what was in flight on a channel that is gone, ahead of what never was, after its pause."""
        later: dict[float, list[Entry]] = {}
        for entry in entries:
            entry.in_doubt = True
            if entry.policy is None or not entry.policy.allows(entry.losses):
                self._settle(entry, verdict.unanswered(entry, str(why)))
            else:
                later.setdefault(entry.policy.pause_s(entry.losses), []).append(entry)
        for pause_s, group in later.items():
            if pause_s:
                self._loop.call_later(pause_s, partial(self._queue_first, group))
            else:
                self._queue_first(group)

    def _without_returned(self, entries: list[Entry]) -> list[Entry]:
        """What was in flight and not handed back: what was has its answer, only the ack that follows is missing."""
        for entry in entries:
            if entry.returned:
                self._settle(entry, verdict.unroutable(entry))
        return [entry for entry in entries if not entry.settled]

    def _queue_first(self, entries: list[Entry]) -> None:
        if self._session is None:
            for entry in entries:
                self._unconnected(entry)
        self._waiting.extendleft(entry for entry in reversed(entries) if not entry.settled)
        self._pump()

    # The channel

    def _open_lane(self, session: Session) -> None:
        if session is not self._session or not session.is_open:
            return

        def opened(channel: Channel) -> None:
            lane = Lane(session, channel, settle=self._settle, progressed=self._pump)
            channel.sink = lane
            channel.confirm(lambda: ready(lane))

        def ready(lane: Lane) -> None:
            if session is self._session and lane.alive:
                self._lane = lane
                self._pump()

        session.open_channel(opened, self._channel_closed)

    def _channel_closed(self, channel: Channel, error: ChannelClosed) -> None:
        session, lane = self._session, self._lane
        if session is not channel.session:
            return
        if lane is None or lane.channel is not channel:
            log.warning("publish.channel_refused", error=str(error))
            self._loop.call_later(CHANNEL_RETRY_S, lambda: self._open_lane(session))
            return
        self._lane = None
        in_flight = self._without_returned(lane.end())
        judged = verdict.judge(error, in_flight, known_exchanges=lane.confirmed_exchanges)
        log.warning("publish.channel_closed", error=str(error), in_flight=len(in_flight), refused=len(judged.refused))
        for entry, reason in judged.refused:
            self._settle(entry, reason)
        for entry in tuple(self._waiting) if judged.exchange_gone is not None else ():
            if entry.exchange == judged.exchange_gone:
                self._settle(entry, verdict.exchange_missing(entry, error))
        for entry in judged.suspects:
            entry.alone = True  # sent again one at a time, the one that the broker cannot take is found
        self._drop_settled()
        self._send_again((entry for entry in in_flight if not entry.settled), error)
        self._open_lane(session)

    def _blocked_changed(self, reason: str | None) -> None:
        if reason is None:
            log.info("publish.unblocked")
            self._pump()
        else:
            log.warning("publish.blocked", reason=reason, waiting=len(self._waiting))

    # Ends

    def _settle(self, entry: Entry, error: AmqtaskError | None) -> None:
        if entry.settled:
            return
        self._live -= 1
        entry.settle(error)
        if len(self._deadlines) > 1024 + 2 * self._live:
            self._deadlines = [kept for kept in self._deadlines if not kept.settled]
            heapq.heapify(self._deadlines)
        if not self._live and self._when_idle:
            waiters, self._when_idle = self._when_idle, []
            for fn in waiters:
                fn()

    def _drop_settled(self) -> None:
        kept = [entry for entry in self._waiting if not entry.settled]
        self._waiting.clear()
        self._waiting.extend(kept)

    def _arm(self, at: float) -> None:
        self._cancel_timer()
        self._timer_at = at
        self._timer = self._loop.call_later(at - self._clock.monotonic(), self._sweep)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = float("inf")

    def _sweep(self) -> None:
        """End what has reached its deadline, with what stood in its way."""
        self._cancel_timer()
        due_at = self._clock.monotonic() + SWEEP_GRACE_S
        overdue = expired = False
        while self._deadlines:
            entry = self._deadlines[0]
            if not entry.settled:
                if entry.deadline > due_at:
                    self._arm(entry.deadline)
                    break
                expired = True
                overdue = overdue or (entry.tag > 0 and self.blocked is None)
                self._settle(entry, self._too_late(entry))
            # settling may have rebuilt the heap without it
            if self._deadlines and self._deadlines[0] is entry:
                heapq.heappop(self._deadlines)
        if expired:
            self._drop_settled()
        session = self._session
        if overdue and session is not None and session.silence_s() > session.heartbeat_s / 2 + OVERDUE_SILENCE_S:
            session.drop(ConnectionLost(f"{session.address}: publishes unanswered and nothing heard from the broker"))

    def _too_late(self, entry: Entry) -> AmqtaskError:
        if self.blocked is not None:
            return verdict.blocked(entry, self.blocked)
        if entry.tag or entry.in_doubt:
            return verdict.unanswered(entry, "no answer from the broker before the deadline")
        if self._session is not None:
            return verdict.unsent(entry, ConnectionLost("the broker has not answered earlier messages in time"))
        error = self._link.last_error or ConnectionLost("not connected in time")
        return verdict.unsent(entry, error)
