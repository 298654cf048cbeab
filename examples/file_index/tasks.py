"""The tasks: one per kind of file. Each reads a file, hashes it, and writes what it found into the index.

A file that cannot be used makes its task fail, and the worker puts the message into the queue's dead-letter queue with
the reason. Nothing here knows of queues or of the broker: `amqtask.toml` does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from amqtask import App
from examples.file_index import kinds, readers
from examples.file_index.index import Index
from examples.file_index.readers import Facts, Source

app = App("file_index", config=str(Path(__file__).with_name("amqtask.toml")))


@app.task(name="file_index.text")
def text(path: str) -> None:
    """Count lines and words."""
    _index(path, kinds.TEXT, readers.read_text)


@app.task(name="file_index.image")
def image(path: str) -> None:
    """Read width and height."""
    _index(path, kinds.IMAGE, readers.read_image)


@app.task(name="file_index.archive")
def archive(path: str) -> None:
    """Count members and unpacked bytes."""
    _index(path, kinds.ARCHIVE, readers.read_archive)


@app.task(name="file_index.other")
def other(path: str) -> None:
    """Hash it, as all the others are hashed, too."""
    _index(path, kinds.OTHER, readers.read_other)


TASKS = {kinds.TEXT: text, kinds.IMAGE: image, kinds.ARCHIVE: archive, kinds.OTHER: other}


def _index(path: str, kind: str, read: Callable[[Source], Facts]) -> None:
    index = _index_of(os.getpid())
    try:
        with Source(path) as source:
            sha256, facts, size = source.sha256(), read(source), source.size
    except Exception as error:
        index.add_failure(path, kind, error=str(error), at=time.time())
        raise
    index.add(path, kind, size=size, sha256=sha256, facts=facts, at=time.time())


@cache
def _index_of(_pid: int) -> Index:
    """This process's connection: by its pid, as an executor is a fork and must not use another process's."""
    return Index.from_environment()
