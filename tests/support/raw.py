"""A small blocking AMQP 0-9-1 client for tests: what is published and what is drained are the very bytes of the wire.

It shares no code with the product and decodes no header, so that it can send what pika would not encode, and read back
what pika could not decode. One thread per object.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Literal
from urllib.parse import unquote, urlsplit

from tests.support.messages import Outgoing, RawMessage, properties, read_properties, short, table

Fate = Literal["ack", "nack", "returned"]
FRAME_MAX = 131072
METHOD, HEADER, BODY = 1, 2, 3
PLAIN = properties()  # persistent, and nothing else


class RawClosed(Exception):
    """The broker closed the channel (a new one was opened at once) or the connection; `code` and text are its own."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code = code


class Raw:
    """One connection with one channel. A context manager."""

    def __init__(self, url: str, *, timeout_s: float = 30) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 5672), timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = self._socket.makefile("rb")
        self._confirming = False
        self._published = 0
        self._unconfirmed: dict[int, Outgoing] = {}
        self._fates: dict[int, Fate] = {}
        self._returned: set[int] = set()
        self._delivered: list[RawMessage] = []
        self._open(parts.username or "guest", parts.password or "guest", unquote(parts.path[1:]) or "/")

    def __enter__(self) -> Raw:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, politely if it still answers."""
        with contextlib.suppress(OSError, RawClosed):
            self._call(0, 10, 50, struct.pack(">H", 200) + short("bye") + struct.pack(">HH", 0, 0))
        self._reader.close()
        self._socket.close()

    # --- topology -----------------------------------------------------------------------------------------------

    def declare_queue(
        self,
        name: str,
        *,
        passive: bool = False,
        durable: bool = True,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: Mapping[str, object] | None = None,
    ) -> tuple[int, int]:
        """Declare a queue; gives its ready messages and consumers."""
        bits = passive | durable << 1 | exclusive << 2 | auto_delete << 3
        answer = self._call(1, 50, 10, struct.pack(">H", 0) + short(name) + bytes([bits]) + table(arguments or {}))
        messages, consumers = struct.unpack(">II", answer[-8:])
        return messages, consumers

    def declare_exchange(
        self, name: str, kind: str = "direct", *, durable: bool = True, arguments: Mapping[str, object] | None = None
    ) -> None:
        """Declare an exchange."""
        self._call(
            1,
            40,
            10,
            struct.pack(">H", 0) + short(name) + short(kind) + bytes([durable << 1]) + table(arguments or {}),
        )

    def bind(
        self, queue: str, exchange: str, routing_key: str = "", arguments: Mapping[str, object] | None = None
    ) -> None:
        """Bind a queue to an exchange."""
        names = short(queue) + short(exchange) + short(routing_key)
        self._call(1, 50, 20, struct.pack(">H", 0) + names + b"\0" + table(arguments or {}))

    def delete_queue(self, name: str) -> int:
        """Delete a queue; gives how many messages went with it."""
        return int.from_bytes(self._call(1, 50, 40, struct.pack(">H", 0) + short(name) + b"\0")[-4:], "big")

    def purge(self, name: str) -> int:
        """Empty a queue; gives how many messages there were."""
        return int.from_bytes(self._call(1, 50, 30, struct.pack(">H", 0) + short(name) + b"\0")[-4:], "big")

    def count(self, name: str) -> int:
        """The ready messages of a queue: what a consumer holds unacked is not among them. `RawClosed` 404 if none."""
        return self.declare_queue(name, passive=True)[0]

    def wait_count(self, name: str, wanted: int, *, timeout_s: float = 30) -> None:
        """Wait until a queue has exactly that many ready messages; TimeoutError when it has not in time."""
        end = time.monotonic() + timeout_s
        while (ready := self.count(name)) != wanted:
            if time.monotonic() > end:
                raise TimeoutError(f"queue {name!r} has {ready} ready messages after {timeout_s} s, not {wanted}")
            time.sleep(0.05)

    def exists(self, name: str) -> bool:
        """Whether there is a queue of that name."""
        try:
            self.declare_queue(name, passive=True)
        except RawClosed as error:
            if error.code != 404:
                raise
            return False
        return True

    # --- messages -----------------------------------------------------------------------------------------------

    def publish(
        self, routing_key: str, body: bytes, *, exchange: str = "", properties: bytes = PLAIN, mandatory: bool = True
    ) -> Fate:
        """Publish one message and wait for the broker's answer."""
        return self.publish_many([Outgoing(routing_key, body, properties, exchange)], mandatory=mandatory)[0]

    def send(self, message: Outgoing) -> Fate:
        """Publish a ready-made message and wait for the broker's answer."""
        return self.publish_many([message])[0]

    def publish_many(self, messages: Iterable[Outgoing], *, mandatory: bool = True) -> list[Fate]:
        """Publish, 500 at a time under way; gives what became of each, in order."""
        if not self._confirming:
            self._call(1, 85, 10, b"\0")
            self._confirming, self._published = True, 0
        fates: list[Fate] = []
        waiting = iter(messages)
        while batch := list(itertools.islice(waiting, 500)):
            tags = range(self._published + 1, self._published + 1 + len(batch))
            self._published = tags[-1]
            self._unconfirmed.update(zip(tags, batch, strict=True))
            self._socket.sendall(b"".join(content(message, mandatory=mandatory) for message in batch))
            while self._unconfirmed:
                self._step()
            fates += [self._fates.pop(tag) for tag in tags]
        return fates

    def get(self, queue: str) -> RawMessage | None:
        """Take one message off a queue for good; None when it is empty."""
        self._call(1, 60, 70, struct.pack(">H", 0) + short(queue) + b"\1", answers=((60, 71), (60, 72)))
        return self._delivered.pop() if self._delivered else None

    def drain(self, queue: str) -> list[RawMessage]:
        """Take all ready messages off a queue for good, whatever they hold."""
        drained: list[RawMessage] = []
        while count := self.count(queue):
            args = struct.pack(">H", 0) + short(queue) + short("drain") + bytes([0b010]) + table({})  # no_ack
            self._call(1, 60, 20, args)
            while len(self._delivered) < count:
                self._step()
            self._call(1, 60, 30, short("drain") + b"\0")
            drained += self._delivered
            self._delivered.clear()
        return drained

    # --- inside -------------------------------------------------------------------------------------------------

    def _open(self, user: str, password: str, vhost: str) -> None:
        self._socket.sendall(b"AMQP\0\0\x09\x01")
        self._await(((10, 10),))
        plain = f"\0{user}\0{password}".encode()
        capabilities = table({"capabilities": {"publisher_confirms": True, "basic.nack": True}})
        reply = capabilities + short("PLAIN") + struct.pack(">I", len(plain)) + plain + short("en_US")
        self._call(0, 10, 11, reply, answers=((10, 30),))
        self._send(0, 10, 31, struct.pack(">HIH", 10, FRAME_MAX, 0))
        self._call(0, 10, 40, short(vhost) + b"\0\0")
        self._call(1, 20, 10, b"\0")

    def _call(
        self, channel: int, class_id: int, method_id: int, args: bytes, answers: Sequence[tuple[int, int]] = ()
    ) -> bytes:
        self._send(channel, class_id, method_id, args)
        return self._await(answers or ((class_id, method_id + 1),))

    def _send(self, channel: int, class_id: int, method_id: int, args: bytes) -> None:
        self._socket.sendall(frame(METHOD, channel, struct.pack(">HH", class_id, method_id) + args))

    def _await(self, answers: Sequence[tuple[int, int]]) -> bytes:
        while True:
            kind, args = self._step()
            if kind in answers:
                return args

    def _step(self) -> tuple[tuple[int, int], bytes]:
        """Read one method, with its content if it carries one, and file it."""
        kind_of_frame, payload = self._read_frame()
        if kind_of_frame != METHOD:
            return (0, 0), payload  # a heartbeat
        class_id, method_id = struct.unpack_from(">HH", payload)
        kind, args = (class_id, method_id), payload[4:]
        if kind in ((20, 40), (10, 50)):
            self._closed_by_broker(kind, args)
        elif kind in ((60, 60), (60, 71)):
            self._delivered.append(self._content(args, skip_tag=kind == (60, 60)))
        elif kind == (60, 50):
            self._note_return(args)
        elif kind in ((60, 80), (60, 120)):
            self._note_confirm(args, "ack" if kind == (60, 80) else "nack")
        return kind, args

    def _read_frame(self) -> tuple[int, bytes]:
        head = self._reader.read(7)
        if len(head) < 7:
            raise ConnectionResetError("the broker ended the connection")
        kind, _, size = struct.unpack(">BHI", head)
        return kind, self._reader.read(size + 1)[:-1]

    def _read_content(self) -> tuple[bytes, bytes]:
        _, header = self._read_frame()
        (size,) = struct.unpack_from(">Q", header, 4)
        body = b""
        while len(body) < size:
            body += self._read_frame()[1]
        return header[12:], body

    def _content(self, args: bytes, *, skip_tag: bool) -> RawMessage:
        at = 1 + args[0] if skip_tag else 0
        redelivered = bool(args[at + 8])
        exchange, at = read_short(args, at + 9)
        routing_key, _ = read_short(args, at)
        raw, body = self._read_content()
        return RawMessage(exchange, routing_key, redelivered, raw, body)

    def _note_return(self, args: bytes) -> None:
        # A return names no tag: it belongs to the oldest unconfirmed message that looks like it.
        _, at = read_short(args, 2)
        exchange, at = read_short(args, at)
        routing_key, _ = read_short(args, at)
        raw, body = self._read_content()
        back = look(Outgoing(routing_key, body, raw, exchange))
        tag = next(tag for tag, sent in self._unconfirmed.items() if look(sent) == back and tag not in self._returned)
        self._returned.add(tag)

    def _note_confirm(self, args: bytes, fate: Fate) -> None:
        tag, multiple = struct.unpack_from(">QB", args)
        tags = [one for one in self._unconfirmed if one <= tag or tag == 0] if multiple & 1 else [tag]
        for one in tags:
            del self._unconfirmed[one]
            self._fates[one] = "returned" if one in self._returned else fate
            self._returned.discard(one)

    def _closed_by_broker(self, kind: tuple[int, int], args: bytes) -> None:
        (code,) = struct.unpack_from(">H", args)
        text, _ = read_short(args, 2)
        if kind == (20, 40):
            self._send(1, 20, 41, b"")
            self._confirming = False
            self._delivered.clear()
            self._unconfirmed.clear()
            self._call(1, 20, 10, b"\0")
        raise RawClosed(code, text)


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    """One frame."""
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def content(message: Outgoing, *, mandatory: bool) -> bytes:
    """All the frames of one basic.publish on channel 1."""
    method = struct.pack(">HHH", 60, 40, 0) + short(message.exchange) + short(message.routing_key)
    header = struct.pack(">HHQ", 60, 0, len(message.body)) + message.properties
    size = FRAME_MAX - 8
    bodies = (frame(BODY, 1, message.body[at : at + size]) for at in range(0, len(message.body), size))
    return b"".join([frame(METHOD, 1, method + bytes([mandatory])), frame(HEADER, 1, header), *bodies])


def look(message: Outgoing) -> tuple[object, ...]:
    """What a returned message is known by. Not its header table: RabbitMQ 4 writes the entries in its own order."""
    ids = {name: value for name, value in read_properties(message.properties).items() if name != "headers"}
    return message.exchange, message.routing_key, message.body, ids


def read_short(data: bytes, at: int) -> tuple[str, int]:
    """A short string at an offset, and the offset behind it."""
    end = at + 1 + data[at]
    return data[at + 1 : end].decode(), end


def drain(url: str, queue: str) -> list[RawMessage]:
    """Take all ready messages off a queue for good."""
    with Raw(url) as raw:
        return raw.drain(queue)


def count(url: str, queue: str) -> int:
    """The ready messages of a queue."""
    with Raw(url) as raw:
        return raw.count(queue)
