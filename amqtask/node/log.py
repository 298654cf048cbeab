"""The node's log: structlog events as lines, written by a thread of its own so that no reader can stop the loop.

A terminal that is scrolled back, a full pipe or a slow disk blocks whoever writes to it. Lines therefore go through a
bounded queue to a thread that does nothing else; when it is full, lines are dropped and their number is logged once
there is room again. Nobody's root logger is touched.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import queue
import sys
import threading
from collections.abc import Mapping
from typing import IO, Any, cast

import structlog

CAPACITY_LINES = 10_000
MAX_LINE_CHARS = 16_000


class _Order(enum.Enum):
    """What the writing thread is told between two lines."""

    REOPEN = 1
    END = 2


_LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}


class LineWriter:
    """Takes lines from any thread without waiting; one daemon thread writes them."""

    def __init__(self, stream: IO[str], *, path: str | None = None) -> None:
        self._stream = stream
        self._path = path
        self._lines: queue.SimpleQueue[str | _Order] = queue.SimpleQueue()
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, name="amqtask-log", daemon=True)
        self._thread.start()

    def write_line(self, line: str) -> None:
        """Queue one line; drop it when the queue is full."""
        if self._lines.qsize() >= CAPACITY_LINES:
            self._dropped += 1
            return
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._lines.put(f"... {dropped} log lines were dropped: the log was not read fast enough")
        self._lines.put(line if len(line) <= MAX_LINE_CHARS else line[:MAX_LINE_CHARS] + " ... cut")

    def reopen(self) -> None:
        """Open the file anew, after it was rotated; what was written until now still goes to the old one."""
        self._lines.put(_Order.REOPEN)

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what is queued, for at most `timeout_s`."""
        self._lines.put(_Order.END)
        self._thread.join(timeout_s)

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            if line is _Order.END:
                with contextlib.suppress(OSError, ValueError):
                    self._stream.flush()
                return
            if line is _Order.REOPEN:
                self._open_anew()
                continue
            self._put(line)

    def _put(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody is left to tell
            self._stream.write(line + "\n")
            if self._lines.empty():
                self._stream.flush()

    def _open_anew(self) -> None:
        if self._path is None:
            return
        try:
            stream = open_log(self._path)
        except OSError as error:  # the old one is better than none
            self._put(f"... the log file cannot be opened anew: {error.strerror}")
            return
        with contextlib.suppress(OSError):
            self._stream.close()
        self._stream = stream


class _Logger:
    """What structlog calls with a finished line, whatever the level."""

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer

    def msg(self, message: str) -> None:
        """Queue the line."""
        self._writer.write_line(message)

    log = debug = info = warning = warn = error = critical = fatal = exception = msg


def open_log(path: str) -> IO[str]:
    """Open a log file for appending. Raises OSError."""
    return open(path, "a", encoding="utf-8", errors="backslashreplace")  # noqa: PTH123 - lives with the node


def configure(*, level: str, style: str, path: str | None, node: str) -> LineWriter:
    """Set up structlog for this process. Returns the writer, to be closed at the end.

    `style`: `console`, `json`, or `auto` (console on a terminal). Raises OSError when `path` cannot be opened.
    """
    stream: IO[str] = open_log(path) if path else sys.stderr
    writer = LineWriter(stream, path=path)
    # Tracebacks go as text without the values of variables: there are passwords among them.
    as_json = style == "json" or (style == "auto" and not stream.isatty())
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    processors: list[Any] = [structlog.processors.add_log_level, stamp, _add(node=node, pid=os.getpid())]
    if as_json:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    else:
        colors = stream.isatty() and "NO_COLOR" not in os.environ
        plain = structlog.dev.plain_traceback
        processors += [_on_one_line, structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: cast("Any", _Logger(writer)),
        cache_logger_on_first_use=False,
    )
    return writer


def _on_one_line(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Texts of senders and tasks with their control characters as escapes: nobody else writes a line of this log."""
    return {name: _escaped(value) if isinstance(value, str) else value for name, value in event.items()}


def _escaped(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _add(**fields: object) -> Any:
    def processor(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        return {**fields, **event}

    return processor
