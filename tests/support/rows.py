"""Prints, as Markdown, which tests prove which row of the feature list, from the tests' names alone.

    python -m tests.support.rows > docs/reference/rows.md

A test named `test_k09_s26_unroutable_is_an_error` stands for rows K09 and S26.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"test_(?P<rows>(?:[skcb]\d\d_)+)")
GROUPS = {
    "S": "What users of task systems know and expect",
    "K": "RabbitMQ's features",
    "C": "Complaints removed",
    "B": "What the best others have",
}


def tests_of(path: Path) -> list[str]:
    """The names of a file's tests, those in classes included."""
    tree = ast.parse(path.read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node.name for node in ast.walk(tree) if isinstance(node, functions) and node.name.startswith("test_")]


def rows_of(test: str) -> list[str]:
    """The rows that a test's name carries."""
    found = NAME.match(test)
    return found["rows"].upper().strip("_").split("_") if found else []


def collect(folder: Path) -> dict[str, list[str]]:
    """Row to tests, each as `file::name` relative to the project."""
    table: dict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.rglob("test_*.py")):
        for test in tests_of(path):
            for row in rows_of(test):
                table[row].append(f"{path.relative_to(folder.parent)}::{test}")
    return dict(sorted(table.items()))


def markdown(table: dict[str, list[str]]) -> str:
    """The page."""
    lines = ["# Features and the tests that prove them", "", "Written by `make rows` from the names of the tests.", ""]
    for letter, title in GROUPS.items():
        rows = {row: tests for row, tests in table.items() if row.startswith(letter)}
        if rows:
            lines += [f"## {title}", "", "| row | tests |", "|---|---|"]
            lines += [f"| {row} | {'<br>'.join(f'`{test}`' for test in tests)} |" for row, tests in rows.items()]
            lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown(collect(ROOT / "tests")), end="")
