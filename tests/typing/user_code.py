"""User code as a type checker sees it: each line marked `# wrong` must be an error, no other may."""

from __future__ import annotations

from typing import assert_type

from amqtask import App, AsyncResult, Request, Signature, Task, current_task, shared_task

app = App("proj", broker="amqp://", include=["proj.tasks"], task_default_queue="orders")


@app.task
def add(x: int, y: int = 2) -> int:
    """A plain task."""
    return x + y


@app.task(name="named", queue="q", priority=3, acks_late=True)
def named(text: str, *, times: int) -> str:
    """With options."""
    return text * times


@app.task(bind=True)
def bound(self: Task[..., object], x: int) -> str:
    """The first argument is the task's own."""
    assert_type(self.request, Request)
    return f"{self.name} {x}"


class Counting(Task[..., object]):
    """A base class with state."""

    count = 0


@app.task(bind=True, base=Counting)
def counted(self: Counting, x: int) -> None:
    """Annotated with its own class."""
    self.count += x


@shared_task
def shared(x: bytes) -> None:
    """For every app."""


@shared_task(bind=True, name="shared.bound")
def shared_bound(self: Task[..., object], x: bytes) -> float:
    """Bound as well."""
    return float(len(x))


def calls() -> None:
    """Calls that are right."""
    assert_type(add(1), int)
    assert_type(add.delay(1), AsyncResult[int])
    assert_type(add.delay(1, y=3), AsyncResult[int])
    assert_type(named.delay("a", times=2), AsyncResult[str])
    assert_type(bound.delay(5), AsyncResult[str])
    assert_type(bound(5), str)
    assert_type(counted.delay(5), AsyncResult[None])
    assert_type(shared.delay(b""), AsyncResult[None])
    assert_type(shared_bound.delay(b""), AsyncResult[float])
    assert_type(add.apply_async((1,), priority=3, expires=30, headers={"a": 1}), AsyncResult[int])
    assert_type(add.s(1), Signature)
    assert_type(app.send_task("other", [1], queue="q"), AsyncResult[object])
    assert_type(app.send_many([add.s(1), named.s("a", times=1)]), list[AsyncResult[object]])
    assert_type(add.delay(1).id, str)
    with app.pipeline() as p:
        assert_type(p.send(add.s(1)), AsyncResult[object])
    task = current_task()
    if task is not None:
        assert_type(task.name, str)


async def awaited() -> None:
    """The awaitable twins."""
    assert_type(await add.adelay(1), AsyncResult[int])
    assert_type(await add.aapply_async((1,), queue="q"), AsyncResult[int])
    assert_type(await app.asend_task("other"), AsyncResult[object])


def mistakes() -> None:
    """Calls that a type checker refuses."""
    add.delay("a")  # wrong
    add.delay()  # wrong
    add.delay(1, z=2)  # wrong
    named.delay("a", 2)  # wrong
    bound.delay()  # wrong
    bound.delay(add, 5)  # wrong
    shared.delay("text")  # wrong
    add.apply_async((1,), quueue="q")  # wrong
    add.apply_async((1,), priority="high")  # wrong
    app.send_task(5)  # wrong
    app.task(quueue="q")  # wrong
    add.retry()  # wrong
