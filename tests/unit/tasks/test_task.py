"""Tasks: what the decorator makes of a function, what it refuses, and what a running task knows."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from amqtask.errors import TaskError
from amqtask.tasks.context import Request, current_message, current_task
from amqtask.tasks.declare import declare
from amqtask.tasks.handle import AsyncResult
from amqtask.tasks.signature import Signature
from amqtask.tasks.task import Task
from amqtask.wire.encoder import TaskEncoder
from amqtask.wire.task import TaskCall, parse_task


class Sender:
    """Takes what is sent and sends nothing."""

    main: str | None = "proj"

    def __init__(self) -> None:
        self.calls: list[Signature] = []

    def send(self, call: Signature) -> AsyncResult[object]:
        self.calls.append(call)
        return AsyncResult(f"id-{len(self.calls)}", call.task)

    async def asend(self, call: Signature) -> AsyncResult[object]:
        return self.send(call)


@pytest.fixture
def sender() -> Sender:
    return Sender()


@pytest.fixture
def task(sender: Sender) -> Callable[..., Any]:
    """A decorator like an app's."""

    def decorator(**options: object) -> Callable[..., Any]:
        return lambda function: declare(function, options, app=lambda: sender, main=sender.main)

    return decorator


def add(x: int, y: int = 2) -> int:
    """Adds."""
    return x + y


def arrived(name: str = "t", *args: object, **kwargs: object) -> TaskCall:
    sent = TaskEncoder(name, headers={"mine": 1}).encode(args, kwargs, task_id="the-id", root_id="root", parent_id="up")
    return parse_task(sent.properties, sent.body)


def test_s13_a_task_runs_here_when_called_and_is_sent_by_delay(task: Any, sender: Sender) -> None:
    made = task()(add)
    assert made(1) == 3
    assert made(1, y=5) == 6
    result = made.delay(1, y=4)
    assert (str(result), result.task) == ("id-1", made.name)
    (call,) = sender.calls
    assert (call.task, call.args, dict(call.kwargs)) == (made.name, (1,), {"y": 4})
    assert call.type is made


def test_s13_the_function_and_its_metadata_are_reachable(task: Any) -> None:
    made = task()(add)
    assert made.run is made.__wrapped__ is add
    assert (made.__name__, made.__doc__, made.__module__) == ("add", "Adds.", __name__)
    assert inspect.signature(made) == inspect.signature(add)
    assert repr(made) == f"<Task '{__name__}.add'>"


def test_s14_names(task: Any) -> None:
    assert task()(add).name == f"{__name__}.add"
    assert task(name="sum-of-two-numbers")(add).name == "sum-of-two-numbers"

    def in_main() -> None: ...

    in_main.__module__ = "__main__"
    assert task()(in_main).name == "proj.in_main"


@pytest.mark.parametrize("main", [None, ""])
def test_s14_without_a_name_of_the_app_main_stays(main: str | None) -> None:
    def in_main() -> None: ...

    in_main.__module__ = "__main__"
    assert declare(in_main, {}, app=Sender, main=main).name == "__main__.in_main"


def test_s14_what_has_no_name_needs_one(task: Any) -> None:
    with pytest.raises(TaskError, match="name="):
        task()(lambda: 0)
    with pytest.raises(TaskError, match="name="):
        task()(functools.partial(add, 1))
    partial = task(name="partial")(functools.partial(add, 1))
    assert partial() == 3
    with pytest.raises(TaskError, match="text"):
        task(name=5)(add)


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ({"quue": "a"}, "did you mean 'queue'"),
        ({"serialiser": "json"}, "did you mean 'serializer'"),
        ({"max_retries": 3}, "does not have the option 'max_retries' yet"),
        ({"autoretry_for": (ValueError,)}, "yet"),
        ({"rate_limit": "1/s"}, "yet"),
        ({"time_limit": 3}, "yet"),
        ({"track_started": True}, "yet"),
        ({"bind": 1}, "bind must be"),
        ({"ignore_result": "no"}, "ignore_result must be"),
        ({"base": dict}, "base must be a subclass"),
    ],
)
def test_s15_unknown_and_later_options_are_refused(task: Any, option: dict[str, object], hint: str) -> None:
    with pytest.raises(TaskError, match=hint):
        task(**option)(add)


def test_s15_options_are_kept(task: Any) -> None:
    made = task(queue="q", priority=3, acks_late=False, ignore_result=True, expires=5)(add)
    assert (made.options.queue, made.options.priority, made.options.acks_late) == ("q", 3, False)
    assert dict(made.routing) == {"queue": "q", "priority": 3}
    assert dict(task()(add).routing) == {}


def test_s15_base_class_sets_options_and_wraps_the_call(task: Any) -> None:
    seen: list[object] = []

    class Loud(Task[..., object]):
        queue = "loud"
        abstract = True

        def __init__(self) -> None:
            seen.append(self.name)

        def __call__(self, *args: object, **kwargs: object) -> object:
            seen.append(("before", self.request.id, self.request.called_directly))
            return super().__call__(*args, **kwargs)

    made = task(base=Loud, priority=1)(add)
    assert (made.options.queue, made.options.priority) == ("loud", 1)
    assert task(base=Loud, queue="other")(add).options.queue == "other"
    assert made(1) == 3
    assert made.execute(Request(arrived("t", 4))) == 6
    assert seen == [made.name, made.name, ("before", None, True), ("before", "the-id", False)]


def test_s15_a_base_class_with_options_of_later_versions_is_refused(task: Any) -> None:
    class Retrying(Task[..., object]):
        autoretry_for = (ValueError,)

    class Hooked(Task[..., object]):
        def on_failure(self) -> None: ...

    for base in (Retrying, Hooked):
        with pytest.raises(TaskError, match="yet"):
            task(base=base)(add)


def test_s16_a_bound_task_gets_itself_first(task: Any, sender: Sender) -> None:
    @task(bind=True)
    def show(self: Any, x: int) -> tuple[object, ...]:
        return (self, self.name, self.request.id, self.request.retries, x)

    assert show(5) == (show, show.name, None, 0, 5)
    assert show.execute(Request(arrived("t", 7))) == (show, show.name, "the-id", 0, 7)
    assert show.run(5)[4] == 5
    assert str(inspect.signature(show)).startswith("(x: ")
    show.delay(5)
    assert sender.calls[0].args == (5,)


@pytest.mark.parametrize("function", [lambda: 0, lambda *, self: 0])
def test_s16_a_bound_function_must_take_the_task(task: Any, function: object) -> None:
    with pytest.raises(TaskError, match="first argument"):
        task(bind=True, name="t")(function)


def test_s16_what_comes_later_says_so(task: Any) -> None:
    made = task()(add)
    for name in ("retry", "update_state", "apply"):
        with pytest.raises(AttributeError, match="yet"):
            getattr(made, name)
    with pytest.raises(AttributeError, match="no attribute 'sned'"):
        made.sned  # noqa: B018


def test_s22_request_attributes() -> None:
    call = arrived("t", 1, x=2)
    request = Request(call, hostname="node@h", exchange="e", routing_key="k", redelivered=True)
    assert (request.id, request.task, request.root_id, request.parent_id) == ("the-id", "t", "root", "up")
    assert (request.args, request.kwargs) == ([1], {"x": 2})
    assert (request.retries, request.eta, request.expires, request.is_eager, request.utc) == (
        0,
        None,
        None,
        False,
        True,
    )
    assert (request.timelimit, request.time_limit, request.soft_time_limit) == ((None, None), None, None)
    assert (request.callbacks, request.errbacks, request.errback, request.chain, request.chord) == (None,) * 5
    assert (request.group, request.group_index, request.replaced_task_nesting) == (None, None, 0)
    assert (request.correlation_id, request.reply_to, request.get("reply-to", 5)) == ("the-id", None, None)
    assert request.headers == {"mine": 1}
    assert request.properties["content_type"] == "application/json"
    assert request.hostname == "node@h"
    assert request.delivery_info == {"exchange": "e", "routing_key": "k", "priority": 0, "redelivered": True}
    assert not request.called_directly
    assert request.get("nonesuch", 5) == 5
    assert repr(request) == "<Request t the-id>"


def test_s22_a_direct_call_has_a_request_of_its_own() -> None:
    request = Request(args=(1,), kwargs={"a": 2})
    assert request.called_directly
    assert (request.args, request.kwargs, request.id, request.retries) == ((1,), {"a": 2}, None, 0)
    for name in (n for n, v in vars(Request).items() if isinstance(v, property)):
        getattr(request, name)


def test_the_current_task_follows_calls(task: Any) -> None:
    log: list[object] = []

    def look() -> None:
        message = current_message()
        log.append((current_task(), message and message.id))

    inner = task(name="inner")(look)

    def run() -> None:
        look()
        inner()
        look()

    outer = task(name="outer")(run)
    look()
    outer.execute(Request(arrived("outer")))
    look()
    assert log == [(None, None), (outer, "the-id"), (inner, "the-id"), (outer, "the-id"), (None, None)]


def test_the_current_task_is_gone_after_a_failure(task: Any) -> None:
    def fail() -> None:
        raise KeyError("x")

    failing = task(name="failing")(fail)
    for call in (failing, lambda: failing.execute(Request(arrived("failing")))):
        with pytest.raises(KeyError):
            call()
        assert current_task() is None


def test_a_task_that_calls_itself_has_a_direct_request_inside(task: Any) -> None:
    seen: list[bool] = []

    def down(n: int) -> None:
        seen.append(made.request.called_directly)
        if n:
            made(n - 1)

    made = task(name="down")(down)
    made.execute(Request(arrived("down", 2)))
    assert seen == [False, True, True]


@pytest.mark.parametrize(
    ("args", "kwargs", "problem"),
    [
        ((), {}, "missing a required argument: 'x'"),
        ((1, 2, 3), {}, "too many positional"),
        ((1,), {"z": 1}, "unexpected keyword argument 'z'"),
        ((1,), {"x": 1}, "multiple values"),
    ],
)
def test_s23_arguments_are_checked_against_the_signature(
    task: Any, args: tuple[object, ...], kwargs: dict[str, object], problem: str
) -> None:
    made = task()(add)
    with pytest.raises(TaskError, match=problem) as caught:
        made.check_arguments(args, kwargs)
    assert made.name in str(caught.value)
    task(typing=False)(add).check_arguments(args, kwargs)


FUNCTIONS: list[Callable[..., object]] = [
    lambda: 0,
    lambda a: 0,
    lambda a, b=1: 0,
    lambda a, /, b: 0,
    lambda *args: 0,
    lambda a, *args: 0,
    lambda a, *, k: 0,
    lambda a, *, k=1: 0,
    lambda **kw: 0,
    lambda a=1, *args, k, **kw: 0,
]


@pytest.mark.parametrize("number", range(len(FUNCTIONS)))
@pytest.mark.parametrize("bound", [False, True])
def test_s23_the_check_agrees_with_a_real_call(task: Any, number: int, bound: bool) -> None:
    function = FUNCTIONS[number]
    if bound and number in (0, 8):
        return  # nothing takes the task
    made = task(name="t", bind=bound)(function)
    for args in ((), (1,), (1, 2), (1, 2, 3)):
        for kwargs in ({}, {"a": 1}, {"b": 1}, {"k": 1}, {"k": 1, "z": 1}):
            fits = True
            try:
                function(*((made,) if bound else ()), *args, **kwargs)
            except TypeError:
                fits = False
            if fits:
                made.check_arguments(args, kwargs)
            else:
                with pytest.raises(TaskError):
                    made.check_arguments(args, kwargs)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"queeue": "a"}, "did you mean 'queue'"),
        ({"link": []}, "'link' yet"),
        ({"time_limit": 3}, "'time_limit' yet"),
        ({"countdown": 5}, "delayed tasks"),
        ({"eta": 5}, "delayed tasks"),
        ({"connection": 5}, "another App"),
        ({"delivery_mode": 1}, "persistent"),
        ({"headers": {"id": "x"}}, "'id' belongs to the message format"),
        ({"headers": {5: "x"}}, "names are texts"),
        ({"headers": "x"}, "mapping"),
        ({"retry_policy": {"max_retry": 1}}, "did you mean 'max_retries'"),
        ({"retry_policy": 5}, "mapping"),
    ],
)
def test_s23_options_of_a_send_are_checked(task: Any, sender: Sender, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(TaskError, match=problem):
        task()(add).apply_async((1,), **options)
    assert sender.calls == []


def test_s23_apply_async(task: Any, sender: Sender) -> None:
    made = task()(add)
    made.apply_async((2, 2))
    made.apply_async(args=[2], kwargs={"y": 2}, priority=3, countdown=0, eta=None)
    first, second = sender.calls
    assert (first.args, dict(first.kwargs), dict(first.options)) == ((2, 2), {}, {})
    assert (second.args, dict(second.kwargs), second.options["priority"]) == ((2,), {"y": 2}, 3)


@pytest.mark.parametrize(("args", "kwargs"), [("ab", None), (5, None), (None, [1]), (None, {1: 2})])
def test_s23_arguments_of_the_wrong_kind(task: Any, args: Any, kwargs: Any) -> None:
    with pytest.raises(TaskError):
        task()(add).apply_async(args, kwargs)


def test_s23_awaitable_twins(task: Any, sender: Sender) -> None:
    made = task()(add)

    async def both() -> list[str]:
        return [str(await made.adelay(1)), str(await made.aapply_async((1,), priority=2))]

    assert asyncio.run(both()) == ["id-1", "id-2"]
    assert sender.calls[1].options == {"priority": 2}


def test_c13_what_cannot_be_a_task(task: Any) -> None:
    made = task()(add)
    with pytest.raises(TaskError, match="is a task already"):
        task()(made)
    with pytest.raises(TaskError, match="staticmethod"):
        task(name="s")(staticmethod(add))
    with pytest.raises(TaskError, match="class cannot be a task"):
        task()(dict)

    async def later() -> None: ...

    with pytest.raises(TaskError, match="async"):
        task()(later)
