"""The public names are these and no others, and importing the package costs next to nothing."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import amqtask

PUBLIC = [
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


def test_the_public_names_are_these() -> None:
    assert sorted(amqtask.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(amqtask, name).__name__ == name
    assert set(PUBLIC) <= set(dir(amqtask))
    with pytest.raises(AttributeError, match="nonesuch"):
        amqtask.nonesuch  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError):
        importlib.import_module("amqtask.nonesuch")


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, amqtask; print(*sorted(m for m in sys.modules if m.split('.')[0] in sys.argv[1:]))"
    heavy = ["pika", "kombu", "pydantic", "structlog", "tenacity", "click", "asyncio", "socket"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == []


def test_making_an_app_opens_no_connection_and_loads_no_client() -> None:
    code = "import sys; from amqtask import App; a = App('x'); a.task(lambda: 0, name='t'); a.tasks['t'].s(1);"
    code += "print(*(m for m in ('pika', 'kombu', 'structlog') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == []
