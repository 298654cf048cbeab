"""App: Celery's arguments, settings frozen at first use, tasks found, calls planned and handed to the publisher."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from amqtask.app import App
from amqtask.app.planner import MAX_EXPIRATION_MS
from amqtask.clock import Clock
from amqtask.errors import (
    AmqtaskError,
    BatchFailed,
    QueueNotDeclared,
    SettingsError,
    TaskError,
    Unroutable,
)
from amqtask.publish.confirmation import Confirmation
from amqtask.tasks.context import Request
from amqtask.tasks.default import DEFAULT, shared_task
from amqtask.wire.message import Encoded
from amqtask.wire.task import TaskCall, parse_task

NOW = 1_900_000_000.0


class Publisher:
    """Stands for the real one: keeps what it is given and answers at once."""

    def __init__(self) -> None:
        self.sent: list[tuple[Encoded, dict[str, Any]]] = []
        self.refuse: Callable[[Encoded], AmqtaskError | None] = lambda message: None
        self.closed = False

    def publish(self, message: Encoded, **how: Any) -> Confirmation:
        self.sent.append((message, how))
        confirmation = Confirmation(message.id, deadline=0)
        confirmation.settle(self.refuse(message))
        return confirmation

    def pipeline(self) -> Publisher:
        self.failures: dict[int, AmqtaskError] = {}
        return self

    def send(self, message: Encoded, **how: Any) -> None:
        error = self.publish(message, **how).error
        if error is not None:
            self.failures[len(self.sent) - 1] = error

    def finish(self) -> None:
        if self.failures:
            raise BatchFailed(self.failures, sent=len(self.sent))

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None:
        self.closed = True

    def calls(self) -> list[TaskCall]:
        return [parse_task(message.properties, message.body) for message, _ in self.sent]


@pytest.fixture(autouse=True)
def no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No configuration file lies about, and the default app is put back."""
    monkeypatch.chdir(tmp_path)
    before = DEFAULT._app
    yield
    DEFAULT._app = before


def make(*args: Any, **options: Any) -> tuple[App, Publisher]:
    app = App(*args, clock=Clock(time=lambda: NOW), **options)
    publisher = Publisher()
    app._publisher = publisher  # type: ignore[assignment]
    return app, publisher


def add(x: int, y: int = 2) -> int:
    return x + y


def test_s06_celerys_constructor_and_conf() -> None:
    app = App("proj", broker="amqp://u:p@host//", include=["proj.tasks"], task_default_queue="orders", changes={})
    app.conf.task_serializer = "json"
    app.conf.update(task_acks_late=False)
    assert app.settings.broker.url == "amqp://u:p@host//"
    assert (app.settings.tasks.default_queue, app.settings.tasks.ack) == ("orders", "early")
    assert App().main is None
    assert repr(app) == "<App 'proj': 0 tasks>"


def test_s06_settings_come_from_objects_too() -> None:
    assert App(config_source=SimpleNamespace(task_default_queue="a")).settings.tasks.default_queue == "a"
    assert App(settings={"tasks": {"default_queue": "b"}}).settings.tasks.default_queue == "b"
    app = App()
    app.config_from_object({"task_default_queue": "c"})
    assert app.settings.tasks.default_queue == "c"


def test_s06_what_cannot_be_is_refused() -> None:
    with pytest.raises(SettingsError, match="stores no results"):
        App(backend="redis://")
    with pytest.raises(SettingsError, match="brokr"):
        App(brokr="amqp://")


def test_s06_settings_are_fixed_once_used() -> None:
    app = App()
    assert app.settings is app.settings
    with pytest.raises(SettingsError):
        app.conf.task_default_queue = "late"
    with pytest.raises(SettingsError, match="used while it was imported"):
        app.configure(overrides={"tasks.default_queue": "x"})
    app.configure()


def test_s06_the_command_line_stands_above_python(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text('[tasks]\ndefault_queue = "file"\npriority = 3\n')
    app = App(task_default_queue="python")
    app.configure(config_file=str(file), overrides={"tasks.default_queue": "line"}, environ={})
    assert (app.settings.tasks.default_queue, app.settings.tasks.priority) == ("line", 3)
    assert App(config=str(file)).settings.tasks.default_queue == "file"


def test_s13_tasks_are_registered_with_the_app() -> None:
    app, publisher = make("proj")
    task = app.task(add)
    other = app.task(name="other", queue="q")(add)
    assert app.tasks[f"{__name__}.add"] is task
    assert set(app.tasks) == {task.name, "other"}
    assert app.topology.require("q").name == "q"
    result = task.delay(1)
    assert (result.task, str(result)) == (task.name, publisher.calls()[0].id)
    other.delay(1)
    assert [how["routing_key"] for _, how in publisher.sent] == ["celery", "q"]
    with pytest.raises(TaskError, match="two tasks are named 'other'"):
        app.task(name="other")(lambda: 0)
    with pytest.raises(TaskError, match="name="):
        app.task("sum")  # type: ignore[call-overload]


def test_s13_options_of_the_app_hold_for_its_tasks() -> None:
    app = App(strict_typing=False)
    app.task(add).check_arguments((), {})


def test_s08_shared_tasks_are_in_every_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DEFAULT, "_shared", [])
    first, publisher = make("first")
    task = shared_task(name="shared.add")(add)
    second, _ = make("second", set_as_current=False)
    assert first.tasks["shared.add"] is second.tasks["shared.add"] is task
    task.delay(1)
    assert publisher.calls()[0].name == "shared.add"


def package(folder: Path, name: str, **files: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text("")
    for file, text in files.items():
        (folder / name / f"{file}.py").write_text(text)


@pytest.fixture
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


TASK = "from amqtask import shared_task\n@shared_task\ndef job(): pass\n"


def test_s08_include_imports_and_autodiscovery(importable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DEFAULT, "_shared", [])
    package(importable, "shop", tasks=TASK, jobs=TASK)
    package(importable, "stock", tasks=TASK)
    package(importable, "empty")
    app = App(include=["shop.jobs"], imports=("stock.tasks",))
    app.autodiscover_tasks(lambda: ["shop", "empty"])
    assert set(app.tasks) == set()
    app.load()
    assert set(app.tasks) == {"shop.jobs.job", "shop.tasks.job", "stock.tasks.job"}
    other = App()
    other.autodiscover_tasks(["shop"], related_name="jobs")
    other.autodiscover_tasks(["empty"], related_name=None)
    other.load()


@pytest.mark.parametrize(
    ("options", "packages", "said"),
    [
        ({"include": ["nonesuch"]}, [], "include: nonesuch: there is no module 'nonesuch'"),
        ({"include": "shop.nonesuch"}, [], "include: shop.nonesuch: there is no module 'shop.nonesuch'"),
        ({}, ["nonesuch"], "no package 'nonesuch'"),
    ],
)
def test_s08_a_module_that_is_not_there_is_named(
    importable: Path, options: dict[str, Any], packages: list[str], said: str
) -> None:
    package(importable, "shop")
    app = App(**options)
    app.autodiscover_tasks(packages)
    with pytest.raises(SettingsError, match=said):
        app.load()


def test_s08_an_error_inside_a_module_comes_through(importable: Path) -> None:
    package(importable, "broken", tasks="import missing_dependency\n")
    app = App()
    app.autodiscover_tasks(["broken"])
    with pytest.raises(ModuleNotFoundError, match="missing_dependency"):
        app.load()
    with pytest.raises(TaskError, match="list of packages"):
        app.autodiscover_tasks("broken")  # type: ignore[arg-type]


def test_c13_loading_finds_a_task_under_another_decorator(importable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DEFAULT, "_shared", [])
    wrong = "import functools\nfrom amqtask import shared_task\ndef timed(f):\n    @functools.wraps(f)\n"
    wrong += "    def inner(*a):\n        return f(*a)\n    return inner\n@timed\n@shared_task\ndef job(): pass\n"
    package(importable, "wrong", tasks=wrong)
    app = App(include=["wrong.tasks"])
    with pytest.raises(TaskError, match=r"wrong\.tasks\.job: @timed stands above"):
        app.load()


def test_s30_send_task_needs_no_code() -> None:
    app, publisher = make()
    app.send_task("somewhere.add", args=[3, 4], kwargs={"k": 1}, priority=5)
    (call,) = publisher.calls()
    assert (call.name, call.args, call.kwargs, call.priority) == ("somewhere.add", [3, 4], {"k": 1}, 5)
    with pytest.raises(TaskError, match="name"):
        app.send_task("")
    with pytest.raises(TaskError, match="did you mean 'queue'"):
        app.send_task("t", queu="x")  # type: ignore[call-arg]


def test_c04_send_task_checks_what_it_knows() -> None:
    app, publisher = make()
    app.task(name="known.add", queue="q", ignore_result=True)(add)
    with pytest.raises(TaskError, match="missing a required argument"):
        app.send_task("known.add")
    app.send_task("known.add", (1,))
    assert publisher.sent[0][1]["routing_key"] == "q"
    assert publisher.calls()[0].ignore_result is True


def test_s27_options_reach_the_message() -> None:
    app, publisher = make()
    task = app.task(name="t", priority=1, serializer="json")(add)
    task.apply_async(
        (1,),
        task_id="mine",
        shadow="other",
        headers={"tenant": "n"},
        compression="bzip2",
        priority=200,
        reply_to="answers",
        ignore_result=True,
        argsrepr="(hidden)",
        kwargsrepr="{}",
        root_id="r",
        parent_id="p",
        deadline_s=2,
        retry=False,
        retry_policy={"max_retries": 1},
    )
    (call,) = publisher.calls()
    assert (call.id, call.shadow, call.user_headers, call.priority) == ("mine", "other", {"tenant": "n"}, 200)
    assert (call.reply_to, call.ignore_result, call.argsrepr) == ("answers", True, "(hidden)")
    assert (call.root_id, call.parent_id, call.headers["compression"]) == ("r", "p", "application/x-bz2")
    how = publisher.sent[0][1]
    assert (how["deadline_s"], how["retry"], how["retry_policy"]) == (2.0, False, {"max_retries": 1})
    task.delay(1)
    assert (publisher.calls()[1].priority, publisher.calls()[1].ignore_result) == (1, False)


@pytest.mark.parametrize(
    "options",
    [
        {"task_id": 5},
        {"shadow": 5},
        {"ignore_result": "yes"},
        {"retry": 1},
        {"deadline_s": 0},
        {"deadline_s": float("inf")},
        {"expires": "soon"},
        {"expires": True},
        {"expires": float("nan")},
        {"expires": 1e18},
        {"headers": {"h": object()}},
        {"priority": 999},
        {"serializer": "pickle"},
        {"compression": "lzma"},
    ],
)
def test_s27_values_that_cannot_be_are_refused_before_sending(options: dict[str, Any]) -> None:
    app, publisher = make()
    with pytest.raises((TaskError, SettingsError)):
        app.send_task("t", **options)
    assert publisher.sent == []


def test_s25_expiry_in_seconds() -> None:
    app, publisher = make()
    app.send_task("t", expires=90.5)
    (call,) = publisher.calls()
    assert call.properties.expiration == "90500"
    assert call.expires == datetime.fromtimestamp(NOW + 90.5, UTC)


@pytest.fixture
def zone() -> Iterator[None]:
    """This machine stands five and a half hours east of Greenwich."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "XYZ-5:30")  # POSIX counts the other way
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("zone")
def test_s25_expiry_as_a_moment() -> None:
    app, publisher = make()
    moment = datetime.fromtimestamp(NOW + 60, timezone(timedelta(hours=3)))
    app.send_task("t", expires=moment)
    app.send_task("t", expires=datetime.fromtimestamp(NOW + 60))  # naive: this machine's zone
    first, second = publisher.calls()
    assert first.expires == second.expires == moment
    assert first.properties.expiration == second.properties.expiration == "60000"
    assert str(first.headers["expires"]).endswith("+03:00")
    assert str(second.headers["expires"]).endswith("+05:30")


def test_s25_expiry_at_the_edges() -> None:
    app, publisher = make()
    app.send_task("t", expires=-5)
    app.send_task("t", expires=MAX_EXPIRATION_MS // 1000 + 1)
    past, far = publisher.calls()
    assert past.properties.expiration == "0"
    assert far.properties.expiration is None  # RabbitMQ would close the channel over it
    assert far.expires is not None


def test_s25_expiry_of_the_task_and_of_the_settings() -> None:
    app, publisher = make(settings={"tasks": {"default_expires_s": 7}})
    app.send_task("t")
    app.task(name="short", expires=3)(add).delay(1)
    assert [call.properties.expiration for call in publisher.calls()] == ["7000", "3000"]


def test_what_a_task_sends_descends_from_it() -> None:
    app, publisher = make()
    app.send_task("first", task_id="first", root_id="root")
    call = publisher.calls()[0]

    def inner() -> None:
        app.send_task("third")

    def outer() -> None:
        app.send_task("second")
        inner_task()

    inner_task = app.task(name="inner")(inner)
    app.task(name="outer")(outer).execute(Request(call))
    second, third = publisher.calls()[1:]
    assert (second.root_id, second.parent_id) == (third.root_id, third.parent_id) == ("root", "first")
    app.send_task("free")
    assert publisher.calls()[3].parent_id is None


def test_shadow_names() -> None:
    app, publisher = make()
    task = app.task(name="t", shadow_name=lambda task, args, kwargs, options: f"{task.name}-{args[0]}")(add)
    task.delay(5)
    task.apply_async((5,), shadow="given")
    assert [call.shadow for call in publisher.calls()] == ["t-5", "given"]


def test_s39_undeclared_queues_are_refused_where_some_are_declared() -> None:
    app, publisher = make(settings={"queues": {"orders": {}}, "tasks": {"default_queue": "orders"}})
    with pytest.raises(QueueNotDeclared, match="did you mean 'orders'"):
        app.send_task("t", queue="order")
    assert publisher.sent == []


def test_a_send_that_was_not_accepted_raises() -> None:
    app, publisher = make()
    publisher.refuse = lambda message: Unroutable("no queue", message_id=message.id)
    with pytest.raises(Unroutable):
        app.send_task("t")
    with pytest.raises(Unroutable):
        asyncio.run(app.asend_task("t"))


def test_bulk_sends_name_each_failure() -> None:
    app, publisher = make()
    task = app.task(name="t")(add)
    publisher.refuse = lambda message: Unroutable("no") if b'"bad"' in message.body else None
    calls = [task.s(1), task.s(), task.s("bad"), app.signature("u", (1,)), task.s(1, 2, 3), task.s("bad")]
    with pytest.raises(BatchFailed, match="4 of 6") as caught:
        app.send_many(calls)
    assert {position: type(error) for position, error in caught.value.failures.items()} == {
        1: TaskError,
        2: Unroutable,
        4: TaskError,
        5: Unroutable,
    }
    publisher.sent.clear()
    assert [result.task for result in app.send_many([task.s(1), task.s(2)])] == ["t", "t"]


def test_a_pipeline_raises_at_its_end() -> None:
    app, publisher = make()
    publisher.refuse = lambda message: Unroutable("no") if b'"bad"' in message.body else None
    with pytest.raises(BatchFailed) as caught, app.pipeline() as p:
        ids = [p.send(app.signature("t", (value,))).id for value in ("good", "bad", "good")]
    assert list(caught.value.failures) == [1]
    assert ids == [message.id for message, _ in publisher.sent]


def test_an_error_inside_a_pipelines_block_comes_through() -> None:
    app, publisher = make()
    publisher.refuse = lambda message: Unroutable("no")
    pipeline = app.pipeline()
    pipeline.send(app.signature("t"))
    with pytest.raises(ZeroDivisionError), pipeline:
        raise ZeroDivisionError
    assert len(publisher.sent) == 1


def test_closing() -> None:
    app, publisher = make()
    with app:
        app.send_task("t")
    assert publisher.closed
    app.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_an_app_is_usable_after_a_fork() -> None:
    app, publisher = make()
    app.task(name="t")(add)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with app._lock:
            held.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    pid = os.fork()
    if not pid:
        signal.alarm(5)  # it would wait for ever
        app.send_task("t", (1,))
        os._exit(0 if len(publisher.sent) == 1 else 1)
    release.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
