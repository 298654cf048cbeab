"""What an executor makes of a delivery before and after it calls the function."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from amqtask import App, Ignore, Reject
from amqtask.execute.outcome import Kind, Outcome
from amqtask.execute.runner import Runner
from tests.support.messages import Outgoing, task_message

NOW = datetime(2026, 5, 1, tzinfo=UTC)
app = App("unit", set_as_current=False)
ran: list[object] = []


@app.task(name="t.run")
def run(value: object = None) -> object:
    ran.append(value)
    return value


@app.task(name="t.end", acks_late=False)
def end(how: str) -> None:
    raise {"ignore": Ignore(), "reject": Reject("no"), "requeue": Reject(requeue=True), "exit": SystemExit(3)}[how]


@pytest.fixture
def acknowledged() -> list[int]:
    ran.clear()
    return []


@pytest.fixture
def deliver(acknowledged: list[int]) -> Callable[[Outgoing], Outcome | None]:
    runner = Runner(
        app.tasks, node="n@h", queues=["q"], early=[False], now=lambda: NOW, max_body_bytes=1000, close=lambda: None
    )
    return lambda message: runner.run(
        0,
        handover=5,
        redelivered=False,
        crashes=0,
        route=b"\x00\x01q",
        properties=message.properties,
        body=message.body,
        acknowledge=acknowledged.append,
    )


Deliver = Callable[[Outgoing], Outcome | None]


def with_embed(**embed: object) -> Outgoing:
    message = task_message("t.run", [1], queue="q")
    return Outgoing("q", json.dumps([[1], {}, embed]).encode(), message.properties)


def test_a_success_has_nothing_to_tell(deliver: Deliver, acknowledged: list[int]) -> None:
    assert deliver(task_message("t.run", [7], queue="q")) is None
    assert ran == [7]
    assert acknowledged == []


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (task_message("t.rum", queue="q"), "not_registered"),
        (task_message("t.run", [1, 2, 3], queue="q"), "bad_arguments"),
        (task_message("t.run", ["x" * 2000], queue="q", argsrepr=""), "too_large"),
        (task_message("t.run", queue="q", expires=(NOW - timedelta(seconds=1)).isoformat()), "expired"),
        (task_message("t.run", queue="q", eta=(NOW + timedelta(seconds=30)).isoformat()), "not_in_this_version"),
        (with_embed(chain=[{"task": "t.run"}]), "not_in_this_version"),
        (with_embed(callbacks=[{"task": "t.run"}]), "not_in_this_version"),
        (with_embed(errbacks=[{"task": "t.run"}]), "not_in_this_version"),
        (with_embed(chord={"task": "t.run"}), "not_in_this_version"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_b26_what_cannot_be_done_as_asked_is_refused_and_not_run(
    deliver: Deliver, message: Outgoing, reason: str
) -> None:
    outcome = deliver(message)
    assert outcome is not None
    assert (outcome.kind, outcome.reason) == (Kind.REFUSED, reason)
    assert ran == []


def test_what_asks_for_nothing_more_is_run(deliver: Deliver) -> None:
    past = (NOW - timedelta(seconds=30)).isoformat()
    assert deliver(task_message("t.run", queue="q", eta=past)) is None
    assert deliver(with_embed(callbacks=None, errbacks=None, chain=None, chord=None)) is None
    assert len(ran) == 2


def test_limits_that_are_not_enforced_are_said_once(deliver: Deliver, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "amqtask.execute"):
        for _ in range(3):
            assert deliver(task_message("t.run", queue="q", timelimit=[60, 30])) is None
    assert caplog.text.count("not enforced") == 1


@pytest.mark.parametrize(
    ("how", "kind"),
    [("ignore", Kind.IGNORED), ("reject", Kind.REJECTED), ("requeue", Kind.REQUEUED), ("exit", Kind.FAILED)],
)
def test_k11_a_task_says_how_its_delivery_ends(deliver: Deliver, acknowledged: list[int], how: str, kind: Kind) -> None:
    outcome = deliver(task_message("t.end", [how], queue="q"))
    assert outcome is not None
    assert outcome.kind is kind
    assert acknowledged == [5]
