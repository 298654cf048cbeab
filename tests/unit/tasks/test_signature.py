"""Signatures: planned calls as values."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import pytest

from amqtask.errors import TaskError
from amqtask.tasks.declare import declare
from amqtask.tasks.signature import Signature
from tests.unit.tasks.test_task import Sender, add


def test_a_signature_is_a_value() -> None:
    assert Signature("t", (1,), {"a": 2}) == Signature("t", (1,), MappingProxyType({"a": 2}), sender=Sender())
    assert Signature("t", (1,)) != Signature("t", (2,))
    with pytest.raises(AttributeError):
        Signature("t").task = "u"  # type: ignore[misc]


def test_set_and_more_arguments_make_another_one() -> None:
    first = Signature("t", (2,), {"a": 1})
    second = first.set(queue="q").with_arguments((1,), {"b": 2})
    assert (first.args, dict(first.options)) == ((2,), {})
    assert (second.args, dict(second.kwargs), dict(second.options)) == ((1, 2), {"a": 1, "b": 2}, {"queue": "q"})
    with pytest.raises(TaskError, match="did you mean 'queue'"):
        first.set(queeue="q")  # type: ignore[call-arg]


def test_it_is_sent_by_its_task_or_its_app() -> None:
    sender = Sender()
    task: Any = declare(add, {"name": "add"}, app=lambda: sender, main=None)
    task.s(2).delay(1)
    task.signature((2,), queue="q").apply_async(kwargs={"y": 3}, priority=1)
    Signature("other", sender=sender).delay()
    assert [call.args for call in sender.calls] == [(1, 2), (2,), ()]
    assert dict(sender.calls[1].options) == {"queue": "q", "priority": 1}
    with pytest.raises(TaskError, match=r"app\.send"):
        Signature("nobody").delay()


def test_celerys_form_and_back() -> None:
    signature = Signature("t", (1, "a"), {"k": 2}, {"queue": "q"})
    form = json.loads(json.dumps(signature.to_dict()))
    assert form == {
        "task": "t",
        "args": [1, "a"],
        "kwargs": {"k": 2},
        "options": {"queue": "q"},
        "subtask_type": None,
        "immutable": False,
    }
    assert Signature.from_dict(form) == signature
    assert Signature.from_dict({"task": "t"}) == Signature("t")


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"task": 5},
        {"task": "t", "args": 5},
        {"task": "t", "kwargs": [1]},
        {"task": "t", "options": [1]},
        {"task": "celery.group", "subtask_type": "group"},
        {"task": "t", "immutable": True},
        {"task": "t", "options": {"link": []}},
    ],
)
def test_what_is_no_plain_signature_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(TaskError):
        Signature.from_dict(value)
