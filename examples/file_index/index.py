"""The index: one SQLite file that every executor writes to, and the demo reads from.

Each executor has a connection of its own, opened in its process (a connection must not cross a fork), and writes one
row per file in a transaction of its own. WAL lets readers go on meanwhile; writers take turns. A file is a row by its
path, so a task that runs again writes the same row again.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from examples.file_index.readers import Facts

VARIABLE = "FILE_INDEX_DB"  # where the worker's tasks learn which file it is
_BUSY_S = 30.0

_SCHEMA = """
CREATE TABLE files (
    path TEXT PRIMARY KEY, kind TEXT NOT NULL, size INTEGER NOT NULL, sha256 TEXT NOT NULL,
    format TEXT NOT NULL, lines INTEGER, words INTEGER, width INTEGER, height INTEGER, members INTEGER,
    unpacked_bytes INTEGER,
    done_at REAL NOT NULL,             -- Unix seconds
    runs INTEGER NOT NULL DEFAULT 1    -- how often a task wrote it
);
CREATE TABLE failures (
    path TEXT PRIMARY KEY, kind TEXT NOT NULL, error TEXT NOT NULL, failed_at REAL NOT NULL
);
"""
_ADD = """
INSERT INTO files (path, kind, size, sha256, done_at, format, lines, words, width, height, members, unpacked_bytes)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (path) DO UPDATE SET
    kind = excluded.kind, size = excluded.size, sha256 = excluded.sha256, format = excluded.format,
    lines = excluded.lines, words = excluded.words, width = excluded.width, height = excluded.height,
    members = excluded.members, unpacked_bytes = excluded.unpacked_bytes,
    done_at = excluded.done_at, runs = runs + 1
"""


def shown(path: str) -> str:
    """A path as text that can be stored and printed, whatever bytes its name has."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class Done:
    """One indexed file: its kind, when (Unix seconds), and how often a task wrote it."""

    kind: str
    at: float
    runs: int


class Index:
    """One process's connection to the index."""

    def __init__(self, path: Path, *, make: bool = False) -> None:
        """Open it; `make` starts a new, empty one in the place of what is there."""
        if make:
            for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
                name.unlink(missing_ok=True)
        self._connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
        if make:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.executescript(_SCHEMA)
        # A commit survives the death of a process without a sync each; only a power failure may take the last ones.
        self._connection.execute("PRAGMA synchronous = NORMAL")

    @classmethod
    def from_environment(cls) -> Index:
        """The index that the environment names."""
        return cls(Path(os.environ[VARIABLE]))

    # Tasks write

    def add(self, path: str, kind: str, *, size: int, sha256: str, facts: Facts, at: float) -> None:
        """Write a file's row, over the one that is there."""
        self._connection.execute(_ADD, (shown(path), kind, size, sha256, at, *astuple(facts)))

    def add_failure(self, path: str, kind: str, *, error: str, at: float) -> None:
        """Note that a file could not be indexed."""
        self._connection.execute(
            "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?)", (shown(path), kind, shown(error), at)
        )

    # The demo reads

    def counts(self) -> tuple[int, int]:
        """How many files are indexed, and how many could not be."""
        (row,) = self._connection.execute("SELECT (SELECT count(*) FROM files), (SELECT count(*) FROM failures)")
        return int(row[0]), int(row[1])

    def done(self) -> dict[str, Done]:
        """Every indexed file by its path."""
        rows = self._connection.execute("SELECT path, kind, done_at, runs FROM files")
        return {path: Done(kind, at, runs) for path, kind, at, runs in rows}

    def failed(self) -> dict[str, str]:
        """The kind of every file that could not be indexed, by its path."""
        return dict(self._connection.execute("SELECT path, kind FROM failures"))

    def summary(self) -> dict[str, int]:
        """What the index holds, in numbers."""
        cursor = self._connection.execute(
            "SELECT count(*) files, sum(size) bytes, sum(lines) lines, sum(words) words, sum(width IS NOT NULL) images,"
            " sum(members IS NOT NULL) archives, sum(unpacked_bytes) unpacked_bytes FROM files"
        )
        names = [column[0] for column in cursor.description]
        return {name: value or 0 for name, value in zip(names, cursor.fetchone(), strict=True)}

    # Life

    def close(self) -> None:
        """Close the connection; the last one to close tidies the WAL away."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def walk(folder: str) -> Iterator[str]:
    """Every file below `folder`, in a fixed order: all that is no folder, links and named pipes included.

    Links to folders are not followed, so no file comes twice and no walk is endless.
    """
    for here, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield os.path.join(here, name)  # noqa: PTH118 - thousands of them
