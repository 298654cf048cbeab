"""A file that is opened for reading, what a reader finds in it, and the error that says why it cannot be used."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from types import TracebackType
from typing import Self


class Unusable(Exception):
    """A file cannot be read, or is not what its name says. Its text is `what (detail)`: reports group by `what`."""

    def __init__(self, what: str, detail: object = None) -> None:
        super().__init__(what if detail is None else f"{what} ({detail})")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a reader found; None where a kind of file has no such thing. `format` is a word: `png`, `zip`, ..."""

    format: str
    lines: int | None = None
    words: int | None = None
    width: int | None = None
    height: int | None = None
    members: int | None = None
    unpacked_bytes: int | None = None


class Source:
    """An open regular file: `file` to read from, `size` in bytes, `path` as it was given. A context manager.

    Raises Unusable when there is no such file, when it may not be read, and when it is no regular file: reading a
    named pipe would wait for somebody to write into it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            raise Unusable("cannot be opened", getattr(error, "strerror", None) or error) from error
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            os.close(descriptor)
            raise Unusable("is not a regular file", stat.filemode(state.st_mode))
        self.size = state.st_size
        self.file = os.fdopen(descriptor, "rb")

    def sha256(self) -> str:
        """The hash of the content, in hexadecimal. The next read begins at the start."""
        digest = hashlib.file_digest(self.file, "sha256").hexdigest()
        self.file.seek(0)
        return digest

    def exactly(self, count: int, what: str) -> bytes:
        """The next `count` bytes; Unusable, saying that `what` is truncated, when there are fewer."""
        data = self.file.read(count)
        if len(data) < count:
            raise Unusable(f"truncated {what}", f"after {self.size} bytes")
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()
