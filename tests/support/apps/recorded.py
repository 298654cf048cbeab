"""Tasks that write down their runs in the record; what the node and fault tests run."""

from __future__ import annotations

import os
import signal
import time

from amqtask import App, Reject, current_task
from amqtask.tasks.context import Request
from tests.support.record import Record

app = App("recorded")
record = Record.from_environment()


def _request() -> Request:
    task = current_task()
    assert task is not None
    return task.request


def _id() -> str:
    return str(_request().id)


@app.task(name="rec.noop")
def noop(*_args: object, **_kwargs: object) -> None:
    """Starts and ends."""
    with record.running(_id()):
        pass


@app.task(name="rec.sleep")
def sleep(seconds: float) -> None:
    """Lasts."""
    with record.running(_id()):
        time.sleep(seconds)


@app.task(name="rec.spin")
def spin(seconds: float) -> None:
    """Lasts, and does not let go of the interpreter's lock for long."""
    with record.running(_id()):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pass


@app.task(name="rec.fail")
def fail(text: str = "boom") -> None:
    """Raises."""
    with record.running(_id()):
        raise ValueError(text)


@app.task(name="rec.die")
def die(number: int = signal.SIGKILL) -> None:
    """Kills its own process."""
    record.start(_id())
    os.kill(os.getpid(), number)
    time.sleep(10)


@app.task(name="rec.leave")
def leave(how: str) -> None:
    """Ends its process in other ways."""
    with record.running(_id()):
        if how == "os._exit":
            os._exit(0)
        if how == "sys.exit":
            raise SystemExit(0)
        raise KeyboardInterrupt


@app.task(name="rec.reject")
def reject(requeue: bool) -> None:
    """Asks for the dead-letter queue, or for its queue once more."""
    with record.running(_id()):
        if requeue and _request().delivery_info["redelivered"]:
            return
        raise Reject("not mine", requeue=requeue)


@app.task(name="rec.early", acks_late=False)
def early(seconds: float) -> None:
    """Acknowledged as it starts."""
    with record.running(_id()):
        time.sleep(seconds)


@app.task(name="rec.big")
def big(text: str) -> None:
    """Takes a big argument."""
    with record.running(_id(), size=len(text)):
        pass
