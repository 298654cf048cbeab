"""How deliveries are settled: dead letters that cannot be published, sessions that are lost at any moment, adoption."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from amqtask.clock import Clock
from amqtask.consume.dead_letter import MAX_PROPERTIES_BYTES
from amqtask.consume.delivery import ACKED, ORPHAN, Delivery
from amqtask.errors import AmqtaskError, ConnectionLost, MessageTooLarge, Unroutable
from amqtask.execute.outcome import Kind, Outcome
from amqtask.node.orphans import KEPT_S, MAX_ENDED, Orphans
from amqtask.node.settler import RETRY_MAX_S, SMALL_BYTES, Settler
from amqtask.wire.content import decode_properties, encode_properties
from amqtask.wire.message import Encoded, Properties

FAILED = Outcome(Kind.FAILED, "failed", "ValueError: no", "Traceback ...", "t")


class Source:
    """A consumer whose channel lives until it is cut."""

    def __init__(self, queue: str = "q") -> None:
        self.queue = queue
        self.flushed: list[int] = []  # those acknowledged when it was last told to write
        self.index = 0
        self.generation = 1
        self.acked: list[int] = []
        self.returned: list[int] = []

    def ack(self, delivery: Delivery) -> bool:
        return self._settle(delivery, self.acked)

    def give_back(self, delivery: Delivery) -> bool:
        return self._settle(delivery, self.returned)

    def flush(self) -> None:
        self.flushed = list(self.acked)

    def _settle(self, delivery: Delivery, into: list[int]) -> bool:
        if delivery.generation != self.generation:
            return False
        into.append(delivery.tag)
        return True


class World:
    """A settler, and what it is connected to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.source = Source()
        self.published: list[tuple[Encoded, Callable[[AmqtaskError | None], None]]] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.missing = 0
        self.settler = Settler(
            node="n",
            loop=self,
            publish=lambda encoded, _exchange, _key, done: self.published.append((encoded, done)),
            dead_letters={"q": "q.dlq"},
            max_crashes=3,
            clock=Clock(monotonic=lambda: self.now),
            on_missing=self.miss,
        )

    def call_later(self, seconds: float, fn: Callable[[], None]) -> None:
        self.timers.append((seconds, fn))

    def miss(self) -> None:
        self.missing += 1

    def delivery(self, tag: int = 1, *, task_id: str = "i", retries: int = 0, redelivered: bool = False) -> Delivery:
        properties = encode_properties(Properties(correlation_id=task_id), {"id": task_id, "retries": retries})
        source = cast("Any", self.source)
        return Delivery(source, source.generation, tag, redelivered, b"\x00\x01q", properties, b"body")

    def cut(self, *running: Delivery) -> None:
        """The session is lost while these run, and there is a new one."""
        self.source.generation += 1
        for one in running:
            self.settler.orphan(one)
        self.settler.lost(None)

    def answer(self, error: AmqtaskError | None) -> None:
        self.published.pop(0)[1](error)


@pytest.fixture
def world() -> World:
    return World()


def test_k14_a_delivery_is_acknowledged_once_its_dead_letter_is_confirmed(world: World) -> None:
    world.settler.ended(world.delivery(), FAILED)
    assert (world.source.acked, world.settler.pending) == ([], 1)
    world.answer(None)
    assert (world.source.acked, world.settler.pending) == ([1], 0)


def test_k14_a_dead_letter_is_tried_again_for_ever_with_growing_pauses(world: World) -> None:
    world.settler.ended(world.delivery(), FAILED)
    pauses = []
    for _ in range(8):
        world.answer(Unroutable("there is no queue 'q.dlq'"))
        pause_s, again = world.timers.pop()
        pauses.append(pause_s)
        again()
    assert pauses == [2, 4, 8, 16, 32, RETRY_MAX_S, RETRY_MAX_S, RETRY_MAX_S]
    assert world.missing == 8
    assert world.source.acked == []
    world.answer(None)
    assert world.source.acked == [1]


def test_k14_a_dead_letter_that_no_frame_takes_goes_with_less(world: World) -> None:
    world.settler.ended(world.delivery(), Outcome(Kind.FAILED, "failed", "E" * 1_000, "T" * 16_000, "t"))
    assert SMALL_BYTES < len(world.published[0][0].properties) < MAX_PROPERTIES_BYTES
    world.answer(MessageTooLarge("a frame here holds 8192"))
    world.timers.pop()[1]()
    letter, _ = world.published[0]
    assert len(letter.properties) <= SMALL_BYTES
    assert decode_properties(letter.properties)[1]["amqtask-reason"] == "failed"
    assert letter.body == b"body"


def test_k22_what_cannot_be_buried_is_given_back_when_the_node_must_end(world: World) -> None:
    world.settler.ended(world.delivery(1), FAILED)
    world.settler.ended(world.delivery(2), FAILED)
    world.answer(ConnectionLost("gone"))
    assert world.settler.give_up() == 2
    assert (world.source.returned, world.settler.pending) == ([1, 2], 0)
    for _, again in world.timers:
        again()
    world.answer(None)
    assert world.published == []
    assert world.source.acked == []


def test_pain6_an_execution_that_comes_back_while_its_dead_letter_is_under_way_is_not_run_again(world: World) -> None:
    one = world.delivery(1)
    world.settler.ended(one, FAILED)
    world.cut()
    assert world.settler.adopts(world.delivery(7, redelivered=True))
    world.answer(None)
    assert world.source.acked == [7]


def test_pain6_one_that_comes_back_after_its_dead_letter_was_confirmed_is_acknowledged(world: World) -> None:
    world.settler.ended(world.delivery(1), FAILED)
    world.cut()
    world.answer(None)
    assert world.settler.adopts(world.delivery(7, redelivered=True))
    assert world.source.acked == [7]
    assert not world.published


def test_pain6_a_failure_that_ended_without_a_session_is_buried_with_the_body_that_came_back(world: World) -> None:
    one = world.delivery(1)
    world.cut(one)
    world.settler.ended(one, FAILED)
    assert not world.published
    assert world.settler.adopts(world.delivery(7, redelivered=True))
    letter, _ = world.published[0]
    assert letter.body == b"body"
    world.answer(None)
    assert world.source.acked == [7]


def test_pain6_what_runs_is_adopted_once_and_settled_by_the_new_tag(world: World) -> None:
    one = world.delivery(1)
    world.cut(one)
    assert not world.settler.adopts(world.delivery(6))  # not flagged: another message
    assert not world.settler.adopts(world.delivery(6, retries=1, redelivered=True))
    assert world.settler.adopts(world.delivery(7, redelivered=True))
    assert not world.settler.adopts(world.delivery(8, redelivered=True))
    world.settler.done(one)
    assert world.source.acked == [7]


def test_pain6_two_messages_with_one_id_are_two_orphans(world: World) -> None:
    first, second = world.delivery(1), world.delivery(2)
    world.cut(first, second)
    world.settler.done(second)
    assert world.settler.adopts(world.delivery(8, redelivered=True))
    assert world.settler.adopts(world.delivery(7, redelivered=True))
    assert not world.settler.adopts(world.delivery(9, redelivered=True))
    world.settler.done(first)
    assert sorted(world.source.acked) == [7, 8]


def test_pain6_an_orphan_stays_one_over_two_cuts(world: World) -> None:
    one = world.delivery(1)
    world.cut(one)
    world.cut(one)
    world.settler.done(one)
    assert world.settler.adopts(world.delivery(7, redelivered=True))
    assert world.source.acked == [7]
    assert not world.settler.adopts(world.delivery(8, redelivered=True))


def test_k11_an_orphan_whose_process_dies_runs_again_when_it_comes_back(world: World) -> None:
    one = world.delivery(1)
    world.cut(one)
    assert world.settler.crashed(one, "SIGKILL")
    assert not world.settler.adopts(world.delivery(7, redelivered=True))


@pytest.mark.parametrize("dies", [False, True])
def test_k11_a_task_that_began_early_without_a_session_is_acknowledged_when_it_comes_back(
    world: World, dies: bool
) -> None:
    one = world.delivery(1)
    world.cut(one)
    world.settler.started(one)
    if dies:
        assert world.settler.crashed(one, "SIGKILL")
    assert world.settler.adopts(world.delivery(7, redelivered=True))
    assert world.source.acked == [7]
    if not dies:
        assert one.generation == ACKED
        assert world.settler.crashed(one, "SIGKILL"), "it must not run a second time"


def test_pain23_orphans_that_ended_are_kept_without_their_bodies_for_a_time_and_in_a_number(world: World) -> None:
    orphans = Orphans(Clock(monotonic=lambda: world.now))
    many = [world.delivery(n, task_id=f"{n}") for n in range(MAX_ENDED + 5)]
    for one in many:
        one.generation = ORPHAN
        orphans.add(one)
        orphans.ended(one, FAILED)
    assert len(orphans) == MAX_ENDED
    assert not any(one.body for one in many)
    assert orphans.take(world.delivery(task_id="0", redelivered=True)) is None
    assert orphans.take(world.delivery(task_id="5", redelivered=True)) is many[5]
    world.now += KEPT_S + 1
    orphans.sweep()
    assert not orphans


def test_pain23_the_look_at_old_orphans_ends_with_the_last_of_them(world: World) -> None:
    one = world.delivery(1)
    world.cut(one)
    world.settler.done(one)
    world.now += KEPT_S + 1
    assert len(world.timers) == 1
    world.timers.pop()[1]()
    assert not world.timers


def test_pain6_what_cannot_be_recognised_is_not_kept(world: World) -> None:
    one = world.delivery(1)
    one.properties = b"\x20\x00\xff"
    world.cut(one)
    world.settler.done(one)
    again = world.delivery(2, redelivered=True)
    again.properties = one.properties
    assert not world.settler.adopts(again)
