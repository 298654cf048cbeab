"""What a node's exit code says."""

from __future__ import annotations

from typing import Any, cast

import pytest

from amqtask.errors import ConnectionLost, SettingsError, TaskError
from amqtask.node.main import BUG, work


class Node:
    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def run(self) -> None:
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("error", [TaskError("t"), SettingsError("s"), ConnectionLost("c"), ZeroDivisionError(), None])
def test_a_loop_that_failed_is_never_taken_for_a_wrong_setting(error: Exception | None) -> None:
    # 2 and 77 mean that a restart does not help, and the service manager makes none.
    assert work(cast("Any", Node(error))) == (0 if error is None else BUG)
