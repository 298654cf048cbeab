"""What differs for tests within a copied tree: their broker is lent to them, and they do not wait as long.

Imported by the copy's conftest only. A test of a broken promise often waits for what will never come; its own limits
are made for slow machines, and a red test would cost half a minute.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.node import scenes
from tests.support.rabbit import Rabbit
from tests.support.raw import Raw

LENT_VARIABLE = "AMQTASK_TEST_LENT_BROKER"
PATIENCE_VARIABLE = "AMQTASK_TEST_PATIENCE_S"


class LentRabbit(Rabbit):
    """A running node that somebody else started: it can be asked, not stopped."""

    def __init__(self, *, version: str, port: int, management_port: int) -> None:
        self.name = "lent"
        self.version = version
        self.port = port
        self.management_port = management_port

    @property
    def running(self) -> bool:
        """The lender sees to that."""
        return True


def lend(node: Rabbit) -> dict[str, str]:
    """The environment of a tree that uses `node`."""
    fields = {"version": node.version, "port": node.port, "management_port": node.management_port}
    return {LENT_VARIABLE: json.dumps(fields), "AMQTASK_TEST_BROKERS": node.version}


@pytest.fixture(scope="session")
def broker(broker_version: str) -> Rabbit:
    """The node that is lent to this tree."""
    node = LentRabbit(**json.loads(os.environ[LENT_VARIABLE]))
    assert node.version == broker_version
    return node


def _bounded(wait: Callable[..., None], bound_s: float) -> Callable[..., None]:
    def waits(*args: Any, timeout_s: float = 30, **more: Any) -> None:
        wait(*args, timeout_s=min(timeout_s, bound_s), **more)

    return waits


if PATIENCE_VARIABLE in os.environ:
    _bound_s = float(os.environ[PATIENCE_VARIABLE])
    scenes.wait_until = _bounded(scenes.wait_until, _bound_s)
    Raw.wait_count = _bounded(Raw.wait_count, _bound_s)  # type: ignore[method-assign]
