"""Publishing while the way to the broker breaks: nothing accepted is lost, all else ends in time and by name."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from amqtask.errors import (
    AmqtaskError,
    BatchFailed,
    BrokerBlocked,
    ConnectionLost,
    Fate,
    MessageTooLarge,
    PublishUncertain,
)
from amqtask.publish.publisher import Outgoing, Publisher
from amqtask.wire.message import Encoded
from tests.conftest import OwnBroker, ProxyTo
from tests.support.proxy import Proxy
from tests.support.publishing import message, publishing
from tests.support.rabbit import Rabbit
from tests.support.raw import Raw, drain

GRACE_S = 0.5
THREADS = 64
PER_THREAD = 2000
CUTS = 20


class Cutter:
    """Cuts every link of a proxy, `CUTS` times, spread over the progress of the work."""

    def __init__(self, proxy: Proxy, progress: Callable[[], int], total: int) -> None:
        self.made = 0
        self._proxy = proxy
        self._progress = progress
        self._marks = [total * (number + 1) // (CUTS + 2) for number in range(CUTS)]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for mark in self._marks:
            while self._progress() < mark:
                time.sleep(0.005)
            # Half of them in the middle of what is on its way, wherever that happens to be.
            if self.made % 2:
                self._proxy.cut_after(7 + 991 * self.made).wait(10)
            else:
                self._proxy.cut()
            self.made += 1

    def join(self) -> None:
        self._thread.join(30)


def judge(accepted: set[str], failed: dict[str, AmqtaskError], url: str) -> Counter[str]:
    """The promise: what was accepted is there, and what is there was accepted or is listed as uncertain."""
    found = Counter(str(item.correlation_id) for item in drain(url, "q"))
    uncertain = {name for name, error in failed.items() if getattr(error, "fate", None) is Fate.UNCERTAIN}
    assert accepted <= set(found), f"{len(accepted - set(found))} accepted and lost"
    assert set(found) <= accepted | uncertain, "found though its send said that it cannot be there"
    assert {type(error) for error in failed.values()} <= {PublishUncertain, ConnectionLost}
    return found


def test_k08_pain2_pain16_64_threads_through_20_cuts(broker: Rabbit, vhost: str, proxy: Proxy) -> None:
    url = broker.url(vhost)
    accepted: list[set[str]] = [set() for _ in range(THREADS)]
    failed: dict[str, AmqtaskError] = {}
    slowest = [0.0] * THREADS
    deadline_s = 5.0

    def work(number: int) -> None:
        for _ in range(PER_THREAD):
            sent = message()
            began = time.monotonic()
            try:
                accepted[number].add(publisher.publish(sent, exchange="", routing_key="q").result())
            except AmqtaskError as error:
                failed[sent.id] = error
            slowest[number] = max(slowest[number], time.monotonic() - began)

    with Raw(url) as raw:
        raw.declare_queue("q")
    with publishing(broker.url(vhost, port=proxy.port), publish={"deadline_s": deadline_s}) as publisher:
        cutter = Cutter(proxy, lambda: sum(map(len, accepted)), THREADS * PER_THREAD)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(240)
        cutter.join()
    assert cutter.made == CUTS
    taken = set[str]().union(*accepted)
    assert len(taken) + len(failed) == THREADS * PER_THREAD
    assert max(slowest) < deadline_s + GRACE_S
    judge(taken, failed, url)


def test_k08_pain2_bulk_send_through_20_cuts(broker: Rabbit, vhost: str, proxy: Proxy) -> None:
    url = broker.url(vhost)
    total = THREADS * PER_THREAD
    made: list[str] = []

    def items() -> Iterator[Outgoing]:
        for _ in range(total):
            sent = message()
            made.append(sent.id)
            yield Outgoing(sent, "", "q")

    with Raw(url) as raw:
        raw.declare_queue("q")
    failures: dict[int, AmqtaskError] = {}
    with publishing(broker.url(vhost, port=proxy.port)) as publisher:
        cutter = Cutter(proxy, lambda: len(made), total)
        try:
            publisher.publish_many(items())
        except BatchFailed as error:
            failures = error.failures
        cutter.join()
    assert cutter.made == CUTS
    failed = {made[position]: error for position, error in failures.items()}
    judge(set(made) - set(failed), failed, url)


def test_fault20_cut_all_along_the_bytes_of_a_publish(broker: Rabbit, vhost: str, proxy: Proxy) -> None:
    url = broker.url(vhost)
    with Raw(url) as raw, publishing(broker.url(vhost, port=proxy.port)) as publisher:
        raw.declare_queue("q")
        publisher.publish(message(), exchange="", routing_key="q").result()
        before = proxy.bytes_up
        publisher.publish(message(), exchange="", routing_key="q").result()
        length = proxy.bytes_up - before
        raw.purge("q")
        sent = []
        for count in range(1, length + 1, 5):
            happened = proxy.cut_after(count, direction="up", reset=count % 2 == 0)
            sent.append(publisher.publish(message(), exchange="", routing_key="q").result())
            assert happened.wait(1)
        found = Counter(str(item.correlation_id) for item in raw.drain("q"))
    assert set(found) == set(sent)
    assert max(found.values()) <= 2  # the broker may have had it before the cut: sent again under the same id


def timed(send: Callable[[], object]) -> tuple[AmqtaskError, float]:
    began = time.monotonic()
    with pytest.raises(AmqtaskError) as caught:
        send()
    return caught.value, time.monotonic() - began


def single(publisher: Publisher, sent: Encoded | None = None) -> tuple[AmqtaskError, float]:
    return timed(lambda: publisher.publish(sent or message(), exchange="", routing_key="q").result())


def test_pain10_stopped_broker_is_connection_lost_in_time(own_broker: OwnBroker) -> None:
    node = own_broker()
    url = node.add_vhost("stopped")
    with Raw(url) as raw:
        raw.declare_queue("q")
    with publishing(url, publish={"deadline_s": 1.0}) as publisher:
        publisher.publish(message(), exchange="", routing_key="q").result()
        node.stop()
        for _ in range(2):
            error, took_s = single(publisher)
            assert isinstance(error, ConnectionLost)
            assert error.fate is Fate.NOT_SENT
            assert took_s < 1.0 + GRACE_S
        error, took_s = timed(lambda: publisher.publish_many(Outgoing(message(), "", "q") for _ in range(20)))
        assert isinstance(error, BatchFailed)
        assert {type(one) for one in error.failures.values()} == {ConnectionLost}
        assert took_s < 1.0 + GRACE_S
        node.start()
        publisher.publish(message(), exchange="", routing_key="q", deadline_s=20).result()


def test_pain10_fault22_blocked_broker_is_named_and_comes_back(own_broker: OwnBroker) -> None:
    node = own_broker()
    url = node.add_vhost("blocked")
    with Raw(url) as raw:
        raw.declare_queue("q")
        with publishing(url, publish={"deadline_s": 1.0}) as publisher:
            publisher.publish(message(), exchange="", routing_key="q").result()
            node.block()
            written = message()
            error, took_s = single(publisher, written)  # the broker says "blocked" when it sees this one
            assert isinstance(error, BrokerBlocked)
            assert error.fate is Fate.UNCERTAIN
            assert took_s < 1.0 + GRACE_S
            assert publisher.blocked()
            held = message()
            error, took_s = single(publisher, held)
            assert isinstance(error, BrokerBlocked)
            assert error.fate is Fate.NOT_SENT
            assert took_s < 1.0 + GRACE_S
            waiting = publisher.publish(message(), exchange="", routing_key="q", deadline_s=20)
            node.unblock()
            waiting.result()
            assert publisher.blocked() is None
        found = {item.correlation_id for item in raw.drain("q")}
    assert waiting.id in found
    assert held.id not in found


def test_pain10_fault17_black_holed_broker_ends_in_time_and_another_link_is_tried(
    broker: Rabbit, vhost: str, proxy: Proxy
) -> None:
    url = broker.url(vhost)
    with Raw(url) as raw:
        raw.declare_queue("q")
    through = broker.url(vhost, port=proxy.port)
    with publishing(through, publish={"deadline_s": 1.0}, broker={"heartbeat_s": 2}) as publisher:
        publisher.publish(message(), exchange="", routing_key="q").result()
        proxy.stall()
        error, took_s = single(publisher)
        assert isinstance(error, PublishUncertain)
        assert error.fate is Fate.UNCERTAIN
        assert took_s < 1.0 + GRACE_S
        began = time.monotonic()
        errors = [error]
        while not isinstance(errors[-1], ConnectionLost):  # until the silence has been noticed
            error, took_s = single(publisher)
            errors.append(error)
            assert took_s < 1.0 + GRACE_S
            assert time.monotonic() - began < 2 * 2 + 5
        assert errors[-1].fate is Fate.NOT_SENT
        proxy.resume()
        publisher.publish(message(), exchange="", routing_key="q", deadline_s=10).result()


def test_k10_silence_on_an_idle_connection_is_noticed(broker: Rabbit, vhost: str, proxy: Proxy) -> None:
    url = broker.url(vhost)
    with Raw(url) as raw, publishing(broker.url(vhost, port=proxy.port), broker={"heartbeat_s": 1}) as publisher:
        raw.declare_queue("q")
        publisher.publish(message(), exchange="", routing_key="q").result()
        proxy.half_open()
        opened, began = proxy.opened, time.monotonic()
        while proxy.opened == opened:
            assert time.monotonic() - began < 2 * 1 + 5
            time.sleep(0.05)
        publisher.publish(message(), exchange="", routing_key="q").result()


def test_pain10_nobody_answers_the_connection(proxy_to: ProxyTo, broker: Rabbit, vhost: str) -> None:
    silent = proxy_to(broker.port)
    silent.stall()
    with publishing(broker.url(vhost, port=silent.port), publish={"deadline_s": 1.0}) as publisher:
        error, took_s = single(publisher)
    assert isinstance(error, ConnectionLost)
    assert error.fate is Fate.NOT_SENT
    assert took_s < 1.0 + GRACE_S


def test_k08_pain19_body_over_the_brokers_own_limit(own_broker: OwnBroker) -> None:
    node = own_broker(conf=["max_message_size = 100000"])
    url = node.add_vhost("small")
    with Raw(url) as raw, publishing(url) as publisher:
        raw.declare_queue("q")
        items = [Outgoing(message(b"x" * (100001 if at == 40 else 10)), "", "q") for at in range(100)]
        with pytest.raises(BatchFailed) as caught:
            publisher.publish_many(items)
        assert list(caught.value.failures) == [40]
        error = caught.value.failures[40]
        assert isinstance(error, MessageTooLarge)
        assert error.fate is Fate.REFUSED
        found = {item.correlation_id for item in raw.drain("q")}
    assert found == {item.message.id for at, item in enumerate(items) if at != 40}


def test_s26_retry_off_ends_at_once_and_on_sends_again_under_one_id(broker: Rabbit, vhost: str, proxy: Proxy) -> None:
    url = broker.url(vhost)
    with Raw(url) as raw, publishing(broker.url(vhost, port=proxy.port)) as publisher:
        raw.declare_queue("q")
        publisher.publish(message(), exchange="", routing_key="q").result()
        raw.purge("q")
        proxy.stall("down")  # the broker gets it, its answer does not come back
        once = publisher.publish(message(), exchange="", routing_key="q", retry=False)
        again = publisher.publish(message(), exchange="", routing_key="q")
        raw.wait_count("q", 2)
        began = time.monotonic()
        proxy.cut()
        proxy.resume()
        with pytest.raises(PublishUncertain):
            once.result()
        assert time.monotonic() - began < 1
        assert again.result() == again.id
        found = Counter(item.correlation_id for item in raw.drain("q"))
    assert found == {once.id: 1, again.id: 2}


def test_s26_max_retries_bounds_the_sends(broker: Rabbit, vhost: str, proxy: Proxy) -> None:
    url = broker.url(vhost)
    with Raw(url) as raw, publishing(broker.url(vhost, port=proxy.port)) as publisher:
        raw.declare_queue("q")
        publisher.publish(message(), exchange="", routing_key="q").result()
        raw.purge("q")
        proxy.stall("down")
        sent = publisher.publish(message(), exchange="", routing_key="q", retry_policy={"max_retries": 0})
        raw.wait_count("q", 1)
        proxy.cut()
        proxy.resume()
        with pytest.raises(PublishUncertain):
            sent.result()
        assert raw.count("q") == 1


def test_k10_another_host_takes_over(own_broker: OwnBroker, broker: Rabbit, vhost: str, proxy: Proxy) -> None:
    url = broker.url(vhost)
    hosts = [broker.url(vhost, port=proxy.port), "amqp://127.0.0.1:1/", url]
    with Raw(url) as raw, publishing(hosts) as publisher:
        raw.declare_queue("q")
        for _ in range(6):
            publisher.publish(message(), exchange="", routing_key="q").result()
            proxy.cut()
            proxy.refuse()
        assert raw.count("q") >= 6
