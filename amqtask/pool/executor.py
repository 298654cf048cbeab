"""The executor process: takes one task at a time from its socket, runs it, answers, takes the next.

It has no AMQP and no loop. Taking a packet means starting its task: the node, which holds the other end too, reads back
whatever is still in the socket when this process dies. So an answer is always sent before the next packet is taken.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import NoReturn, Protocol

from amqtask.execute.outcome import Outcome
from amqtask.pool import link


class Runs(Protocol):
    """What an executor runs tasks with."""

    def run(
        self,
        queue: int,
        *,
        handover: int,
        redelivered: bool,
        crashes: int,
        route: bytes,
        properties: bytes,
        body: bytes,
        acknowledge: Callable[[int], None],
    ) -> Outcome | None:
        """Run one delivery to its end. None: it succeeded and nothing is to be told. Never raises.

        `acknowledge(handover)` is called before the task when it is one that is acknowledged early.
        """

    def close(self) -> None:
        """Let go of what the tasks opened; called once, before the process ends."""


def serve(sock: socket.socket, runner: Runs) -> None:
    """Run what comes until the node says to exit or is gone."""
    pid = os.getpid()
    sock.send(link.pack_hello(pid))
    getpid = os.getpid
    receive, unpack, pack_done, clock = link.receive, link.unpack_delivery, link.pack_done, time.monotonic_ns
    run = runner.run

    def acknowledge(handover: int) -> None:
        sock.send(link.pack_started(handover))

    while True:
        packet, fds = receive(sock)
        if not packet or packet[0] == link.EXIT:
            return
        if packet[0] == link.PING:
            sock.send(link.pack_hello(pid))
            continue
        handover, queue, redelivered, crashes, route, properties, body = unpack(packet, fds)
        started = clock()
        outcome = run(
            queue,
            handover=handover,
            redelivered=redelivered,
            crashes=crashes,
            route=route,
            properties=properties,
            body=body,
            acknowledge=acknowledge,
        )
        if getpid() != pid:
            # A copy of this process that the task forked has come out of it too. The original answers, nobody else.
            os._exit(1)
        lasted_us = min((clock() - started) // 1000, 0xFFFFFFFF)
        if outcome is None:
            sock.send(pack_done(handover, lasted_us))
        else:
            sock.send(link.pack_outcome(handover, lasted_us, outcome.to_fields()))


def main(sock: socket.socket, runner: Runs) -> None:
    """The whole life of an executor after its fork. Does not return.

    It leaves without running exit handlers: those belong to the template, whose copy this process is.
    """
    status = 1
    try:
        serve(sock, runner)
        runner.close()
        status = 0
    except (BrokenPipeError, ConnectionResetError):
        status = 0  # the node is gone, and the kernel is about to end us as well
    except BaseException as error:  # noqa: BLE001 - whatever it is, it must not come back into the template's code
        traceback.print_exception(error)
    finally:
        end(status)


def end(status: int) -> NoReturn:
    """Leave the process at once, with what was printed, whatever the streams have become."""
    try:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or never there
                stream.flush()
    finally:
        os._exit(status)
