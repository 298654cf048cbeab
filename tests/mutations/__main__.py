"""`python -m tests.mutations [NAME ...]`: break promises by hand. Exits 0 when each of them turned its tests red."""

from __future__ import annotations

import argparse
import os
import sys

from tests.mutations.runs import Job, Runs
from tests.mutations.table import MUTATIONS, PROBE
from tests.support.rabbit import LATEST_OF_THIS_MACHINE, Rabbits, Roots
from tests.support.sandbox import Sandbox


def main(argv: list[str]) -> int:
    """Entry of the program."""
    known = {mutation.name: mutation for mutation in (PROBE, *MUTATIONS)}
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutations to try (default: all)")
    parser.add_argument("--list", action="store_true", help="show the table and try nothing")
    given = parser.parse_args(argv)
    unknown = [name for name in given.names if name not in known]
    if unknown:
        parser.error(f"no mutation is named {', '.join(unknown)}; there are: {', '.join(known)}")
    chosen = [known[name] for name in given.names] or list(known.values())
    if given.list:
        for mutation in chosen:
            promise = mutation.promise.value if mutation.promise else "(the copy is what runs)"
            print(f"{mutation.name}\n    {promise}: {mutation.breaks}")
            print("".join(f"    amqtask/{change.file}\n" for change in mutation.changes), end="")
            print("".join(f"    {test}\n" for test in mutation.red), end="")
        return 0
    wrong = 0
    with Sandbox() as sandbox:
        rabbits = Rabbits(sandbox, Roots(os.environ.get("AMQTASK_TEST_RABBIT_ROOTS", "")))
        version = os.environ.get("AMQTASK_TEST_BROKERS", "").partition(",")[0] or LATEST_OF_THIS_MACHINE
        runs = Runs(sandbox, rabbits.make(version).start())
        runs.start(Job.of(mutation) for mutation in chosen)
        for mutation in chosen:
            verdict = runs.verdict(mutation.name)
            wrong += not verdict.right
            word = verdict.text if verdict.right else "NOT AS IT SHOULD BE"
            print(f"{mutation.name:45} {verdict.took_s:5.1f} s  {word}", flush=True)
            if not verdict.right:
                print(verdict.text)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
