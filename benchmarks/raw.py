"""A bare-socket AMQP client: the ceilings (confirmed publish, consume with batched acks) and the odd jobs around a run.

Single-threaded and blocking; one object is one connection with one channel. Heartbeats are turned off: it lives for
seconds, and a run must not pay for a timer.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from types import TracebackType

from benchmarks import frames as f
from benchmarks.errors import BenchError

CHANNEL = 1
TIMEOUT_S = 120.0  # silence of the broker that ends a run
PREFETCHES = (256, 1000)  # the ceiling is the better of these; beyond them nothing was gained
WINDOWS = (1000, 5000)  # unconfirmed publishes; the ceiling is the better of these
FILL_WINDOW = 5000
_RECEIVE_BYTES = 256 * 1024
_BATCH = 64  # messages a write


class RawClient:
    """One connection to the broker at `port` on loopback, as guest, in `vhost`."""

    def __init__(self, port: int, vhost: str = "/") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(TIMEOUT_S)
        self._frames: list[f.Frame] = []
        self._rest = b""
        self._confirms = False
        self.frame_max = 131072
        self._handshake(vhost)

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connection; what is unacked goes back to its queue."""
        self._socket.close()

    def declare(self, queue: str) -> None:
        """Declare a durable classic queue without arguments."""
        self._declare(queue, flags=0b00010)

    def depth(self, queue: str) -> int:
        """Messages ready in `queue`, which must exist."""
        return self._counts(queue)[0]

    def consumers(self, queue: str) -> int:
        """Consumers on `queue`, which must exist."""
        return self._counts(queue)[1]

    def delete(self, queue: str) -> None:
        """Delete `queue` with what is in it; a queue that is not there is no error."""
        arguments = struct.pack(">H", 0) + f.shortstr(queue) + b"\0"
        self._call(f.QUEUE_DELETE, arguments, f.QUEUE_DELETE_OK)

    def purge(self, queue: str) -> None:
        """Remove the ready messages of `queue`."""
        self._call(f.QUEUE_PURGE, struct.pack(">H", 0) + f.shortstr(queue) + b"\0", f.QUEUE_PURGE_OK)

    def take(self, queue: str) -> tuple[bytes, bytes]:
        """Take one message off `queue`: its properties as on the wire, and its body."""
        self._send(f.method(CHANNEL, f.BASIC_GET, struct.pack(">H", 0) + f.shortstr(queue) + b"\1"))
        answer = self._next_frame()
        if answer.method != f.BASIC_GET_OK:
            raise BenchError(f"no message in queue {queue!r} to take a copy of")
        header = self._next_frame()
        (size,) = struct.unpack_from(">Q", header.payload, 4)
        body = b""
        while len(body) < size:
            body += self._next_frame().payload
        return header.payload[12:], body

    def publish(self, publishes: Iterable[bytes], *, window: int) -> float:
        """Send pre-encoded publishes, at most `window` unconfirmed, until all are confirmed; seconds that it took.

        What is to be fast must be encoded before: a list is sent in joined batches that are made before the clock
        starts, a generator is encoded on the way.
        """
        if not self._confirms:
            self._call(f.CONFIRM_SELECT, b"\0", f.CONFIRM_SELECT_OK)
            self._confirms = True
            self._published = 0
            self._scanner = f.Scanner()
        batches: Iterator[tuple[int, bytes]] = _batches(publishes)
        if isinstance(publishes, list):
            batches = iter(list(batches))
        self._socket.setblocking(False)
        try:
            return self._pump(batches, window)
        finally:
            self._socket.settimeout(TIMEOUT_S)

    def consume(self, queue: str, count: int, *, prefetch: int) -> float:
        """Consume and ack `count` messages, acks batched; seconds from the first delivery to the last ack written."""
        scanner = f.Scanner()
        self._call(f.BASIC_QOS, struct.pack(">IHB", 0, prefetch, 0), f.BASIC_QOS_OK)
        arguments = struct.pack(">H", 0) + f.shortstr(queue) + f.shortstr("") + b"\0" + struct.pack(">I", 0)
        self._send(f.method(CHANNEL, f.BASIC_CONSUME, arguments))
        scanner.feed(self._rest)
        self._rest = b""
        begun, acked, batch = 0.0, 0, max(1, prefetch // 4)
        receive, send, feed = self._socket.recv, self._socket.sendall, scanner.feed
        while acked < count:
            data = receive(_RECEIVE_BYTES)
            if not data:
                raise BenchError("the broker closed the connection during a drain")
            feed(data)
            if scanner.delivered and not begun:
                begun = time.perf_counter()
            if scanner.delivered - acked >= batch or scanner.delivered >= count:
                send(f.ack(CHANNEL, scanner.tag, multiple=True))
                acked = scanner.delivered
        return time.perf_counter() - begun

    def _pump(self, batches: Iterator[tuple[int, bytes]], window: int) -> float:
        poller = select.poll()
        poller.register(self._socket, select.POLLIN | select.POLLOUT)
        writable, scanner = True, self._scanner
        pending, left = memoryview(b""), True
        begun = time.perf_counter()
        while left or len(pending) or scanner.confirmed < self._published:
            if not len(pending) and left and self._published - scanner.confirmed < window:
                count, joined = next(batches, (0, b""))
                left = count > 0
                pending = memoryview(joined)
                self._published += count
            wanted = bool(len(pending))
            if wanted != writable:
                poller.modify(self._socket, select.POLLIN | (select.POLLOUT if wanted else 0))
                writable = wanted
            if not left and not wanted and scanner.confirmed >= self._published:
                break
            ready = poller.poll(TIMEOUT_S * 1000)
            if not ready:
                raise BenchError("the broker confirmed nothing for two minutes")
            if ready[0][1] & select.POLLOUT:
                pending = pending[self._socket.send(pending) :]
            if ready[0][1] & ~select.POLLOUT:
                data = self._socket.recv(_RECEIVE_BYTES)
                scanner.feed(data)
                if not data or scanner.others or scanner.nacked:
                    raise BenchError(f"the broker refused a publish: {scanner.others or 'closed'}")
        return time.perf_counter() - begun

    def _handshake(self, vhost: str) -> None:
        self._send(b"AMQP\0\0\x09\x01")
        self._expect(f.CONNECTION_START)
        response = f.longstr(b"\0guest\0guest")
        start_ok = f.longstr(b"") + f.shortstr("PLAIN") + response + f.shortstr("en_US")
        self._send(f.method(0, f.CONNECTION_START_OK, start_ok))
        tune = self._expect(f.CONNECTION_TUNE)
        channels, self.frame_max, _ = struct.unpack_from(">HIH", tune.payload, 4)
        self._send(f.method(0, f.CONNECTION_TUNE_OK, struct.pack(">HIH", channels, self.frame_max, 0)))
        self._send(f.method(0, f.CONNECTION_OPEN, f.shortstr(vhost) + b"\0\0"))
        self._expect(f.CONNECTION_OPEN_OK)
        self._call(f.CHANNEL_OPEN, b"\0", f.CHANNEL_OPEN_OK)

    def _declare(self, queue: str, *, flags: int) -> f.Frame:
        arguments = struct.pack(">H", 0) + f.shortstr(queue) + bytes((flags,)) + struct.pack(">I", 0)
        return self._call(f.QUEUE_DECLARE, arguments, f.QUEUE_DECLARE_OK)

    def _counts(self, queue: str) -> tuple[int, int]:
        answer = self._declare(queue, flags=0b00001)
        ready, consumers = struct.unpack_from(">II", answer.payload, 5 + answer.payload[4])
        return int(ready), int(consumers)

    def _call(self, ids: tuple[int, int], arguments: bytes, expected: tuple[int, int]) -> f.Frame:
        self._send(f.method(CHANNEL, ids, arguments))
        return self._expect(expected)

    def _expect(self, ids: tuple[int, int]) -> f.Frame:
        answer = self._next_frame()
        if answer.method != ids:
            raise BenchError(f"the broker answered {answer.method} {answer.payload[4:]!r} where {ids} was due")
        return answer

    def _next_frame(self) -> f.Frame:
        while not self._frames:
            data = self._socket.recv(_RECEIVE_BYTES)
            if not data:
                raise BenchError("the broker closed the connection")
            self._frames, self._rest = f.split(self._rest + data)
        return self._frames.pop(0)

    def _send(self, data: bytes) -> None:
        self._socket.sendall(data)


def _batches(publishes: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    source = iter(publishes)
    while batch := list(islice(source, _BATCH)):
        yield len(batch), b"".join(batch)
