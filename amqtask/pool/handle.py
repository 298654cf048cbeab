"""One executor process, as the node sees it. Loop-confined.

The node holds both ends of the pair: it writes tasks to one and reads outcomes from it, and through the other it can
take back, in order, what the executor has not taken yet. So what is missing when nothing more can be taken back has
started.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Mapping
from typing import Any

from amqtask.consume.delivery import Delivery
from amqtask.execute.outcome import Outcome
from amqtask.pool import link

# What the kernel says when there is no descriptor, memory or buffer for one more packet at the moment.
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENOSPC, errno.ETOOMANYREFS})


class ShortOfResources(Exception):
    """The kernel has no room for a packet or its memory file: descriptors, memory, descriptors in flight."""


class ExecutorHandle:
    """Its sockets, its pid, and what it was handed and has not answered."""

    __slots__ = (
        "_near",
        "done",
        "far",
        "last_answer",
        "outstanding",
        "pid",
        "probed",
        "ready",
        "retiring",
        "started_at",
        "stopped_at",
    )

    def __init__(self, started_at: float) -> None:
        self._near, self.far = link.pair()
        self._near.setblocking(False)
        # Both ends share their blocking mode with the executor's copy, so `far` stays blocking: it waits in recv there,
        # and we ask with MSG_DONTWAIT here.
        self.pid: int | None = None
        self.ready = False
        self.retiring = False
        self.started_at = started_at
        self.last_answer = started_at
        self.done = 0
        self.probed = False  # whether it was looked at since its last answer
        self.stopped_at: float | None = None  # when it was found not to take what it was handed
        self.outstanding: dict[int, Delivery] = {}  # by hand-over id, in the order of the hand-over

    def fileno(self) -> int:
        """The descriptor to watch for outcomes."""
        return self._near.fileno()

    def hand_over(self, handover: int, queue: int, delivery: Delivery) -> bool:
        """Put one task into the executor's socket. False when the socket is full: nothing has happened then.

        Raises ShortOfResources; nothing has happened then either.
        """
        packet, content = link.pack_delivery(
            handover,
            queue,
            redelivered=delivery.redelivered,
            crashes=delivery.crashes,
            route=delivery.route,
            properties=delivery.properties,
            body=delivery.body,
        )
        try:
            if content is None:
                self._near.send(packet)
            else:
                fd = link.memory_file(content)
                try:
                    link.send_with(self._near, packet, [fd])
                finally:
                    link.close_all([fd])
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in _SHORT:
                raise ShortOfResources(error.strerror) from error
            raise
        delivery.handover = handover
        self.outstanding[handover] = delivery
        return True

    def answers(
        self,
        on_done: Callable[[ExecutorHandle, Delivery, int], None],
        on_outcome: Callable[[ExecutorHandle, Delivery, int, Outcome], None],
        on_hello: Callable[[ExecutorHandle, int, int], None],
        on_started: Callable[[Delivery], None],
    ) -> int:
        """Read every answer that is there and report each. Returns how many tasks ended. Raises link.Garbled."""
        ended = 0
        receive, outstanding = self._near.recv, self.outstanding
        try:
            while True:
                packet = receive(link.ANSWER_BYTES)
                kind = packet[0] if packet else 0
                if kind == link.DONE:
                    handover, runtime_us = link.unpack_done(packet)
                    ended += 1
                    delivery = outstanding.pop(handover, None)
                    if delivery is not None:  # else this node has given it up already, and settled it
                        on_done(self, delivery, runtime_us)
                elif kind == link.OUTCOME:
                    handover, runtime_us, fields = link.unpack_outcome(packet)
                    outcome = _outcome(fields)
                    ended += 1
                    delivery = outstanding.pop(handover, None)
                    if delivery is not None:
                        on_outcome(self, delivery, runtime_us, outcome)
                elif kind == link.STARTED:
                    delivery = outstanding.get(link.unpack_done(packet)[0])
                    if delivery is not None:
                        on_started(delivery)
                else:
                    on_hello(self, *link.unpack_hello(packet))
                if not outstanding:
                    break  # nothing more can come: spares the call that would say so
        except BlockingIOError:
            return ended
        return ended

    def take_back(self) -> list[Delivery]:
        """What it was handed and has not taken, in order; it will not see those any more."""
        taken_back: list[Delivery] = []
        pinged = False
        with contextlib.suppress(BlockingIOError):
            while True:
                packet, fds = link.receive(self.far, socket.MSG_DONTWAIT)
                if packet[0] == link.DELIVERY:
                    link.close_all(fds)
                    taken_back.append(self.outstanding.pop(link.handover_of(packet)))
                elif packet[0] == link.PING:
                    pinged = True
        # What is meant for the process itself goes back in.
        if pinged:
            self.probe()
        if self.retiring:
            self.retire()
        return taken_back

    def probe(self) -> None:
        """Have it say hello, when it takes packets again."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            self._near.send(bytes([link.PING]))

    def retire(self) -> None:
        """Have it end when it has run what it was handed."""
        self.retiring = True
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            self._near.send(bytes([link.EXIT]))

    def close(self) -> None:
        """Close both ends. The process, if it lives, then finds its socket gone and leaves."""
        self._near.close()
        self.far.close()


def _outcome(fields: Mapping[str, Any]) -> Outcome:
    try:
        return Outcome.from_fields(fields)
    except (KeyError, ValueError) as error:
        raise link.Garbled(f"an outcome without {error}") from error
