"""Gathers the acknowledgements of one channel and writes as few frames as possible. Loop-confined.

RabbitMQ pays per frame, so what is settled in one turn of the loop goes out as one `basic.ack` with `multiple` as
far as the tags are without a gap, and singly beyond the first gap.
"""

from __future__ import annotations

from collections.abc import Callable

from amqtask.wire import frames


class AckBatch:
    """The unsettled tags of one channel. Thrown away with its channel.

    What it keeps is bounded by the prefetch, however long the oldest delivery takes: it remembers what is open, never
    what is settled.
    """

    __slots__ = ("_channel", "_last", "_low", "_open", "_pending", "_write")

    def __init__(self, channel: int, write: Callable[[bytes], None]) -> None:
        self._channel = channel
        self._write = write
        self._open: set[int] = set()  # delivered, and neither acknowledged nor given back
        self._low = 1  # no tag below is open; RabbitMQ counts tags from 1 on each channel
        self._last = 0  # the highest tag that was delivered
        self._pending: list[int] = []  # acknowledged here, not yet written

    def delivered(self, tag: int) -> None:
        """`tag` has arrived; they rise."""
        self._open.add(tag)
        self._last = tag

    def ack(self, tag: int) -> None:
        """Acknowledge `tag` with the next flush."""
        self._pending.append(tag)

    def nack(self, tag: int) -> None:
        """Give `tag` back to its queue, at once.

        `basic.nack` and not `basic.reject`: since RabbitMQ 4.3 only the latter counts as a failed delivery.
        """
        self._write(frames.nack(self._channel, tag, multiple=False, requeue=True))
        self._open.discard(tag)

    def __len__(self) -> int:
        """Acknowledgements waiting for a flush."""
        return len(self._pending)

    def flush(self, *, beyond_gaps: bool = True) -> None:
        """Write what is pending; without `beyond_gaps` only as far as the tags have no gap, which takes one frame.

        Executors end their tasks in an order of their own. What lies beyond a gap would take a frame each, and most
        gaps are closed a millisecond later.
        """
        pending = self._pending
        if not pending:
            return
        self._open.difference_update(pending)
        low = self._advance()
        below = [tag for tag in pending if tag < low]
        beyond = [tag for tag in pending if tag >= low]
        out: list[bytes] = []
        if below:
            # Everything up to this tag is settled. It must itself be one that is acknowledged now: RabbitMQ closes
            # the channel over a multiple ack whose own tag is not outstanding (one that a nack settled, say).
            out.append(frames.ack(self._channel, max(below), multiple=len(below) > 1))
        if beyond_gaps:
            out += [frames.ack(self._channel, tag, multiple=False) for tag in beyond]
            beyond = []
        self._pending = beyond
        if out:
            self._write(b"".join(out))

    def _advance(self) -> int:
        """Find the lowest tag that is open. Each tag is passed once in the channel's life."""
        still_open, last, low = self._open, self._last, self._low
        if still_open:
            while low <= last and low not in still_open:
                low += 1
        else:
            low = last + 1
        self._low = low
        return low
