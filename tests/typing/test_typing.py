"""amqtask as a type checker sees it from outside: `delay` has the function's own signature."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

USER_CODE = Path(__file__).with_name("user_code.py")


def test_s23_delay_has_the_functions_own_signature(tmp_path: Path) -> None:
    """mypy, strict and without this project's settings, finds exactly the lines that are marked as wrong."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir", str(tmp_path), USER_CODE.name],
        cwd=USER_CODE.parent,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    found = {int(line) for line in re.findall(rf"^{USER_CODE.name}:(\d+): error", done.stdout, re.MULTILINE)}
    marked = {n for n, line in enumerate(USER_CODE.read_text().splitlines(), 1) if line.endswith("# wrong")}
    assert found == marked, done.stdout + done.stderr
    others = [line for line in done.stdout.splitlines() if ": error" in line and not line.startswith(USER_CODE.name)]
    assert others == []
