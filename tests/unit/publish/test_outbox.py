"""Whatever the broker answers, in whatever order, and whatever it does not: each message ends once, as it should."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqtask.errors import (
    AccessRefused,
    BrokerBlocked,
    ConnectionLost,
    Fate,
    MessageTooLarge,
    PublishRefused,
    PublishUncertain,
    Unroutable,
)
from amqtask.publish.entry import RetryPolicy
from amqtask.publish.lane import WINDOW, WINDOW_BYTES
from tests.unit.publish.fakes import Bench

LOST = ConnectionLost("link lost")


def route(exchange: str = "", key: str = "q") -> bytes:
    return bytes((len(exchange),)) + exchange.encode() + bytes((len(key),)) + key.encode()


def give_back(bench: Bench, name: str, *, exchange: str = "", key: str = "q", body: bytes = b"body") -> None:
    bench.session.sink.on_return(312, "NO_ROUTE", route(exchange, key), name.encode(), body)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_k08_answers_in_any_order_end_each_message_with_its_own(data: st.DataObject) -> None:
    bench = Bench()
    count = data.draw(st.integers(1, 30))
    names = [f"m{number}" for number in range(count)]
    for name in names:
        bench.submit(name)
    returned = {name for name in names if data.draw(st.booleans())}
    for name in names:
        if name in returned:
            give_back(bench, name)
    open_tags = set(range(1, count + 1))
    refused: set[str] = set()
    while open_tags:
        tag = data.draw(st.sampled_from(sorted(open_tags)))
        multiple, negative = data.draw(st.booleans()), data.draw(st.booleans())
        answered = {other for other in open_tags if other == tag or (multiple and other < tag)}
        if negative:
            refused |= {names[other - 1] for other in answered}
            bench.session.sink.on_nack(tag, multiple, False)
        else:
            bench.session.sink.on_ack(tag, multiple)
        open_tags -= answered
        assert set(bench.ends) == {names[other - 1] for other in set(range(1, count + 1)) - open_tags}
    for name in names:
        expected = PublishRefused if name in refused else Unroutable if name in returned else None
        assert bench.ended(name) is expected
    assert len(bench.outbox) == 0


def test_k09_equal_content_is_returned_in_order() -> None:
    bench = Bench()
    ends: list[object] = []
    for _ in range(3):
        bench.submit("same", then=lambda: ends.append(bench.ends.pop("same")))
    sink = bench.session.sink
    give_back(bench, "same")
    sink.on_ack(1, False)
    sink.on_ack(2, False)
    give_back(bench, "same")
    sink.on_ack(3, False)
    assert [type(end) for end in ends] == [Unroutable, type(None), Unroutable]


def test_k09_properties_that_a_broker_has_written_anew_still_match() -> None:
    bench = Bench()
    bench.submit("a", key="here")
    bench.submit("b", key="nowhere")
    bench.session.sink.on_return(312, "NO_ROUTE", route(key="nowhere"), b"other bytes", b"body")
    bench.session.sink.on_ack(2, True)
    assert (bench.ended("a"), bench.ended("b")) == (None, Unroutable)


def test_k08_at_most_a_window_is_in_flight() -> None:
    bench = Bench()
    for number in range(WINDOW + 10):
        bench.submit(f"m{number}")
    assert len(bench.session.writes) == WINDOW
    bench.session.sink.on_ack(4, True)
    assert len(bench.session.writes) == WINDOW + 4


def test_k08_a_window_of_bytes_and_one_that_is_larger_than_it() -> None:
    bench = Bench()
    body = b"x" * (WINDOW_BYTES // 2)
    for number in range(3):
        bench.submit(f"m{number}", body=body)
    assert len(bench.session.writes) == 1  # two and their properties are more than the window
    bench.session.sink.on_ack(1, False)
    assert len(bench.session.writes) == 2
    bench.submit("huge", body=b"x" * (WINDOW_BYTES + 1))
    bench.session.sink.on_ack(3, True)
    bench.session.sink.on_ack(3, True)
    assert len(bench.session.writes) >= 3


def test_pain10_deadline_says_what_stood_in_the_way() -> None:
    bench = Bench(connected=False)
    bench.submit("unsent")
    bench.loop.advance(5.1)
    assert bench.ended("unsent") is ConnectionLost
    assert bench.ends["unsent"].fate is Fate.NOT_SENT
    bench.reconnect()
    bench.submit("unanswered")
    bench.loop.advance(5.1)
    assert bench.ended("unanswered") is PublishUncertain
    bench.submit("written")
    bench.session.block("memory")
    bench.submit("held")
    bench.loop.advance(5.1)
    assert (bench.ended("written"), bench.ends["written"].fate) == (BrokerBlocked, Fate.UNCERTAIN)
    assert (bench.ended("held"), bench.ends["held"].fate) == (BrokerBlocked, Fate.NOT_SENT)
    assert len(bench.outbox) == 0


def test_pain10_each_deadline_is_kept_whatever_the_order_of_submission() -> None:
    bench = Bench(connected=False)
    for seconds in (9, 2, 7, 1, 30, 4):
        bench.submit(f"{seconds}", deadline_s=seconds)
    for seconds in (1, 2, 4, 7, 9, 30):
        bench.loop.advance(seconds - 0.05 - (bench.loop.now - 1000))
        assert f"{seconds}" not in bench.ends
        bench.loop.advance(0.1)
        assert f"{seconds}" in bench.ends


def test_k08_late_answers_of_expired_messages_harm_nobody() -> None:
    bench = Bench()
    bench.submit("late", deadline_s=1)
    bench.submit("good", deadline_s=9)
    bench.loop.advance(2)
    bench.session.sink.on_ack(2, True)
    assert bench.ended("late") is PublishUncertain
    assert bench.ended("good") is None


def test_s26_in_flight_is_sent_again_first_and_in_order() -> None:
    bench = Bench()
    for name in ("a", "b"):
        bench.submit(name)
    bench.lose(LOST)
    bench.submit("c")
    session = bench.reconnect()
    assert [name for data in session.writes for name in "abc" if name.encode() in data.split(b"\x02", 1)[1][:40]]
    assert len(session.writes) == 3
    session.sink.on_ack(3, True)
    assert [bench.ended(name) for name in "abc"] == [None, None, None]


def test_s26_policy_spaces_and_bounds_the_sends() -> None:
    bench = Bench()
    bench.submit("a", policy=RetryPolicy(max_retries=2, interval_start_s=0, interval_step_s=0.2, interval_max_s=1))
    bench.lose(LOST)
    assert len(bench.reconnect().writes) == 1  # the first retry does not wait
    bench.lose(LOST)
    session = bench.reconnect()
    bench.loop.advance(0.19)
    assert session.writes == []
    bench.loop.advance(0.02)
    assert len(session.writes) == 1
    bench.lose(LOST)
    assert bench.ended("a") is PublishUncertain  # it was the second


def test_s26_waiting_for_a_connection_is_no_retry() -> None:
    bench = Bench(connected=False)
    bench.submit("a", policy=RetryPolicy(max_retries=0))
    for _ in range(5):
        bench.lose(LOST)
    assert "a" not in bench.ends
    assert bench.link.hurried
    bench.reconnect().sink.on_ack(1, False)
    assert bench.ended("a") is None


def test_s26_without_policy_it_ends_at_once() -> None:
    bench = Bench()
    bench.submit("flight", policy=None)
    bench.session.block("memory")
    bench.submit("held", policy=None)
    bench.lose(LOST)
    assert (bench.ended("flight"), bench.ended("held")) == (PublishUncertain, ConnectionLost)
    bench.submit("down", policy=None)
    assert bench.ended("down") is ConnectionLost
    bench.link.connecting = True
    bench.submit("connecting", policy=None)
    assert "connecting" not in bench.ends


def test_k10_refused_login_ends_what_waits_and_what_comes_while_it_is_fresh() -> None:
    bench = Bench(connected=False)
    bench.submit("waits")
    bench.lose(AccessRefused("no", code=403))
    assert (bench.ended("waits"), bench.ends["waits"].fate) == (AccessRefused, Fate.NOT_SENT)
    bench.submit("fresh")
    assert bench.ended("fresh") is AccessRefused
    bench.loop.advance(2)
    bench.submit("stale")  # somebody may have corrected it: a new attempt decides
    assert "stale" not in bench.ends
    bench.reconnect().sink.on_ack(1, False)
    assert bench.ended("stale") is None


def test_k08_what_was_in_doubt_stays_so_in_later_errors() -> None:
    bench = Bench()
    for name in ("a", "b"):
        bench.submit(name)
    bench.lose(LOST)
    session = bench.reconnect()
    give_back(bench, "a")
    session.sink.on_ack(1, False)
    bench.lose(AccessRefused("no", code=403))
    bench.loop.advance(0.3)  # the pause before the second retry
    assert (bench.ended("a"), bench.ends["a"].fate) == (Unroutable, Fate.UNCERTAIN)
    assert (bench.ended("b"), bench.ends["b"].fate) == (AccessRefused, Fate.UNCERTAIN)


def test_k08_returned_before_the_link_went_is_unroutable_all_the_same() -> None:
    bench = Bench()
    bench.submit("a")
    give_back(bench, "a")
    bench.lose(LOST)
    assert (bench.ended("a"), bench.ends["a"].fate) == (Unroutable, Fate.UNROUTABLE)


def test_k09_missing_exchange_ends_all_that_goes_there_and_nothing_else() -> None:
    bench = Bench()
    for number in range(4):
        bench.submit(f"m{number}", exchange="gone" if number % 2 else "", key="k")
    bench.session.block("x")
    bench.submit("held", exchange="gone", key="k")
    bench.session.block(None)
    bench.session.close_channel(404, "NOT_FOUND - no exchange 'gone' in vhost '/'")
    for name in ("m1", "m3", "held"):
        assert (bench.ended(name), bench.ends[name].fate) == (Unroutable, Fate.UNROUTABLE)
    assert len(bench.session.channels) == 2
    bench.session.sink.on_ack(2, True)
    assert (bench.ended("m0"), bench.ended("m2")) == (None, None)


def test_k09_an_exchange_that_went_meanwhile_leaves_a_doubt() -> None:
    bench = Bench()
    bench.submit("before", exchange="gone")
    bench.session.sink.on_ack(1, False)
    bench.submit("first", exchange="gone")
    bench.submit("last", exchange="gone")
    bench.session.close_channel(404, "NOT_FOUND - no exchange 'gone' in vhost '/'")
    assert bench.ends["first"].fate is Fate.UNCERTAIN
    assert bench.ends["last"].fate is Fate.UNROUTABLE


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (406, "PRECONDITION_FAILED - message size 70 is larger than configured max size 50", MessageTooLarge),
        (403, "ACCESS_REFUSED - access to exchange 'x' in vhost '/' refused for user 'u'", AccessRefused),
        (403, "ACCESS_REFUSED - write access to exchange 'x' in vhost '/' refused for user 'u'", AccessRefused),
        (403, "ACCESS_REFUSED - access to topic 'k' in exchange 'x' in vhost '/' refused for user 'u'", AccessRefused),
    ],
)
def test_pain19_the_text_of_a_closed_channel_names_the_message(code: int, text: str, kind: type) -> None:
    bench = Bench()
    bench.submit("good")
    bench.submit("bad", exchange="x", key="k", body=b"x" * 70)
    bench.submit("fine")
    bench.session.close_channel(code, text)
    assert (bench.ended("bad"), bench.ends["bad"].fate) == (kind, Fate.REFUSED)
    bench.session.sink.on_ack(2, True)
    assert (bench.ended("good"), bench.ended("fine")) == (None, None)


def test_k08_an_unnamed_offender_is_found_by_sending_one_at_a_time() -> None:
    bench = Bench()
    names = [f"m{number}" for number in range(6)]
    for name in names:
        bench.submit(name)
    bench.session.close_channel(406, "PRECONDITION_FAILED - something about a message")
    bench.submit("later")
    for _ in range(20):
        if len(bench.ends) == 7:
            break
        channel = bench.session.channels[-1]
        (entry,) = channel.sink.unanswered() if "later" not in bench.ends else (None,)
        if entry.id == "m3":
            bench.session.close_channel(406, "PRECONDITION_FAILED - something about a message")
        else:
            channel.sink.on_ack(entry.tag, False)
    assert bench.ended("m3") is PublishRefused
    assert [bench.ended(name) for name in (*names, "later") if name != "m3"] == [None] * 6


def test_k09_channels_closed_over_others_are_no_retries() -> None:
    bench = Bench()
    bench.submit("innocent", policy=RetryPolicy(max_retries=0))
    for number in range(5):
        bench.submit(f"m{number}", exchange=f"gone{number}")
        bench.session.close_channel(404, f"NOT_FOUND - no exchange 'gone{number}' in vhost '/'")
    bench.session.sink.on_ack(1, True)
    assert bench.ended("innocent") is None
    assert {bench.ended(f"m{number}") for number in range(5)} == {Unroutable}


def test_k08_what_came_back_before_the_channel_closed_is_no_suspect() -> None:
    bench = Bench()
    bench.submit("back")
    bench.submit("bad")
    give_back(bench, "back")
    bench.session.close_channel(406, "PRECONDITION_FAILED - something")
    assert (bench.ended("back"), bench.ended("bad")) == (Unroutable, PublishRefused)


def test_k08_what_is_told_of_an_end_may_send_anew() -> None:
    bench = Bench()
    bench.submit("a", then=partial(bench.submit, "b"))
    bench.session.sink.on_ack(1, False)
    bench.session.sink.on_ack(2, False)
    assert bench.ended("b") is None
    bench.submit("c", policy=None, then=partial(bench.submit, "d", policy=None))
    bench.lose(LOST)
    assert (bench.ended("c"), bench.ended("d")) == (PublishUncertain, ConnectionLost)


def test_k10_unanswered_in_a_silence_gives_the_session_up() -> None:
    bench = Bench()
    bench.submit("a")
    bench.session.silence = 6.0
    bench.loop.advance(5.1)
    assert bench.session.dropped is None  # the broker may be slow: it sends a heartbeat every 5 s
    bench.submit("b")
    bench.session.silence = 7.1
    bench.loop.advance(5.1)
    assert isinstance(bench.session.dropped, ConnectionLost)


def test_pain10_failing_all_leaves_nothing_and_tells_what_was_sent() -> None:
    bench = Bench()
    bench.submit("flight")
    bench.session.block("x")
    bench.submit("held")
    idle: list[bool] = []
    bench.outbox.when_idle(lambda: idle.append(True))
    bench.outbox.fail_all(ConnectionLost("closed"))
    assert (bench.ended("flight"), bench.ended("held")) == (PublishUncertain, ConnectionLost)
    assert idle == [True]
    assert len(bench.outbox) == 0


def test_memory_of_settled_messages_is_let_go() -> None:
    bench = Bench()
    entries = [bench.submit(f"m{number}", deadline_s=1000) for number in range(3000)]
    bench.session.sink.on_ack(3000, True)
    assert all(entry.message.body == b"" for entry in entries)
    assert len(bench.outbox._deadlines) <= 1024
