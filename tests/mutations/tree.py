"""Makes a copy of the project in which one thing is broken, and tests that believe it is the real one.

Tests find the code beside themselves (`tests.support.worker.ROOT`), so code and tests are copied together; all else is
linked. Compiled files are copied too: a node would otherwise spend most of its start on compiling.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.mutations.mutation import Mutation

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("amqtask", "tests", "pyproject.toml")
# Fixtures of the copy: the broker is one that is lent, waiting ends sooner. Later names win over earlier ones.
INSIDE = "\nfrom tests.mutations.inside import broker  # noqa: E402, F811\n"


def make_tree(folder: Path, mutation: Mutation | None) -> Path:
    """Fill the empty `folder`; None: nothing is broken. Raises Misplaced."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            shutil.copy2(source, folder / name)
    for source in ROOT.iterdir():
        if source.name not in COPIED and not source.name.startswith("."):
            (folder / source.name).symlink_to(source)
    with (folder / "tests" / "conftest.py").open("a") as conftest:
        conftest.write(INSIDE)
    if mutation is not None:
        mutation.apply(folder / "amqtask")
        for change in mutation.changes:
            changed = folder / "amqtask" / change.file
            for compiled in changed.parent.glob(f"__pycache__/{changed.stem}.*.pyc"):
                compiled.unlink()  # it is told from the source by the second of its last change: that may be the same
    return folder
