"""How the template makes a process, and what comes of it when the kernel refuses one. Forks for real; no broker."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from amqtask.pool import executor, link
from amqtask.pool.template import Template


class Forker(Template):
    """A template without an app, whose executors say hello and end."""

    def _become_executor(self, end: socket.socket) -> None:
        end.send(link.pack_hello(os.getpid()))
        executor.end(0)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = link.pair()
    near.settimeout(10)
    with near, far:
        yield near, far


@pytest.fixture
def forker() -> Iterator[Forker]:
    ours, theirs = link.pair()
    with ours, theirs:
        yield Forker(theirs, os.getpid())


def refusing(number: int) -> object:
    """An os.fork that fails the `number`-th time within one line of processes."""
    real, made = os.fork, 0

    def fork() -> int:
        nonlocal made
        made += 1
        if made == number:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return real()

    return fork


def test_an_executor_is_made_with_the_template_s_request(
    forker: Forker, ends: tuple[socket.socket, socket.socket]
) -> None:
    near, far = ends
    pid = forker._fork(far)
    assert link.unpack_hello(near.recv(100)) == (link.VERSION, pid)


def own_children() -> set[str]:
    """The pids of this process's children, ended ones that nobody has waited for among them."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.mark.parametrize("number", [1, 2])
def test_a_refused_fork_is_an_error_and_leaves_no_second_template(
    forker: Forker, ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    _, far = ends
    children = own_children()
    monkeypatch.setattr(os, "fork", refusing(number))
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="Resource temporarily unavailable") as caught:
        forker._fork(far)
    assert caught.value.errno == errno.EAGAIN
    assert own_children() == children
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_app_that_has_its_children_reaped_by_the_kernel_gets_executors_too(
    forker: Forker, ends: tuple[socket.socket, socket.socket]
) -> None:
    near, far = ends
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        pid = forker._fork(far)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert link.unpack_hello(near.recv(100)) == (link.VERSION, pid)


def test_a_copy_of_an_executor_that_a_task_made_never_answers(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    original = os.getpid()

    class Runner:
        def run(self, *_: object, **__: object) -> None:
            if os.fork() == 0:
                return  # the copy comes out of the task as well
            os.wait()
            near.send(bytes([link.EXIT]))

        def close(self) -> None:
            assert os.getpid() == original

    packet, _ = link.pack_delivery(9, 0, redelivered=False, crashes=0, route=b"", properties=b"", body=b"")
    near.send(packet)
    executor.serve(far, Runner())
    answers = [near.recv(100), near.recv(100)]
    assert answers[0] == link.pack_hello(original)
    assert link.unpack_done(answers[1])[0] == 9
    near.settimeout(0)
    with pytest.raises(BlockingIOError):
        near.recv(100)
