"""What tasks leave behind as proof that they ran: a count per process, or a line per task."""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

_COUNT = struct.Struct("<Q")


class Tally:
    """Counts calls in a file of this process, in a folder that is given by name; a call costs well under a microsecond.

    Without it a worker that dead-letters what it cannot run would look fast. The file is made at the first call: in the
    executor, after any fork. One thread.
    """

    __slots__ = ("_count", "_folder", "_map")

    def __init__(self, folder: str | None) -> None:
        self._folder = folder
        self._map: mmap.mmap | None = None
        self._count = 0

    def hit(self) -> None:
        """Count one call. Without a folder, do nothing."""
        if self._map is None:
            if self._folder is None:
                return
            self._map = self._open(self._folder)
        self._count += 1
        _COUNT.pack_into(self._map, 0, self._count)

    @staticmethod
    def _open(folder: str) -> mmap.mmap:
        handle = os.open(f"{folder}/{os.getpid()}", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(handle, _COUNT.size)
            return mmap.mmap(handle, _COUNT.size)
        finally:
            os.close(handle)


def total(folder: Path) -> int:
    """How many calls all processes counted in a folder."""
    return sum(_COUNT.unpack(path.read_bytes())[0] for path in folder.iterdir())


def append(path: str, line: str) -> None:
    """Append one line; O_APPEND keeps the lines of several processes apart."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, line.encode() + b"\n")
    finally:
        os.close(handle)
