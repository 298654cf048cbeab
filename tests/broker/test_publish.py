"""Published means safe: each send ends with the broker's ack or with an error that says what became of the message."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from amqtask.errors import (
    AccessRefused,
    AmqtaskError,
    BatchFailed,
    ConnectionLost,
    Fate,
    MessageTooLarge,
    PublishRefused,
    TopologyError,
    Unroutable,
)
from amqtask.publish.publisher import Outgoing
from amqtask.transport.probe import QueueState
from tests.support.publishing import message, publishing
from tests.support.rabbit import Rabbit
from tests.support.raw import Raw, drain


def ids(url: str, queue: str) -> list[str | None]:
    return [found.correlation_id for found in drain(url, queue)]


def test_k08_confirmed_means_in_the_queue_and_persistent(vhost_url: str) -> None:
    with Raw(vhost_url) as raw, publishing(vhost_url) as publisher:
        raw.declare_queue("q")
        sent = message(b"hello")
        assert publisher.publish(sent, exchange="", routing_key="q").result() == sent.id
        found = raw.get("q")
    assert found is not None
    assert (found.correlation_id, found.body) == (sent.id, b"hello")
    assert found.fields["delivery_mode"] == 2


@pytest.mark.parametrize("size", [0, 1, 131064, 131065, 300_000])
def test_k08_bodies_around_the_frame_size_arrive_whole(vhost_url: str, size: int) -> None:
    body = os.urandom(size)
    with Raw(vhost_url) as raw, publishing(vhost_url) as publisher:
        raw.declare_queue("q")
        publisher.publish(message(body), exchange="", routing_key="q").result()
        found = raw.get("q")
    assert found is not None
    assert found.body == body


def test_k09_unroutable_is_an_error(vhost_url: str) -> None:
    with Raw(vhost_url) as raw, publishing(vhost_url) as publisher:
        raw.declare_queue("here")
        raw.declare_exchange("topics", "topic")
        raw.bind("here", "topics", "a.*")
        publisher.publish(message(), exchange="topics", routing_key="a.b").result()
        for exchange, key in (("", "nowhere"), ("topics", "b.a")):
            with pytest.raises(Unroutable, match=key) as caught:
                publisher.publish(message(), exchange=exchange, routing_key=key).result()
            assert caught.value.fate is Fate.UNROUTABLE
        raw.delete_queue("here")
        with pytest.raises(Unroutable, match="here"):
            publisher.publish(message(), exchange="", routing_key="here").result()


def test_k09_an_alternate_exchange_takes_what_nobody_else_does(vhost_url: str) -> None:
    with Raw(vhost_url) as raw, publishing(vhost_url) as publisher:
        raw.declare_queue("rest")
        raw.declare_exchange("spare", "fanout")
        raw.bind("rest", "spare")
        raw.declare_exchange("first", "direct", arguments={"alternate-exchange": "spare"})
        publisher.publish(message(), exchange="first", routing_key="unbound").result()
        assert raw.count("rest") == 1


def test_k09_in_bulk_each_unroutable_one_is_named_and_no_other(vhost_url: str) -> None:
    with Raw(vhost_url) as raw, publishing(vhost_url) as publisher:
        raw.declare_queue("q")
        items = [Outgoing(message(), "", "q" if at % 7 else "nowhere") for at in range(2000)]
        with pytest.raises(BatchFailed) as caught:
            publisher.publish_many(items)
        assert sorted(caught.value.failures) == list(range(0, 2000, 7))
        assert {type(error) for error in caught.value.failures.values()} == {Unroutable}
        assert ids(vhost_url, "q") == [item.message.id for at, item in enumerate(items) if at % 7]


def test_k09_equal_messages_are_told_apart_by_order(vhost_url: str) -> None:
    same = message()
    with Raw(vhost_url) as raw, publishing(vhost_url) as publisher:
        raw.declare_queue("q")
        items = [Outgoing(same, "", "nowhere"), Outgoing(same, "", "q"), Outgoing(same, "", "nowhere")]
        with pytest.raises(BatchFailed) as caught:
            publisher.publish_many(items)
        assert sorted(caught.value.failures) == [0, 2]
        assert raw.count("q") == 1


def test_k08_full_reject_publish_queue_refuses(vhost_url: str) -> None:
    with Raw(vhost_url) as raw, publishing(vhost_url) as publisher:
        raw.declare_queue("small", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        publisher.publish(message(), exchange="", routing_key="small").result()
        with pytest.raises(PublishRefused, match="small") as caught:
            publisher.publish(message(), exchange="", routing_key="small").result()
        assert caught.value.fate is Fate.REFUSED
        assert raw.count("small") == 1


def test_k09_missing_exchange_ends_its_own_messages_only(vhost_url: str) -> None:
    with Raw(vhost_url) as raw, publishing(vhost_url) as publisher:
        raw.declare_queue("q")
        items = [
            Outgoing(message(), "gone" if at % 100 == 50 else "", "gone" if at % 100 == 50 else "q")
            for at in range(1000)
        ]
        with pytest.raises(BatchFailed) as caught:
            publisher.publish_many(items)
        assert sorted(caught.value.failures) == list(range(50, 1000, 100))
        assert {type(error) for error in caught.value.failures.values()} == {Unroutable}
        # Those in flight when the broker closed the channel were sent again: none is missing, some may be there twice.
        assert set(ids(vhost_url, "q")) == {item.message.id for item in items if item.exchange == ""}


def test_k08_a_message_that_the_broker_closes_the_channel_over_is_found_among_many(vhost_url: str) -> None:
    with Raw(vhost_url) as raw, publishing(vhost_url) as publisher:
        raw.declare_queue("q")
        items = [Outgoing(message(user_id="somebody") if at == 30 else message(), "", "q") for at in range(60)]
        with pytest.raises(BatchFailed) as caught:
            publisher.publish_many(items)
        assert list(caught.value.failures) == [30]
        assert isinstance(caught.value.failures[30], PublishRefused)
        assert set(ids(vhost_url, "q")) == {item.message.id for at, item in enumerate(items) if at != 30}


def test_k08_our_size_limit_is_checked_before_a_byte_is_sent(vhost_url: str) -> None:
    with publishing("amqp://127.0.0.1:1/", publish={"max_body_bytes": 100}) as publisher:
        with pytest.raises(MessageTooLarge) as caught:
            publisher.publish(message(b"x" * 101), exchange="", routing_key="q")
        assert caught.value.fate is Fate.NOT_SENT
    with Raw(vhost_url) as raw, publishing(vhost_url, publish={"max_body_bytes": 100}) as publisher:
        raw.declare_queue("q")
        items = [Outgoing(message(b"x" * size), "", "q") for size in (100, 101, 99)]
        with pytest.raises(BatchFailed) as failed:
            publisher.publish_many(items)
        assert list(failed.value.failures) == [1]
        assert raw.count("q") == 2


def test_k10_wrong_password_and_vhost_are_refused_at_once(broker: Rabbit, vhost: str) -> None:
    for url in (broker.url(vhost).replace("guest:guest", "guest:hunter2"), broker.url("no-such-vhost")):
        began = time.monotonic()
        with publishing(url) as publisher:
            with pytest.raises(AccessRefused) as caught:
                publisher.publish(message(), exchange="", routing_key="q").result()
            with pytest.raises(AccessRefused):
                publisher.publish(message(), exchange="", routing_key="q").result()
        assert caught.value.fate is Fate.NOT_SENT
        assert "hunter2" not in str(caught.value)
        assert time.monotonic() - began < 3


def test_k10_no_write_permission_is_access_refused(broker: Rabbit, vhost: str) -> None:
    broker.api("PUT", "users/reader", {"password": "pw", "tags": ""})
    broker.api("PUT", f"permissions/{vhost}/reader", {"configure": "", "write": "^open$", "read": ".*"})
    with Raw(broker.url(vhost)) as raw:
        raw.declare_queue("q")
        raw.declare_exchange("open")
        raw.bind("q", "open", "q")
    with publishing(broker.url(vhost).replace("guest:guest", "reader:pw")) as publisher:
        with pytest.raises(AccessRefused) as caught:
            publisher.publish(message(), exchange="", routing_key="q").result()
        assert caught.value.fate is Fate.REFUSED
        publisher.publish(message(), exchange="open", routing_key="q").result()


def test_c04_a_sender_can_see_whether_anybody_consumes(vhost_url: str) -> None:
    with Raw(vhost_url) as raw, publishing(vhost_url) as publisher:
        raw.declare_queue("q")
        raw.publish("q", b"x")
        assert publisher.probe("q") == QueueState(ready=1, consumers=0)
        with pytest.raises(TopologyError, match="nowhere"):
            publisher.probe("nowhere")
    with publishing("amqp://127.0.0.1:1/") as publisher, pytest.raises(ConnectionLost):
        publisher.probe("q", timeout_s=0.3)


def test_k08_confirmation_is_awaitable_and_calls_back(vhost_url: str) -> None:
    with Raw(vhost_url) as raw, publishing(vhost_url) as publisher:
        raw.declare_queue("q")

        async def send() -> list[object]:
            good = [publisher.publish(message(), exchange="", routing_key="q") for _ in range(50)]
            bad = publisher.publish(message(), exchange="", routing_key="nowhere")
            return await asyncio.gather(*good, bad, return_exceptions=True)

        outcomes = asyncio.run(send())
        assert all(isinstance(outcome, str) for outcome in outcomes[:50])
        assert isinstance(outcomes[50], Unroutable)
        called = threading.Event()
        confirmation = publisher.publish(message(), exchange="", routing_key="q")
        confirmation.add_done_callback(lambda _: 1 / 0)  # logged, and harms nobody
        confirmation.add_done_callback(lambda _: called.set())
        assert called.wait(5)
        assert raw.count("q") == 51


def test_k10_one_connection_for_all_threads(vhost_url: str, broker: Rabbit, vhost: str) -> None:
    failures: list[AmqtaskError] = []

    def work() -> None:
        try:
            for _ in range(50):
                publisher.publish(message(), exchange="", routing_key="q").result()
        except AmqtaskError as error:
            failures.append(error)

    with Raw(vhost_url) as raw, publishing(vhost_url) as publisher:
        raw.declare_queue("q")
        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        connections = broker.ctl("list_connections", "-s", "vhost", "client_properties")
        assert failures == []
        assert raw.count("q") == 800
    assert sum("amqtask publisher" in line and vhost in line for line in connections.splitlines()) == 1


def in_a_child(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of its own: forking this one, with its threads, would be another test."""
    program = textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60)


def test_k10_pain16_fork_before_and_after_publishing(vhost_url: str) -> None:
    with Raw(vhost_url) as raw:
        raw.declare_queue("q")
        done = in_a_child(
            """
            import gc, os, sys
            from tests.support.publishing import message, publishing
            with publishing(sys.argv[1]) as p:
                def send(n):
                    for _ in range(n):
                        p.publish(message(), exchange="", routing_key="q").result()
                def child(n):
                    pid = os.fork()
                    if pid == 0:
                        try:
                            send(n)
                            gc.collect()
                            p.close()
                        finally:
                            os._exit(0 if sys.exc_info()[0] is None else 1)
                    return pid
                pids = [child(5)]       # before the first publish
                send(5)
                pids += [child(5), child(5)]
                send(5)                 # while the children are at work
                codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
                send(5)                 # after they have gone
                print(codes)
            """,
            vhost_url,
        )
        assert (done.returncode, done.stdout.strip()) == (0, "[0, 0, 0]"), done.stderr
        assert raw.count("q") == 30


def test_pain16_a_fork_does_not_disturb_the_parents_connection(vhost_url: str) -> None:
    with Raw(vhost_url) as raw:
        raw.declare_queue("q")
        done = in_a_child(
            """
            import os, sys
            from tests.support.publishing import message, publishing
            # A long heartbeat, so that no timer wakes a thread that a fork has made deaf.
            with publishing(sys.argv[1], broker={"heartbeat_s": 60}) as p:
                def send():
                    p.publish(message(), exchange="", routing_key="q", deadline_s=1.5).result()
                send()
                before = p._sender._connector.session
                for _ in range(5):
                    pid = os.fork()
                    if pid == 0:
                        os._exit(0)
                    os.waitpid(pid, 0)
                    send()
                print(p._sender._connector.session is before and before.is_open)
            """,
            vhost_url,
        )
    assert (done.stdout.strip(), done.stderr) == ("True", "")


def test_k08_the_end_of_the_program_sends_what_is_under_way(vhost_url: str) -> None:
    with Raw(vhost_url) as raw:
        raw.declare_queue("q")
        done = in_a_child(
            """
            import sys
            from amqtask.publish.publisher import Publisher
            from tests.support.publishing import message, settings_for
            p = Publisher(settings_for(sys.argv[1]))
            for _ in range(2000):
                p.publish(message(), exchange="", routing_key="q")
            """,
            vhost_url,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert raw.count("q") == 2000


def test_k08_after_close_nothing_is_sent(vhost_url: str) -> None:
    with Raw(vhost_url) as raw, publishing(vhost_url) as publisher:
        raw.declare_queue("q")
        confirmation = publisher.publish(message(), exchange="", routing_key="q")
        publisher.close()
        assert confirmation.result()
        with pytest.raises(ConnectionLost):
            publisher.publish(message(), exchange="", routing_key="q")
        publisher.close()


def test_s26_without_retry_a_missing_broker_is_said_at_once() -> None:
    began = time.monotonic()
    with publishing("amqp://127.0.0.1:1/") as publisher, pytest.raises(ConnectionLost) as caught:
        publisher.publish(message(), exchange="", routing_key="q", retry=False).result()
    assert caught.value.fate is Fate.NOT_SENT
    assert time.monotonic() - began < 1
