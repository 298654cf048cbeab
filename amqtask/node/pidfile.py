"""A pid file that cannot lie: it is locked for as long as its process lives.

Whether the process is alive is asked of the lock, never of the number: a number may belong to another process by now.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from amqtask.errors import AmqtaskError

LOCK_TRIES, LOCK_PAUSE_S = 5, 0.02


class PidFileTaken(AmqtaskError):
    """Another live process holds the pid file, or it cannot be made."""


class PidFile:
    """One pid file: `take` at the start, `release` at the end."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd: int | None = None

    def take(self) -> None:
        """Create and lock it. Symbolic links are not followed. Raises PidFileTaken."""
        fd = None
        while fd is None:
            fd = self._locked()
        try:
            held = os.read(fd, 32)
            if held.strip() and not held.strip().isdigit():
                raise PidFileTaken(f"pid file {self._path} holds something else than a pid, and is left alone")
            os.ftruncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)
            os.write(fd, f"{os.getpid()}\n".encode())
        except (OSError, PidFileTaken) as error:
            os.close(fd)
            if isinstance(error, OSError):
                raise PidFileTaken(f"pid file {self._path}: {error.strerror}") from error
            raise
        self._fd = fd

    def _locked(self) -> int | None:
        """The file, open and locked; None if its last holder removed it between our open and our lock."""
        try:
            # 0644: others may read who runs; O_NOFOLLOW: a planted link must not make us write elsewhere.
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise PidFileTaken(f"pid file {self._path}: {error.strerror}") from error
        for left in reversed(range(LOCK_TRIES)):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if left:  # perhaps `holder` is just looking
                    time.sleep(LOCK_PAUSE_S)
                    continue
                pid = os.read(fd, 32).decode("ascii", "replace").strip() or "another process"
                os.close(fd)
                raise PidFileTaken(f"pid file {self._path} is held by {pid}: is this node running already?") from error
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(fd), Path(self._path).stat()):
                return fd
        os.close(fd)
        return None

    def release(self) -> None:
        """Remove it and let the lock go."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                Path(self._path).unlink()
            os.close(self._fd)
            self._fd = None


def holder(path: str) -> int | None:
    """The pid of the live process that holds `path`; None when there is none, whatever the file says."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        text = os.read(fd, 32).decode("ascii", "replace").strip()
        return int(text) if text.isdigit() else None
    else:
        return None
    finally:
        os.close(fd)
