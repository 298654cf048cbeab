"""A pool whose processes are the test's own, so that none is killed."""

from __future__ import annotations

import pytest

from amqtask.pool import pool as pool_module
from tests.unit.pool.world import World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(pool_module.process, "kill", lambda pid, *_: made.killed.append(pid))
    monkeypatch.setattr(pool_module.process, "kill_session", lambda _pid: None)
    return made
