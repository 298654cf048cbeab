"""Ends of executions: what the broker is told, and texts of hostile exceptions."""

from __future__ import annotations

import pytest

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
