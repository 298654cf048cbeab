"""A loop with a clock of its own and a broker that does what a test says: no socket, no thread, no waiting."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from amqtask.clock import Clock
from amqtask.errors import AmqtaskError, BrokerError, ChannelClosed
from amqtask.publish.entry import Entry, RetryPolicy
from amqtask.publish.outbox import Outbox
from amqtask.wire.message import Encoded


class FakeTimer:
    def __init__(self, fn: Callable[[], None]) -> None:
        self.fn: Callable[[], None] | None = fn

    def cancel(self) -> None:
        self.fn = None


class FakeLoop:
    """Time passes by `advance` alone."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._numbers = itertools.count()
        self.clock = Clock(monotonic=lambda: self.now)

    def call_later(self, seconds: float, fn: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(fn)
        heapq.heappush(self._timers, (self.now + max(0.0, seconds), next(self._numbers), timer))
        return timer

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            at, _, timer = heapq.heappop(self._timers)
            self.now = max(self.now, at)
            fn, timer.fn = timer.fn, None
            if fn is not None:
                fn()
        self.now = end


class FakeLink:
    def __init__(self) -> None:
        self.last_error: BrokerError | None = None
        self.last_error_at = 0.0
        self.connecting = True
        self.hurried = 0

    def hurry(self) -> None:
        self.hurried += 1


class FakeChannel:
    def __init__(self, session: FakeSession, number: int) -> None:
        self.session = session
        self.number = number
        self.sink = None

    def confirm(self, on_selected: Callable[[], None]) -> None:
        on_selected()


class FakeSession:
    """Counts what is written; `channel.sink` is what the broker's answers go to."""

    frame_max = 131072
    address = "amqp://fake"
    heartbeat_s = 10

    def __init__(self) -> None:
        self.is_open = True
        self.blocked: str | None = None
        self.writes: list[bytes] = []
        self.channels: list[FakeChannel] = []
        self.dropped: BrokerError | None = None
        self.silence = 0.0
        self._on_closed: Callable[[FakeChannel, ChannelClosed], None] | None = None
        self._watchers: list[Callable[[str | None], None]] = []

    @property
    def sink(self):
        return self.channels[-1].sink

    def send(self, data: bytes) -> None:
        self.writes.append(data)

    def open_channel(self, on_open, on_closed) -> None:
        channel = FakeChannel(self, len(self.channels) + 1)
        self.channels.append(channel)
        self._on_closed = on_closed
        on_open(channel)

    def close_channel(self, code: int, text: str) -> None:
        assert self._on_closed is not None
        self._on_closed(self.channels[-1], ChannelClosed(text, code=code))

    def watch_blocked(self, fn: Callable[[str | None], None]) -> None:
        self._watchers.append(fn)

    def block(self, reason: str | None) -> None:
        self.blocked = reason
        for fn in self._watchers:
            fn(reason)

    def silence_s(self) -> float:
        return self.silence

    def drop(self, error: BrokerError) -> None:
        self.dropped = error


class Bench:
    """An outbox among fakes, and what became of each message."""

    def __init__(self, *, connected: bool = True) -> None:
        self.loop = FakeLoop()
        self.link = FakeLink()
        self.outbox = Outbox(self.loop, self.link, clock=self.loop.clock)
        self.ends: dict[str, AmqtaskError | None] = {}
        self.session = FakeSession()
        if connected:
            self.outbox.attach(self.session)

    def submit(
        self,
        name: str,
        *,
        exchange: str = "",
        key: str = "q",
        deadline_s: float = 5.0,
        policy: RetryPolicy | None = RetryPolicy(),  # noqa: B008  a frozen value
        body: bytes = b"body",
        then: Callable[[], None] | None = None,
    ) -> Entry:
        def done(error: AmqtaskError | None) -> None:
            assert name not in self.ends, f"{name} ended twice"
            self.ends[name] = error
            if then is not None:
                then()

        entry = Entry(
            Encoded(name, name.encode(), body),
            exchange=exchange,
            routing_key=key,
            deadline=self.loop.now + deadline_s,
            policy=policy,
            done=done,
        )
        self.outbox.submit(entry)
        return entry

    def reconnect(self) -> FakeSession:
        self.session = FakeSession()
        self.link.last_error = None
        self.outbox.attach(self.session)
        return self.session

    def lose(self, error: BrokerError) -> None:
        self.session.is_open = False
        self.link.last_error, self.link.last_error_at = error, self.loop.now
        self.link.connecting = False
        self.outbox.detach(error)

    def ended(self, name: str) -> type[BaseException] | None:
        error = self.ends[name]
        return None if error is None else type(error)
