"""Runs tests in copied trees, a few at a time, and says of each whether it was as it should be.

Used from the session's main thread: each run is a process of its own, looked after by polling.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.mutations.inside import PATIENCE_VARIABLE, lend
from tests.mutations.mutation import Misplaced, Mutation
from tests.mutations.tree import make_tree
from tests.support.rabbit import Rabbit
from tests.support.sandbox import Sandbox

TEST_LIMIT_S = 60
RUN_LIMIT_S = 150
TAIL_CHARS = 6000


@dataclass(frozen=True, slots=True)
class Verdict:
    """`right`: the tests of a mutation failed, with its sign; those of the sound tree passed. `text` says what was."""

    right: bool
    text: str
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Job:
    """Tests to run in a tree of their own; `mutation` None: in one where nothing is broken, so they must pass."""

    name: str
    tests: tuple[str, ...]
    mutation: Mutation | None

    @classmethod
    def of(cls, mutation: Mutation) -> Job:
        """The job that a mutation asks for."""
        return cls(mutation.name, mutation.red, mutation)


@dataclass(slots=True)
class _Running:
    job: Job
    folder: Path
    process: subprocess.Popen[bytes]
    began: float


class Runs:
    """`start` some jobs, then ask for the `verdict` of each, in any order."""

    def __init__(self, sandbox: Sandbox, broker: Rabbit, *, at_once: int = 4) -> None:
        self._sandbox = sandbox
        self._broker = broker
        self._at_once = at_once
        self._waiting: deque[Job] = deque()
        self._running: list[_Running] = []
        self._verdicts: dict[str, Verdict] = {}

    def start(self, jobs: Iterable[Job]) -> None:
        """Run these, as soon as there is room."""
        self._waiting.extend(jobs)
        self._fill()

    def verdict(self, name: str) -> Verdict:
        """Wait for a job's end."""
        while name not in self._verdicts:
            assert self._running or self._waiting, f"no job is named {name!r}"
            self._fill()
            for running in list(self._running):
                late = time.monotonic() - running.began > RUN_LIMIT_S
                if running.process.poll() is not None or late:
                    self._running.remove(running)
                    self._verdicts[running.job.name] = self._end(running, late=late)
            time.sleep(0.05)
        return self._verdicts[name]

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._at_once:
            job = self._waiting.popleft()
            folder = self._sandbox.folder("mutation")
            try:
                make_tree(folder, job.mutation)
            except Misplaced as error:
                self._verdicts[job.name] = Verdict(False, str(error))
                continue
            self._running.append(_Running(job, folder, self._spawn(job, folder), time.monotonic()))

    def _spawn(self, job: Job, folder: Path) -> subprocess.Popen[bytes]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        environ |= lend(self._broker)
        environ["PYTHONPATH"] = str(folder)
        if job.mutation is not None:
            environ[PATIENCE_VARIABLE] = str(job.mutation.patience_s)
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "--show-capture=no", f"--timeout={TEST_LIMIT_S}"]
        command += [f"--junitxml={folder / 'report.xml'}", f"--basetemp={folder / 'tmp'}", *job.tests]
        with (folder / "output").open("wb") as output:
            return self._sandbox.spawn(command, env=environ, cwd=folder, stdout=output, stderr=output)

    def _end(self, running: _Running, *, late: bool) -> Verdict:
        took_s = time.monotonic() - running.began
        status = running.process.returncode
        self._sandbox.kill(running.process)  # what it has left behind
        output = (running.folder / "output").read_text(errors="replace")[-TAIL_CHARS:]
        if late:
            return Verdict(False, f"it did not end in {RUN_LIMIT_S} s\n{output}", took_s)
        report = running.folder / "report.xml"
        complaint = judge(running.job, status, report.read_text() if report.exists() else "")
        if complaint:
            return Verdict(False, f"{complaint}\n{output}", took_s)
        return Verdict(True, "red" if running.job.mutation else "green", took_s)


def judge(job: Job, status: int, report: str) -> str:
    """What was not as it should be after pytest ended with `status` and wrote `report` (JUnit's XML); "": nothing."""
    mutation = job.mutation
    if mutation is None:
        return "" if status == 0 else f"tests fail in a copy of the project where nothing is broken (exit {status})"
    if status == 0:
        return f"mutation {job.name!r} survived: no test notices that {mutation.breaks}"
    if status != 1 or not report:
        return f"mutation {job.name!r}: its tests could not be run (pytest ended with {status})"
    failures = _failures(report)
    for test in job.tests:
        found = [text for name, text in failures if name == test]
        if not found:
            return f"mutation {job.name!r} survived: {test} does not notice that {mutation.breaks}"
        if not any(map(mutation.explains, found)):
            return f"mutation {job.name!r}: {test} fails for another reason than {mutation.sign!r}"
    return ""


def _failures(report: str) -> list[tuple[str, str]]:
    """The tests that failed themselves (an error in a fixture is no failure): node id without parameters, report."""
    found = []
    for case in ElementTree.fromstring(report).iter("testcase"):
        name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name', '').partition('[')[0]}"
        found += [(name, f"{failure.get('message')}\n{failure.text}") for failure in case.findall("failure")]
    return found
