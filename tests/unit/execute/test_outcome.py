"""Ends of executions: what the broker is told, and texts of hostile exceptions."""

from __future__ import annotations

import pytest

from amqtask import App, Reject
from amqtask.clock import SYSTEM
from amqtask.execute.outcome import (
    MAX_ERROR_CHARS,
    MAX_TRACEBACK_CHARS,
    Kind,
    Outcome,
    Settlement,
    describe,
    format_traceback,
    settle,
)
from amqtask.execute.runner import Runner
from amqtask.pool import link
from amqtask.wire.content import encode
from amqtask.wire.message import Message, Properties


@pytest.mark.parametrize(
    ("kind", "settlement"),
    [
        (Kind.FAILED, Settlement.DEAD_LETTER),
        (Kind.REFUSED, Settlement.DEAD_LETTER),
        (Kind.REJECTED, Settlement.DEAD_LETTER),
        (Kind.CRASHED, Settlement.DEAD_LETTER),
        (Kind.REQUEUED, Settlement.REQUEUE),
        (Kind.IGNORED, Settlement.ACK),
    ],
)
def test_k14_every_end_has_one_settlement(kind: Kind, settlement: Settlement) -> None:
    assert settle(Outcome(kind, "why")) is settlement


def test_outcomes_cross_to_the_node_unchanged() -> None:
    outcome = Outcome(Kind.FAILED, "failed", "ValueError: é", "Traceback", "tasks.add")
    assert Outcome.from_fields(outcome.to_fields()) == outcome


class Hostile(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")

    __repr__ = __str__


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - the one just raised
        return caught


def test_pain27_an_exception_without_a_text_is_still_described() -> None:
    assert describe(raised(Hostile())) == "Hostile: <str() raised RuntimeError>"
    assert "Hostile" in format_traceback(raised(Hostile()))


def test_pain27_texts_are_bounded() -> None:
    huge = raised(ValueError("x" * 50_000_000))
    assert len(describe(huge)) <= MAX_ERROR_CHARS
    assert len(format_traceback(huge)) <= MAX_TRACEBACK_CHARS + 20


def test_pain27_texts_that_utf_8_cannot_hold_are_escaped() -> None:
    error = raised(ValueError("no file caf\udce9.txt"))
    assert describe(error) == "ValueError: no file caf\\udce9.txt"
    assert format_traceback(error).encode().endswith(b"ValueError: no file caf\\udce9.txt\n")


@pytest.mark.parametrize("character", ["\U0001f600", "\x00", "\ud800", "a"])
def test_pain27_no_outcome_is_too_big_for_its_packet(character: str) -> None:
    error = raised(ValueError(character * 100_000))
    outcome = Outcome(Kind.FAILED, "failed", describe(error), format_traceback(error), "n" * 60_000)
    packet = link.pack_outcome(7, 8, outcome.to_fields())
    assert len(packet) <= link.ANSWER_BYTES
    handover, runtime_us, fields = link.unpack_outcome(packet)
    assert (handover, runtime_us) == (7, 8)
    assert Outcome.from_fields(fields).error == outcome.error
    assert len(Outcome.from_fields(fields).traceback) > 4000


@pytest.mark.parametrize("reason", [Hostile(), "caf\udce9", None, 3])
def test_pain27_any_reason_of_a_reject_becomes_a_text(reason: object) -> None:
    app = App("t")

    @app.task(name="t.reject")
    def reject() -> None:
        raise Reject(reason)

    message = encode(
        Message(
            Properties(content_type="application/json", content_encoding="utf-8", correlation_id="i"),
            {"task": "t.reject", "id": "i"},
            b"[[], {}, {}]",
        )
    )
    runner = Runner(
        app.tasks, node="n", queues=["q"], early=[False], now=SYSTEM.now, max_body_bytes=1000, close=lambda: None
    )
    outcome = runner.run(
        0,
        handover=1,
        redelivered=False,
        crashes=0,
        route=b"\x00\x01q",
        properties=message.properties,
        body=message.body,
        acknowledge=lambda _: None,
    )
    assert outcome is not None
    assert outcome.kind is Kind.REJECTED
    assert outcome.error.encode()
