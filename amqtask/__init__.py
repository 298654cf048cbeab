"""amqtask: a task router for RabbitMQ.

The names below are the public ones; each is imported when it is first used, so that `import amqtask` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amqtask.app import App
    from amqtask.errors import (
        AmqtaskError,
        BatchFailed,
        BrokerError,
        Ignore,
        MessageError,
        NotRegistered,
        PublishError,
        PublishRefused,
        PublishUncertain,
        QueueNotDeclared,
        Reject,
        ResultError,
        SettingsError,
        TaskError,
        TopologyError,
        Unroutable,
    )
    from amqtask.results import AsyncResult
    from amqtask.tasks.context import Request, current_task
    from amqtask.tasks.default import shared_task
    from amqtask.tasks.signature import Signature
    from amqtask.tasks.task import Task

__all__ = [
    "AmqtaskError",
    "App",
    "AsyncResult",
    "BatchFailed",
    "BrokerError",
    "Ignore",
    "MessageError",
    "NotRegistered",
    "PublishError",
    "PublishRefused",
    "PublishUncertain",
    "QueueNotDeclared",
    "Reject",
    "Request",
    "ResultError",
    "SettingsError",
    "Signature",
    "Task",
    "TaskError",
    "TopologyError",
    "Unroutable",
    "current_task",
    "shared_task",
]

_ELSEWHERE = {
    "App": "amqtask.app",
    "AsyncResult": "amqtask.results",
    "Request": "amqtask.tasks.context",
    "Signature": "amqtask.tasks.signature",
    "Task": "amqtask.tasks.task",
    "current_task": "amqtask.tasks.context",
    "shared_task": "amqtask.tasks.default",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'amqtask' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_ELSEWHERE.get(name, "amqtask.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
