"""Events of code that also runs in users' programs: to structlog where somebody has configured it, else to `logging`.

An unconfigured structlog prints every event to standard output, which belongs to the program. Its own loggers
(`amqtask.*`) are all that is used of `logging`: no handler, no level, and never the root logger's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog


class EventLog:
    """A logger for events with past-tense dotted names. Asks at each event who listens."""

    def __init__(self, name: str) -> None:
        self._structured: Any = structlog.get_logger(name)
        self._plain: Any = structlog.wrap_logger(
            logging.getLogger(name),
            processors=[structlog.stdlib.filter_by_level, structlog.processors.format_exc_info, _one_line],
            wrapper_class=structlog.stdlib.BoundLogger,
        )

    def info(self, event: str, **fields: object) -> None:
        """Something that is worth knowing happened."""
        self._logger.info(event, **fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something went wrong that is dealt with."""
        self._logger.warning(event, **fields)

    def error(self, event: str, **fields: object) -> None:
        """Something went wrong that a person must mend."""
        self._logger.error(event, **fields)

    def exception(self, event: str, **fields: object) -> None:
        """A bug: the exception that is being handled goes along."""
        self._logger.error(event, exc_info=True, **fields)

    @property
    def _logger(self) -> Any:
        return self._structured if structlog.is_configured() else self._plain


def _one_line(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    name, trace = event.pop("event", ""), event.pop("exception", None)
    line = " ".join([str(name), *_pairs(event)])
    return line if trace is None else f"{line}\n{trace}"


def _pairs(fields: Mapping[str, object]) -> list[str]:
    return [f"{key}={value!r}" if isinstance(value, str) else f"{key}={value}" for key, value in fields.items()]
