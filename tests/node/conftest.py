"""Fixtures of the tests that run real nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.raw import Raw
from tests.support.sandbox import Sandbox
from tests.support.worker import StartWorker, workers


@pytest.fixture
def start_worker(sandbox: Sandbox, tmp_path: Path, vhost_url: str, record_folder: Path) -> Iterator[StartWorker]:
    """Starts `amqtask worker` processes with the recorded tasks on this test's own virtual host."""
    with workers(sandbox, tmp_path, vhost_url, "tests.support.apps.recorded:app") as start:
        yield start


@pytest.fixture
def raw(vhost_url: str) -> Iterator[Raw]:
    """A connection of the test's own, which owes nothing to the product."""
    with Raw(vhost_url) as connection:
        yield connection
