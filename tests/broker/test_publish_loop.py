"""The loop, with real descriptors: hooks after each turn, failures that come out, and a fork that leaves it alone."""

from __future__ import annotations

import os
import threading
import time

import pytest

from amqtask.errors import ConnectionLost
from amqtask.publish.lane import Lane
from amqtask.transport.loop import Loop
from tests.support.publishing import message, publishing
from tests.support.raw import Raw


def test_hooks_run_after_what_the_turn_did_and_the_transports_last() -> None:
    loop, log = Loop(), []
    loop.after_iteration(lambda: log.append("write"), last=True)
    loop.after_iteration(lambda: log.append("batch"))
    loop.call_soon(lambda: (log.append("work"), loop.stop()))
    loop.run()
    loop.close()
    assert log[-3:] == ["work", "batch", "write"]


def test_a_hook_can_be_removed_by_another() -> None:
    loop, log = Loop(), []

    def second() -> None:
        log.append("second")

    def first() -> None:
        log.append("first")
        loop.remove_after_iteration(second)
        loop.remove_after_iteration(second)
        loop.stop()

    loop.after_iteration(first)
    loop.after_iteration(second)
    loop.call_soon(lambda: None)
    loop.run()
    loop.close()
    assert log.count("first") == 1


def test_descriptors_timers_and_other_threads_reach_it() -> None:
    loop, log = Loop(), []
    read, write = os.pipe()

    def readable() -> None:
        log.append(os.read(read, 10))
        loop.remove_reader(read)
        loop.stop()

    loop.add_reader(read, readable)
    cancelled = loop.call_later(0, lambda: log.append("never"))
    cancelled.cancel()
    cancelled.cancel()
    timer = loop.call_later(0.01, lambda: log.append("timer"))
    thread = threading.Timer(0.1, lambda: loop.call_soon_threadsafe(lambda: os.write(write, b"x")))
    thread.start()
    loop.run()
    thread.join()
    loop.close()
    os.close(read)
    os.close(write)
    assert log == ["timer", b"x"]
    assert not timer.active


@pytest.mark.parametrize("how", ["timer", "hook", "reader", "fail"])
def test_what_a_handler_raises_comes_out_of_run(how: str) -> None:
    def boom() -> None:
        raise ZeroDivisionError(how)

    loop = Loop()
    read, write = os.pipe()
    os.write(write, b"x")
    if how == "timer":
        loop.call_later(0, boom)
    elif how == "hook":
        loop.after_iteration(boom)
        loop.call_soon(lambda: None)
    elif how == "reader":
        loop.add_reader(read, boom)
    else:
        loop.call_soon(lambda: loop.fail(ZeroDivisionError(how)))
    with pytest.raises(ZeroDivisionError, match=how):
        loop.run()
    loop.remove_reader(read)
    loop.close()
    os.close(read)
    os.close(write)


def test_k10_a_bug_in_a_handler_is_heard_and_the_next_send_has_a_new_thread(
    vhost_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Lane, tag: int, multiple: bool) -> None:
        raise ZeroDivisionError("a bug")

    with Raw(vhost_url) as raw, publishing(vhost_url) as publisher:
        raw.declare_queue("q")
        publisher.publish(message(), exchange="", routing_key="q").result()
        with monkeypatch.context() as patched:
            patched.setattr(Lane, "on_ack", broken)
            began = time.monotonic()
            with pytest.raises(Exception, match="a bug"):
                publisher.publish(message(), exchange="", routing_key="q").result()
            assert time.monotonic() - began < 2
        assert "publisher.thread_failed" in caplog.text
        publisher.publish(message(), exchange="", routing_key="q").result()
    with pytest.raises(ConnectionLost):
        publisher.publish(message(), exchange="", routing_key="q")
