"""A pool at its edges: no executors, executors that never speak, a kernel that has nothing to give."""

from __future__ import annotations

import errno
import os

import pytest

from amqtask.pool import link
from amqtask.pool import pool as pool_module
from amqtask.pool.handle import ExecutorHandle
from amqtask.pool.pool import BOOT_S, HELLO_S, HOLD_S, LATE_S, STEADY_S, STUCK_S
from tests.unit.pool.world import World, delivery


def test_pain21_a_pool_of_short_tasks_without_any_executor_waits_for_one(world: World) -> None:
    world.offer(20)
    while world.pool.running:
        for executor in world.pool.executors:
            if executor.outstanding:
                world.finish(executor, 0.0001)
    for executor in list(world.pool.executors):
        world.pool.reaped(executor.pid or 0, 9)
    for executor in list(world.pool.executors):
        executor.pid = executor.pid or -1
        world.pool.lost(executor, "no process")
    assert not world.pool.executors
    world.offer(5)
    assert len(world.pool.buffer) == 5
    assert world.pool.full


def test_pain21_an_executor_that_never_says_hello_is_replaced(world: World) -> None:
    world.pool.reaped(world.pool.executors[0].pid or 0, 9)
    _, again = world.timers.pop()
    again()
    mute = world.asked[-1]
    world.pool.forked(mute, 4711)
    world.now += HELLO_S - 1
    world.pool.tick()
    assert world.killed == []
    world.now += 2
    world.pool.tick()
    assert world.killed == [4711]


def test_executors_that_say_hello_and_die_at_once_are_replaced_with_growing_delays(world: World) -> None:
    delays = []
    for number in range(4):
        executor = world.pool.executors[-1]
        world.pool.reaped(executor.pid or 0, 9)
        delay_s, again = world.timers.pop()
        delays.append(delay_s)
        again()
        world.say(world.asked[-1], link.pack_hello(100 + number))
    assert delays == [0.1, 0.2, 0.4, 0.8]
    world.now += STEADY_S + 1
    world.pool.reaped(world.pool.executors[-1].pid or 0, 9)
    assert not world.timers


def test_pain20_what_waits_for_executors_that_are_being_made_is_for_others(world: World) -> None:
    for executor in list(world.pool.executors):
        world.pool.reaped(executor.pid or 0, 9)
    for _, again in world.timers:
        again()
    world.offer(1)
    world.now += BOOT_S / 2
    assert not world.pool.full
    world.now += BOOT_S
    assert world.pool.full
    assert not world.pool.idle_slots
    world.say(world.asked[-1], link.pack_hello(99))
    assert not world.pool.full
    assert world.pool.idle_slots == 1


def test_pain20_a_pool_at_long_tasks_is_full_only_if_something_waits(world: World) -> None:
    world.offer(2)
    for executor in world.pool.executors:
        world.take(executor)
    world.now += HOLD_S * 2
    assert not world.pool.full
    world.pool.offer(delivery())
    assert world.pool.full


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ETOOMANYREFS, errno.ENOMEM])
def test_what_the_kernel_has_no_room_for_waits_for_the_next_turn(
    world: World, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(_content: bytes) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(link, "memory_file", refuse)
        world.pool.offer(delivery(b"x" * 100_000))
        world.pool.dispatch()
        world.pool.dispatch()
    assert len(world.pool.buffer) == 1
    assert not world.pool.running
    world.pool.dispatch()
    assert world.pool.running == 1


def test_an_executor_that_cannot_be_made_for_want_of_descriptors_is_made_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_started_at: float) -> ExecutorHandle:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(pool_module, "ExecutorHandle", refuse)
        world.offer(1)
        first = world.pool.executors[0]
        world.take(first)
        world.pool.reaped(first.pid or 0, 9)
    assert len(world.pool.executors) == 1
    _, again = world.timers.pop()
    again()
    assert len(world.pool.executors) == 2


def test_pain21_an_executor_that_was_stopped_hears_the_ping_though_its_tasks_were_taken_back_twice(
    world: World,
) -> None:
    world.offer(2)
    first = world.pool.executors[0]
    world.take(world.pool.executors[1])
    world.now += LATE_S * 2
    world.pool.tick()
    world.pool.take_back()
    assert first.far.recv(100) == bytes([link.PING])
    world.say(first, link.pack_hello(first.pid or 0))
    world.now += STUCK_S * 2
    world.pool.tick()
    assert world.killed == []


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x00",
        b"\xffgarbage",
        bytes([link.DONE]) + b"short",
        bytes([link.OUTCOME]) + b"\x00" * 8 + b"no json",
        bytes([link.OUTCOME]) + b"\x00" * 8 + b"[1]",
        bytes([link.OUTCOME]) + b"\x00" * 8 + b'{"kind": "unheard of"}',
        bytes([link.HELLO]) + b"x",
    ],
    ids=repr,
)
def test_an_executor_that_speaks_nonsense_ends_alone(world: World, packet: bytes) -> None:
    world.offer(1)
    first = world.pool.executors[0]
    running = world.take(first)
    world.say(first, packet)
    assert world.killed == [first.pid]
    assert first.fileno() not in world.readers, "an end of file would wake the loop for ever"
    world.pool.reaped(first.pid or 0, 9)
    assert [one.handover for one, _ in world.crashes] == [running]
