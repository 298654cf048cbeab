"""A pool's decisions: who gets what, what is taken back, what a death costs. The test plays the executors itself."""

from __future__ import annotations

import os
import socket

from amqtask.pool import link
from amqtask.pool.pool import LATE_S, STUCK_S
from tests.unit.pool.world import World, delivery


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
