"""Each promise is broken on purpose, and a test must turn red; and this machinery must tell red from green itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.mutations.mutation import Change, Misplaced, Mutation, Promise
from tests.mutations.runs import Job, Runs, judge
from tests.mutations.table import MUTATIONS, PROBE
from tests.mutations.tree import ROOT

ALL = (PROBE, *MUTATIONS)
SOUND = Job("sound", tuple(sorted({test for mutation in ALL for test in mutation.red})), None)
HARMLESS = Mutation(
    name="harmless",
    promise=None,
    breaks="nothing is broken",
    changes=(Change("consume/credit.py", "class CreditPolicy:\n", "class CreditPolicy:  # of one pool\n"),),
    red=("tests/unit/consume/test_credit.py::test_k12_a_configured_prefetch_is_kept",),
    sign=".",
)


@pytest.mark.parametrize("job", [SOUND, *map(Job.of, ALL)], ids=lambda job: job.name.replace(" ", "-"))
def test_a_broken_promise_turns_its_tests_red_and_else_they_are_green(job: Job, runs: Runs) -> None:
    verdict = runs.verdict(job.name)
    assert verdict.right, verdict.text


@pytest.mark.parametrize("job", [Job.of(HARMLESS)], ids=["harmless"])
def test_a_change_that_no_test_notices_is_reported(job: Job, runs: Runs) -> None:
    verdict = runs.verdict(job.name)
    assert not verdict.right
    assert "'harmless' survived: no test notices that nothing is broken" in verdict.text


def test_each_promise_is_broken_by_some_mutation() -> None:
    assert {mutation.promise for mutation in MUTATIONS} == set(Promise)
    assert len({mutation.name for mutation in ALL}) == len(ALL)


@pytest.mark.parametrize("mutation", ALL, ids=lambda mutation: mutation.name.replace(" ", "-"))
def test_each_red_test_exists(mutation: Mutation) -> None:
    for test in mutation.red:
        file, _, name = test.partition("::")
        assert f"\ndef {name}(" in (ROOT / file).read_text()


@pytest.mark.parametrize("old", ["no such text", "amqtask"])
def test_a_mutation_whose_text_has_moved_says_where_to_look(old: str) -> None:
    lost = replace(HARMLESS, changes=(Change("node/node.py", old, ""),))
    with pytest.raises(Misplaced, match=r"(?s)'harmless' has lost its place.*table.py.*node/node.py holds this text"):
        lost.apply(ROOT / "amqtask")


REPORT = """<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite>
<testcase classname="tests.unit.test_one" name="test_a[3.10]">{0}</testcase>
<testcase classname="tests.unit.test_one" name="test_b" />
</testsuite></testsuites>"""
FAILED = '<failure message="assert 1 == 2">def test_a...</failure>'
ERROR = '<error message="assert 1 == 2">fixture</error>'


@pytest.mark.parametrize(
    ("status", "inside", "tests", "complaint"),
    [
        (1, FAILED, ["test_a"], ""),
        (0, "", ["test_a"], "survived"),
        (1, FAILED, ["test_a", "test_b"], "test_b does not notice"),
        (1, ERROR, ["test_a"], "test_a does not notice"),
        (1, FAILED.replace("1 ==", "3 =="), ["test_a"], "another reason"),
        (2, FAILED, ["test_a"], "could not be run"),
        (4, "", ["test_a"], "could not be run"),
    ],
)
def test_only_a_failure_with_its_sign_counts(status: int, inside: str, tests: list[str], complaint: str) -> None:
    red = tuple(f"tests/unit/test_one.py::{name}" for name in tests)
    job = Job.of(replace(HARMLESS, red=red, sign="1 == 2"))
    said = judge(job, status, REPORT.format(inside))
    assert (said == "") if not complaint else (complaint in said)


def test_without_a_mutation_all_must_be_green() -> None:
    assert judge(SOUND, 0, "") == ""
    assert "nothing is broken" in judge(SOUND, 1, "")
