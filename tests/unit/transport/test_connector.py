"""One session up, whatever happens: hosts in turn, pauses that grow and end, and nobody kept waiting for nothing."""

from __future__ import annotations

import random

import pytest

from amqtask.errors import AccessRefused, BrokerError, ConnectionLost
from amqtask.transport import connector as module
from amqtask.transport.connector import Connector
from amqtask.transport.url import parse_urls
from tests.unit.publish.fakes import FakeLoop


class Options:
    heartbeat_s = 10
    connect_timeout_s = 5.0
    reconnect_max_s = 30.0


class FakeSession:
    """Opens or fails when the test says so."""

    made: list[FakeSession]

    def __init__(self, loop, address, *, on_open, on_lost, generation, **_) -> None:
        self.address = address
        self.generation = generation
        self.server_version = "3.10"
        self.open = lambda: on_open(self)
        self.fail = on_lost
        self.closed = False
        self.made.append(self)

    def close(self, on_closed=None) -> None:
        self.closed = True
        if on_closed is not None:
            on_closed()

    def abandon(self) -> None:
        self.closed = True


class Bench:
    def __init__(self, urls: str) -> None:
        self.loop = FakeLoop()
        self.loop.call_soon = lambda fn: fn()
        self.sessions: list[int] = []
        self.downs: list[BrokerError] = []
        self.connector = Connector(
            self.loop,
            parse_urls(urls),
            settings=Options(),
            name="test",
            on_session=lambda session: self.sessions.append(session.generation),
            on_down=self.downs.append,
            clock=self.loop.clock,
            rng=random.Random(1),
        )
        self.connector.start()

    @property
    def last(self) -> FakeSession:
        return FakeSession.made[-1]

    def attempts_after(self, error: BrokerError, seconds: float) -> int:
        """Fail the attempt under way and those that follow it within that time."""
        before, end = len(FakeSession.made), self.loop.now + seconds
        self.last.fail(error)
        while self.loop.now < end:
            known = len(FakeSession.made)
            self.loop.advance(0.01)
            if len(FakeSession.made) > known and self.loop.now < end:
                self.last.fail(error)
        return len(FakeSession.made) - before


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeSession.made = []
    monkeypatch.setattr(module, "Session", FakeSession)


LOST = ConnectionLost("gone")


def test_k10_each_session_is_a_new_one_with_its_own_generation() -> None:
    bench = Bench("amqp://a")
    for generation in (1, 2, 3):
        bench.last.open()
        assert bench.connector.session is bench.last
        assert bench.connector.last_error is None
        bench.last.fail(LOST)
        assert bench.connector.session is None
        assert bench.connector.last_error is LOST
        bench.loop.advance(3)
        assert bench.last.generation == generation + 1
    assert bench.sessions == [1, 2, 3]
    assert bench.downs == [LOST] * 3


def test_pain13_all_hosts_are_tried_before_anybody_waits() -> None:
    bench = Bench("amqp://a;amqp://b;amqp://c")
    for _ in range(2):
        bench.last.fail(LOST)
        bench.loop.advance(0.11)
    assert sorted(session.address.host for session in FakeSession.made) == ["a", "b", "c"]


def test_k10_pauses_grow_with_the_outage_and_never_past_the_setting() -> None:
    bench = Bench("amqp://a")
    assert 4 <= bench.attempts_after(LOST, 10) <= 40
    bench.attempts_after(LOST, 600)
    assert 600 / 30 <= bench.attempts_after(LOST, 600) <= 100


def test_k10_a_short_outage_leaves_no_long_pause() -> None:
    bench = Bench("amqp://a")
    bench.last.open()
    bench.loop.advance(100)
    bench.attempts_after(LOST, 10)
    known = len(FakeSession.made)
    bench.last.fail(LOST)
    bench.loop.advance(2.6)
    assert len(FakeSession.made) > known


def test_pain1_sessions_that_end_early_do_not_add_up_to_long_pauses() -> None:
    bench = Bench("amqp://a")
    for _ in range(200):
        bench.last.open()
        bench.loop.advance(1)
        known = len(FakeSession.made)
        bench.last.fail(LOST)
        bench.loop.advance(1.7)
        assert len(FakeSession.made) == known + 1


def test_k10_hurry_shortens_a_pause_but_not_to_nothing() -> None:
    bench = Bench("amqp://a")
    bench.attempts_after(LOST, 400)
    bench.last.fail(LOST)
    known = len(FakeSession.made)
    bench.connector.hurry()
    bench.loop.advance(0.24)
    assert len(FakeSession.made) <= known + 1
    bench.loop.advance(0.02)
    assert len(FakeSession.made) == known + 1
    bench.connector.hurry()  # an attempt is under way: nothing to shorten
    assert bench.connector.connecting


def test_fault28_a_refused_login_is_reported_and_tried_again_without_haste() -> None:
    bench = Bench("amqp://a")
    refused = AccessRefused("no", code=403)
    bench.attempts_after(refused, 400)
    bench.last.fail(refused)
    known = len(FakeSession.made)
    bench.connector.hurry()
    bench.loop.advance(0.9)
    assert len(FakeSession.made) <= known + 1
    bench.loop.advance(0.2)
    assert len(FakeSession.made) == known + 1
    assert bench.downs[-1] is refused


def test_k10_stop_closes_and_connects_no_more() -> None:
    stopped: list[int] = []
    bench = Bench("amqp://a")
    bench.last.open()
    bench.connector.stop(lambda: stopped.append(1))
    assert (bench.last.closed, stopped) == (True, [1])
    waiting = Bench("amqp://a")
    waiting.last.fail(LOST)
    waiting.connector.stop(lambda: stopped.append(2))
    known = len(FakeSession.made)
    waiting.loop.advance(100)
    assert len(FakeSession.made) == known
    assert stopped == [1, 2]
