"""Celery's retry policy for sends, with its names and its arithmetic."""

from __future__ import annotations

import pytest

from amqtask.errors import SettingsError
from amqtask.publish.entry import RetryPolicy


def test_s26_defaults_are_celerys() -> None:
    policy = RetryPolicy()
    assert [policy.pause_s(retry) for retry in (1, 2, 3)] == [0.0, 0.2, 0.2]
    assert [policy.allows(retry) for retry in (1, 3, 4)] == [True, True, False]


def test_s26_options_change_what_they_name() -> None:
    policy = RetryPolicy().changed({"max_retries": None, "interval_start": 1, "interval_step": 0.5, "interval_max": 2})
    assert [policy.pause_s(retry) for retry in (1, 2, 3, 4)] == [1.0, 1.5, 2.0, 2.0]
    assert policy.allows(10**6)
    assert policy.changed({}) == policy
    assert RetryPolicy().changed({"max_retries": 0}).allows(1) is False


@pytest.mark.parametrize(
    "options",
    [{"max_retry": 3}, {"max_retries": 1.5}, {"max_retries": True}, {"interval_start": None}, {"interval_max": "1"}],
)
def test_s26_what_is_wrong_is_said(options: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=next(iter(options))):
        RetryPolicy().changed(options)
