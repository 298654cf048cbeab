"""One outcome, told once to each who asks, whenever they ask."""

from __future__ import annotations

import asyncio
import threading

import pytest

from amqtask.clock import SYSTEM
from amqtask.errors import AmqtaskError, Fate, PublishUncertain, Unroutable
from amqtask.publish.confirmation import OVERDUE_S, Confirmation


def fresh(deadline_s: float = 5.0) -> Confirmation:
    return Confirmation("id", deadline=SYSTEM.monotonic() + deadline_s)


def test_k08_result_is_the_id_or_the_error() -> None:
    good, bad = fresh(), fresh()
    assert (good.done(), good.error, good.fate) == (False, None, None)
    good.settle(None)
    bad.settle(Unroutable("nowhere", message_id="id"))
    assert (good.result(), good.done(), good.fate) == ("id", True, None)
    assert bad.fate is Fate.UNROUTABLE
    for _ in range(2):
        with pytest.raises(Unroutable):
            bad.result()


def test_k08_only_the_first_outcome_counts() -> None:
    confirmation = fresh()
    confirmation.settle(None)
    confirmation.settle(Unroutable("late"))
    assert confirmation.result() == "id"


def test_timeout_ends_the_wait_and_not_the_send() -> None:
    confirmation = fresh()
    assert confirmation.wait(0) is False
    with pytest.raises(TimeoutError):
        confirmation.result(0.001)
    confirmation.settle(None)
    assert confirmation.result(0) == "id"


def test_pain10_a_wait_without_an_io_thread_ends_by_itself() -> None:
    confirmation = fresh(-OVERDUE_S)
    with pytest.raises(PublishUncertain):
        confirmation.result()


def test_many_threads_wait_for_one_outcome() -> None:
    confirmation = fresh()
    seen: list[str] = []
    ready = threading.Barrier(9)

    def work() -> None:
        ready.wait()
        seen.append(confirmation.result())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    ready.wait()
    confirmation.settle(None)
    for thread in threads:
        thread.join(5)
    assert seen == ["id"] * 8


def test_callbacks_are_called_once_before_and_after_and_may_fail() -> None:
    confirmation = fresh()
    calls: list[tuple[str, AmqtaskError | None]] = []
    confirmation.add_done_callback(lambda done: calls.append(("first", done.error)))
    confirmation.add_done_callback(lambda done: 1 / 0)
    confirmation.add_done_callback(lambda done: calls.append(("second", done.error)))
    assert calls == []
    confirmation.settle(None)
    confirmation.add_done_callback(lambda done: calls.append(("after", done.error)))
    assert calls == [("first", None), ("second", None), ("after", None)]


def test_await_gives_what_result_gives() -> None:
    async def work() -> None:
        good, bad, done = fresh(), fresh(), fresh()
        done.settle(None)
        loop = asyncio.get_running_loop()
        loop.call_soon(good.settle, None)
        loop.call_soon(bad.settle, Unroutable("nowhere"))
        assert [await good, await good, await done] == ["id"] * 3
        with pytest.raises(Unroutable):
            await bad

    asyncio.run(work())


def test_a_cancelled_await_leaves_the_send_alone() -> None:
    async def work() -> None:
        confirmation = fresh()

        async def wait() -> str:
            return await confirmation

        waiter = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.sleep(0)
        confirmation.settle(None)
        await asyncio.sleep(0)
        assert waiter.cancelled()
        assert await confirmation == "id"

    asyncio.run(work())


def test_an_outcome_after_the_event_loop_is_closed_is_no_error() -> None:
    confirmation = fresh()

    async def begin() -> None:
        async def wait() -> str:
            return await confirmation

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(begin())
    confirmation.settle(None)
    assert confirmation.result() == "id"
