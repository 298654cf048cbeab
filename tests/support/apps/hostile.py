"""Tasks that end in ways nobody thinks of, and an import that takes its time where the environment says so."""

from __future__ import annotations

import os
import time

from amqtask import App, Reject

app = App("hostile")
time.sleep(float(os.environ.get("AMQTASK_TEST_IMPORT_S", "0")))


class NoText:
    """Cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text for you")

    __repr__ = __str__


@app.task(name="hostile.surrogate")
def surrogate() -> None:
    """Names a file whose name is not UTF-8, as os.listdir gives it."""
    raise FileNotFoundError("caf\udce9.txt")


@app.task(name="hostile.emoji")
def emoji() -> None:
    """Takes four bytes for each of many characters, twelve in JSON."""
    raise ValueError("\U0001f600" * 30_000)


@app.task(name="hostile.reject")
def reject() -> None:
    """Gives a reason that has no text."""
    raise Reject(NoText())


@app.task(name="hostile.fork")
def fork() -> None:
    """Comes out twice."""
    pid = os.fork()
    if pid == 0:
        raise ValueError("the copy")
    os.waitpid(pid, 0)


@app.task(name="hostile.ok")
def ok() -> None:
    """Ends well."""
