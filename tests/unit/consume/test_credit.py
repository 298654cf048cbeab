"""The rule that decides how many messages a queue may have with us."""

from __future__ import annotations

from amqtask.consume.credit import RAISE_PAUSE_S, CreditPolicy, worth_changing


def test_k12_long_and_unknown_tasks_get_one_message_per_slot() -> None:
    policy = CreditPolicy(slots=4)
    assert policy.prefetch(None, 500) == 4
    for runtime_s in (0.2, 1.0, 60.0):
        assert policy.prefetch(runtime_s, 500) == 4
        assert policy.handover(runtime_s) == 1


def test_k12_short_tasks_get_milliseconds_of_work_ahead_and_no_more() -> None:
    policy = CreditPolicy(slots=2)
    assert policy.prefetch(0.00005, 500) == 2 + 256
    assert policy.prefetch(0.005, 500) == 2 + 10
    assert policy.handover(0.001) == 1 + 6


def test_k12_big_messages_stay_within_the_byte_budget() -> None:
    policy = CreditPolicy(slots=2, max_bytes=1_000_000)
    assert policy.prefetch(0.00005, 500_000) == 2 + 2


def test_k12_a_configured_prefetch_is_kept() -> None:
    policy = CreditPolicy(slots=2, fixed=10)
    assert policy.prefetch(60.0, 500) == 10


def test_k12_small_changes_of_a_large_prefetch_are_not_worth_their_cost() -> None:
    assert not worth_changing(100, 120, 60.0, slots=2)
    assert worth_changing(100, 250, 60.0, slots=2)
    assert worth_changing(100, 2, 60.0, slots=2)
    assert worth_changing(2, 3, 60.0, slots=2)
    assert not worth_changing(2, 2, 60.0, slots=2)


def test_k12_after_it_went_down_a_prefetch_goes_up_to_the_slots_at_once_and_further_after_a_pause() -> None:
    assert worth_changing(1, 2, 0.0, slots=2)
    assert not worth_changing(2, 200, RAISE_PAUSE_S / 2, slots=2)
    assert worth_changing(2, 200, RAISE_PAUSE_S, slots=2)
    assert worth_changing(200, 2, 0.0, slots=2)
