"""The node's side of the template: what is asked, what comes back, and every way the template can go in between.

The test plays the template on the other end of the socket.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from amqtask.clock import Clock
from amqtask.pool import link
from amqtask.pool.forks import FORK_LATE_S, Template
from amqtask.pool.handle import ExecutorHandle

PLAN = {"plan": {}, "threads": [], "took_s": 0.1}


class Played(Template):
    """Its process is the test; `starts` counts how often it was started, `refuse` how often more it cannot be."""

    starts = 0
    refuse = 0
    other: socket.socket

    def _spawn(self) -> socket.socket:
        if self.refuse:
            self.refuse -= 1
            raise OSError(11, "Resource temporarily unavailable")
        self.starts += 1
        self._control, self.other = link.pair()
        self._booted = False
        self._started_at = self._clock.monotonic()
        return self._control


class World:
    """A loop and an owner of executors that only write down what they are told."""

    def __init__(self) -> None:
        self.now = 100.0
        self.readers: dict[int, Callable[[], None]] = {}
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.forked_: list[int] = []
        self.lost_: list[str] = []
        self.reaped_: list[tuple[int, int]] = []
        self.template = Played({}, clock=Clock(monotonic=lambda: self.now))
        self.template._spawn()
        self.template.attach(self)
        self.template._booted = True
        self.check = self.timers.pop()[1]

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        self.readers[fd] = callback

    def remove_reader(self, fd: int) -> None:
        del self.readers[fd]

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self.timers.append((delay_s, callback))

    def forked(self, executor: ExecutorHandle, pid: int) -> None:
        self.forked_.append(pid)

    def lost(self, executor: ExecutorHandle, why: str) -> None:
        self.lost_.append(why)

    def reaped(self, pid: int, status: int) -> bool:
        self.reaped_.append((pid, status))
        return True

    def ask(self) -> None:
        self.template.ask(ExecutorHandle(self.now), self)

    def say(self, document: dict[str, object]) -> None:
        link.send_document(self.template.other, document)
        self.read()

    def read(self) -> None:
        for callback in list(self.readers.values()):
            callback()

    def boot_again(self) -> None:
        self.timers.pop()[1]()
        self.say(PLAN)


@pytest.fixture
def world() -> World:
    return World()


def test_pain21_a_template_that_dies_with_requests_unread_is_started_again(world: World) -> None:
    world.ask()
    world.template.other.close()  # with the request in it: the next read is reset, not ended
    world.read()
    assert world.lost_ == ["the template died"]
    world.ask()
    world.boot_again()
    assert world.template.starts == 2
    request, fds = link.receive_document(world.template.other)
    assert request == {"id": 2}
    assert len(fds) == 1


def test_pain1_an_executor_that_died_before_the_template_could_name_it_is_reported(world: World) -> None:
    world.ask()
    world.template.unclaimed(4711, 9)
    world.template.unclaimed(4712, 9)  # somebody's grandchild
    world.say({"id": 1, "pid": 4711})
    assert (world.forked_, world.reaped_) == ([4711], [(4711, 9)])
    world.template.unclaimed(4713, 9)
    world.ask()
    world.say({"id": 2, "pid": 4713})
    assert world.reaped_ == [(4711, 9)], "a child that ended before the request cannot be what it made"


def test_a_template_that_cannot_be_started_is_tried_again_with_growing_delays(world: World) -> None:
    world.template.refuse = 3
    world.template.other.close()
    world.read()
    delays = []
    for _ in range(4):
        delay_s, again = world.timers.pop()
        delays.append(delay_s)
        again()
    assert delays == [0.2, 0.4, 0.8, 1.6]
    assert world.template.starts == 2


def test_pain21_a_template_that_hangs_over_a_request_is_replaced(world: World) -> None:
    world.ask()
    world.now += FORK_LATE_S - 1
    world.check()
    assert not world.lost_
    world.now += 2
    world.timers.clear()
    world.check()
    assert world.lost_ == ["the template died"]
    assert len(world.timers) == 2  # its next start, and the next check


def test_a_fork_that_the_kernel_refuses_is_told_to_who_asked(world: World) -> None:
    world.ask()
    world.say({"id": 1, "error": "Resource temporarily unavailable"})
    assert world.lost_ == ["Resource temporarily unavailable"]
