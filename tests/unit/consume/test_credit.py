"""The rule that decides how many messages a queue may have with us."""

from __future__ import annotations

from amqtask.consume.credit import LOWER_AFTER_S, RAISE_PAUSE_S, CreditPolicy, Steps


def test_k12_long_and_unknown_tasks_get_one_message_per_slot() -> None:
    policy = CreditPolicy(slots=4)
    assert policy.prefetch(None, 500) == 4
    for runtime_s in (0.2, 1.0, 60.0):
        assert policy.prefetch(runtime_s, 500) == 4
        assert policy.handover(runtime_s) == 1


def test_k12_short_tasks_get_milliseconds_of_work_ahead_and_no_more() -> None:
    policy = CreditPolicy(slots=2)
    assert policy.prefetch(0.00005, 500) == 2 + 512
    assert policy.prefetch(0.005, 500) == 2 + 10
    assert policy.handover(0.001) == 1 + 6


def test_k12_big_messages_stay_within_the_byte_budget() -> None:
    policy = CreditPolicy(slots=2, max_bytes=1_000_000)
    assert policy.prefetch(0.00005, 500_000) == 2 + 2


def test_k12_a_configured_prefetch_is_kept() -> None:
    policy = CreditPolicy(slots=2, fixed=10)
    assert policy.prefetch(60.0, 500) == 10


def steps(slots: int = 2, *, lowered_at: float | None = None) -> Steps:
    made = Steps(slots)
    if lowered_at is not None:
        made.taken(100, 2, lowered_at)
    return made


def test_k12_small_changes_of_a_large_prefetch_are_not_worth_their_cost() -> None:
    assert not steps().due(100, 120, 0.0)
    assert steps().due(100, 250, 0.0)
    assert steps().due(2, 3, 0.0)
    assert not steps().due(2, 2, 0.0)


def test_pain20_less_is_followed_when_it_has_been_wanted_for_a_moment() -> None:
    of_one = steps()
    assert not of_one.due(100, 2, 0.0)
    assert of_one.due(100, 2, LOWER_AFTER_S)
    assert not of_one.due(100, 100, LOWER_AFTER_S)  # a blip
    assert not of_one.due(100, 2, 1.0)


def test_k12_after_it_went_down_a_prefetch_goes_up_to_the_slots_at_once_and_further_after_a_pause() -> None:
    of_one = steps(lowered_at=10.0)
    assert of_one.due(1, 2, 10.0)
    assert not of_one.due(2, 200, 10.0 + RAISE_PAUSE_S / 2)
    assert of_one.due(2, 200, 10.0 + RAISE_PAUSE_S)


def test_k11_acknowledgements_wait_for_company_only_while_there_is_room() -> None:
    steps = Steps(2)
    assert steps.ack_batch(2) == 1
    assert steps.ack_batch(3) == 1
    assert steps.ack_batch(2 + 512) == 64
