"""Pid files: one holder at a time, whatever happens between the open and the lock."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from amqtask.node.pidfile import PidFile, PidFileTaken, holder


def test_a_file_whose_last_holder_leaves_while_it_is_taken_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pid"
    leaving = PidFile(str(path))
    leaving.take()
    real = fcntl.flock

    def leave_first(fd: int, how: int) -> None:
        leaving.release()  # between the newcomer's open and its lock
        real(fd, how)

    newcomer = PidFile(str(path))
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", leave_first)
        newcomer.take()
    assert holder(str(path)) == os.getpid()
    with pytest.raises(PidFileTaken, match=str(os.getpid())):
        PidFile(str(path)).take()
    newcomer.release()
    assert not path.exists()


def test_a_look_at_the_holder_does_not_keep_a_node_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pid"
    path.touch()
    looking = os.open(path, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr("time.sleep", lambda _: os.close(looking))
    taken = PidFile(str(path))
    taken.take()
    assert path.read_text() == f"{os.getpid()}\n"
    taken.release()


def test_a_full_disk_is_an_error_of_the_pid_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(PidFileTaken, match="No space left"):
            PidFile(str(tmp_path / "pid")).take()
