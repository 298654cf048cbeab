"""A pool's decisions: who gets what, what is taken back, what a death costs. The test plays the executors itself."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any, cast

import pytest

from amqtask.clock import Clock
from amqtask.consume.delivery import Delivery
from amqtask.execute.outcome import Outcome
from amqtask.pool import link
from amqtask.pool import pool as pool_module
from amqtask.pool.handle import ExecutorHandle
from amqtask.pool.plan import PoolPlan
from amqtask.pool.pool import LATE_S, STUCK_S, Pool


class World:
    """A loop, a template and a settler that only write down what they are told, and a clock that is set by hand."""

    def __init__(self, concurrency: int = 2) -> None:
        self.now = 100.0
        self.readers: dict[int, Callable[[], None]] = {}
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.asked: list[ExecutorHandle] = []
        self.done_: list[Delivery] = []
        self.ended_: list[tuple[Delivery, Outcome]] = []
        self.crashes: list[tuple[Delivery, str]] = []
        self.started_: list[Delivery] = []
        self.settle_crashes = False
        self.killed: list[int] = []
        plan = PoolPlan("p", ("q",), "prefork", concurrency, False, None, 1 << 20)
        self.pool = Pool(
            plan, loop=self, forks=self, settles=self, clock=Clock(monotonic=lambda: self.now), backoff_max_s=30.0
        )
        self.pool.start()
        for number, executor in enumerate(list(self.asked)):
            self.pool.forked(executor, 10_000_000 + number)
            self.say(executor, link.pack_hello(10_000_000 + number))

    # what the pool asks of the loop, the template and the settler
    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        self.readers[fd] = callback

    def remove_reader(self, fd: int) -> None:
        del self.readers[fd]

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self.timers.append((delay_s, callback))

    def ask(self, executor: ExecutorHandle, _owner: object) -> None:
        self.asked.append(executor)

    def done(self, delivery: Delivery) -> None:
        self.done_.append(delivery)

    def ended(self, delivery: Delivery, outcome: Outcome) -> None:
        self.ended_.append((delivery, outcome))

    def crashed(self, delivery: Delivery, how: str) -> bool:
        self.crashes.append((delivery, how))
        return self.settle_crashes

    def started(self, delivery: Delivery) -> None:
        self.started_.append(delivery)

    # what the test does
    def offer(self, count: int) -> list[Delivery]:
        new = [delivery(str(n).encode()) for n in range(count)]
        for one in new:
            self.pool.offer(one)
        self.pool.dispatch()
        return new

    def say(self, executor: ExecutorHandle, packet: bytes) -> None:
        executor.far.send(packet)
        self.readers[executor.fileno()]()

    def take(self, executor: ExecutorHandle) -> int:
        packet, _ = link.receive(executor.far, socket.MSG_DONTWAIT)
        return link.handover_of(packet)

    def finish(self, executor: ExecutorHandle, runtime_s: float) -> None:
        self.now += runtime_s
        self.say(executor, link.pack_done(self.take(executor), int(runtime_s * 1e6)))
        self.pool.dispatch()


class _Source:
    queue = "q"
    index = 0


def delivery(body: bytes = b"") -> Delivery:
    return Delivery(cast("Any", _Source()), 1, 1, False, b"\x00\x01q", b"\x00\x00", body)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(pool_module.process, "kill", lambda pid, *_: made.killed.append(pid))
    monkeypatch.setattr(pool_module.process, "kill_session", lambda _pid: None)
    return made


def test_pain20_nothing_waits_behind_a_task_of_unknown_length(world: World) -> None:
    world.offer(5)
    assert [len(executor.outstanding) for executor in world.pool.executors] == [1, 1]
    assert len(world.pool.buffer) == 3


def test_short_tasks_are_handed_over_ahead_of_a_free_slot(world: World) -> None:
    world.offer(100)
    for _ in range(3):
        for executor in world.pool.executors:
            world.finish(executor, 0.0001)
    assert min(len(executor.outstanding) for executor in world.pool.executors) > 5


def test_pain20_what_waits_behind_a_task_that_turns_out_long_is_taken_back_in_order(world: World) -> None:
    offered = world.offer(40)
    first, second = world.pool.executors
    for executor in (first, second, first, second):
        world.finish(executor, 0.0001)
    world.take(first)
    world.take(second)
    world.now += LATE_S * 2
    world.pool.tick()
    world.pool.dispatch()
    assert [len(first.outstanding), len(second.outstanding)] == [1, 1]
    waiting = [int(one.body) for one in world.pool.buffer]
    assert waiting == sorted(waiting)
    assert len(world.done_) + 2 + len(waiting) == len(offered)


def test_k11_only_what_was_taken_is_charged_when_an_executor_dies(world: World) -> None:
    world.offer(40)
    first, second = world.pool.executors
    for executor in (first, second, first, second):
        world.finish(executor, 0.0001)
    running = world.take(first)
    charged = first.outstanding[running]
    held = len(first.outstanding)
    before = len(world.pool.buffer)
    assert world.pool.reaped(first.pid or 0, 9)
    assert world.crashes == [(charged, "SIGKILL")]
    assert len(world.pool.buffer) == before + held
    assert world.pool.buffer[0] is charged
    assert len(world.asked) == 3


def test_k11_an_outcome_that_was_sent_before_the_death_counts(world: World) -> None:
    world.offer(1)
    first = world.pool.executors[0]
    first.far.send(link.pack_done(world.take(first), 10))
    world.pool.reaped(first.pid or 0, 9)
    assert len(world.done_) == 1
    assert world.crashes == []


def test_an_executor_that_dies_without_having_run_anything_is_replaced_with_growing_delays(world: World) -> None:
    delays = []
    for _ in range(4):
        executor = world.pool.executors[-1]
        executor.pid = executor.pid or 1
        world.pool.reaped(executor.pid, 256)
        delay_s, again = world.timers.pop()
        delays.append(delay_s)
        again()
    assert delays == [0.1, 0.2, 0.4, 0.8]


def test_pain21_a_stopped_executor_gives_back_what_it_was_handed_and_is_replaced(world: World) -> None:
    world.offer(2)
    first, second = world.pool.executors
    world.take(second)
    world.now += LATE_S * 2
    world.pool.tick()
    assert not first.outstanding
    assert len(world.pool.buffer) == 1
    assert not first.ready
    world.now += STUCK_S + 1
    world.pool.tick()
    assert world.killed == [first.pid]


def test_an_executor_that_was_only_slow_gets_work_again(world: World) -> None:
    world.offer(2)
    first = world.pool.executors[0]
    world.take(world.pool.executors[1])
    world.now += LATE_S * 2
    world.pool.tick()
    link.receive(first.far, socket.MSG_DONTWAIT)  # the ping
    world.say(first, link.pack_hello(first.pid or 0))
    world.pool.dispatch()
    assert len(first.outstanding) == 1


def test_bodies_over_64_kib_travel_as_memory_files(world: World) -> None:
    world.pool.offer(delivery(b"x" * 1_000_000))
    world.pool.dispatch()
    first = world.pool.executors[0]
    packet, fds = link.receive(first.far, socket.MSG_DONTWAIT)
    assert len(packet) < 100
    *_, route, properties, body = link.unpack_delivery(packet, fds)
    assert (route, properties, body) == (b"\x00\x01q", b"\x00\x00", b"x" * 1_000_000)
    assert not any(os.path.exists(f"/proc/self/fd/{fd}") for fd in fds)


def test_c16_work_that_waits_beside_an_idle_executor_is_a_stall(world: World) -> None:
    world.pool.offer(delivery())
    assert not world.pool.stalled(5.0)
    world.now += 10
    assert world.pool.stalled(5.0)
    world.pool.dispatch()
    world.take(world.pool.executors[0])
    assert not world.pool.stalled(5.0)


def test_early_acknowledgement_is_asked_for_when_a_task_starts(world: World) -> None:
    (one,) = world.offer(1)
    first = world.pool.executors[0]
    world.say(first, link.pack_started(world.take(first)))
    assert world.started_ == [one]
