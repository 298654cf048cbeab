"""Fixtures: copies of the project at work, and for the witnesses nodes as the node tests run them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import broker_versions
from tests.mutations.runs import Runs
from tests.node.conftest import raw, start_worker
from tests.support.rabbit import Rabbits
from tests.support.sandbox import Sandbox

__all__ = ["raw", "runs", "start_worker"]


@pytest.fixture(scope="session")
def runs(request: pytest.FixtureRequest, sandbox: Sandbox, rabbits: Rabbits) -> Iterator[Runs]:
    """Runs the jobs of all tests that were collected, several at a time, beside the test that asks first."""
    node = rabbits.make(broker_versions()[0])
    made = Runs(sandbox, node.start())
    # A test names its job by a parameter; what was deselected is not run.
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    made.start(call.params["job"] for call in calls if call is not None and "job" in call.params)
    yield made
    node.remove()
