"""What Linux must do for us about processes: who reaps whom, who dies with whom, and how one ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def open_standard_streams() -> None:
    """Put /dev/null where standard input, output or error is closed.

    Else the next socket gets that number, and what somebody prints goes into it.
    """
    for fd, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, mode, closefd=False))  # noqa: SIM115 - for as long as the process lives


def allow_files(count: int) -> int:
    """Raise the limit of open files to `count` if it is lower and may be. Returns what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        soft = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return count if soft == resource.RLIM_INFINITY else soft


def become_subreaper() -> None:
    """Make orphans among our descendants our own children, so that we are told how they ended.

    Raises OSError where the kernel has no such thing (it is Linux's own: prctl(2)).
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int, *, wait_s: float = 5.0) -> None:
    """Have the kernel kill this process when `parent` dies; end at once when it has died already.

    The setting takes the parent of the moment, and an orphan changes parents: so wait until `parent` has adopted us.
    """
    deadline = time.monotonic() + wait_s
    while os.getppid() != parent:
        if time.monotonic() > deadline:
            os._exit(0)
        time.sleep(0.0005)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def leave_stopping_to_the_node() -> None:
    """Do nothing on the signals that stop a node; the rest as by default.

    They reach this process too when they are sent to a whole terminal, process group or control group. A handler that
    does nothing, rather than SIG_IGN: what a task starts by exec would inherit that, and could not be terminated.
    """
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda *_: None)


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Signal a process that may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def kill_session(leader: int) -> None:
    """Kill what a dead executor left behind in its process group: its own children would otherwise run on."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def how_it_ended(status: int) -> str:
    """A wait status in words: `exit 1`, `SIGKILL`, `SIGSEGV (core dumped)`."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with contextlib.suppress(ValueError):
            return signal.Signals(number).name + (" (core dumped)" if os.WCOREDUMP(status) else "")
        return f"signal {number}"
    return f"exit {os.waitstatus_to_exitcode(status)}"
