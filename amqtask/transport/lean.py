"""pika's connection with a short cut for content: deliveries, returns and confirms are cut out of the byte stream as
bytes, undecoded, for channels that registered a sink; every other frame is pika's. Loop-confined.

Safety first: pika decodes header tables, and closes the connection over one that it cannot (a timestamp in the year
60000, 600 nested tables); the broker would then hand the same message to the next node. And speed: about a fifth of
pika's cost per message. tests/unit/transport/test_lean.py holds it to pika's own decoding, over random cuts.

This is the one module that knows pika's private parts, which is why the version is bounded in pyproject.toml.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Protocol

from pika import frame
from pika.adapters.select_connection import SelectConnection
from pika.exceptions import AMQPError

from amqtask.errors import ConnectionLost

# One recv per turn, of up to this. pika's 4096 bytes make a system call per message or two.
RECV_BYTES = 256 * 1024
# A frame may not be larger than agreed; with no limit agreed this one holds, as a guard against a broken peer.
FRAME_LIMIT_BYTES = 128 * 1024 * 1024

_METHOD, _HEADER, _BODY = 1, 2, 3
_END = 0xCE
_DELIVER, _RETURN, _ACK, _NACK = 0x003C003C, 0x003C0032, 0x003C0050, 0x003C0078

_LEAST = {_DELIVER: 16, _RETURN: 9, _ACK: 13, _NACK: 13}  # the shortest payload that each can have

_frame_start = struct.Struct(">BHI").unpack_from  # type, channel, payload size
_header_start = struct.Struct(">BHIHHQ").unpack_from  # the same, then class, weight, body size
_method_id = struct.Struct(">I").unpack_from
_tag_and_bits = struct.Struct(">QB").unpack_from
_body_size_of = struct.Struct(">Q").unpack_from
_short = struct.Struct(">H").unpack_from


class Sink(Protocol):
    """What a channel's content is handed to, on the loop. `route` is exchange and routing key as two short strings;
    `properties` is the content header after its body size, undecoded."""

    def on_delivery(
        self, consumer_tag: bytes, tag: int, redelivered: bool, route: bytes, properties: bytes, body: bytes
    ) -> None:
        """basic.deliver."""

    def on_return(self, code: int, text: str, route: bytes, properties: bytes, body: bytes) -> None:
        """basic.return: nobody could be found to take it. Comes before its ack."""

    def on_ack(self, tag: int, multiple: bool) -> None:
        """basic.ack of what was published."""

    def on_nack(self, tag: int, multiple: bool, requeue: bool) -> None:
        """basic.nack of what was published."""


class NullSink:
    """Takes everything and does nothing: the base of sinks that want only part, and what a closing channel gets."""

    __slots__ = ()

    def on_delivery(
        self, consumer_tag: bytes, tag: int, redelivered: bool, route: bytes, properties: bytes, body: bytes
    ) -> None:
        """Ignored."""

    def on_return(self, code: int, text: str, route: bytes, properties: bytes, body: bytes) -> None:
        """Ignored."""

    def on_ack(self, tag: int, multiple: bool) -> None:
        """Ignored."""

    def on_nack(self, tag: int, multiple: bool, requeue: bool) -> None:
        """Ignored."""


class BrokenStream(ConnectionLost):
    """What the broker sent is not AMQP: the connection cannot be used any further."""


class _Partial:
    """Content of one channel whose frames have not all arrived."""

    __slots__ = ("body_bytes", "chunks", "is_return", "method", "missing", "properties")

    def __init__(self, is_return: bool, method: bytes) -> None:
        self.is_return = is_return
        self.method = method  # the method frame's payload after class and method id
        self.properties: bytes | None = None  # None: the header frame is still to come
        self.chunks: list[bytes] = []
        self.missing = 0


class ContentScanner:
    """Cuts frames out of a byte stream. Keeps what is incomplete for the next call.

    `sinks` maps channel numbers to sinks and may change between and during calls. `other` gets every frame that is not
    ours, whole, and says whether the scan may go on (False: the connection is no longer open).
    """

    __slots__ = ("_other", "_partial", "_rest", "frame_limit", "sinks")

    def __init__(self, other: Callable[[bytes], bool]) -> None:
        self.sinks: dict[int, Sink] = {}
        self.frame_limit = FRAME_LIMIT_BYTES
        self._other = other
        self._partial: dict[int, _Partial] = {}
        self._rest = b""

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._rest)

    def feed(self, data: bytes) -> tuple[int, int]:
        """Take what was received; returns the bytes and the frames of ours that were used up.

        Frames that went to `other` are in the bytes but not in the frames. Raises BrokenStream.
        """
        buf = self._rest + data if self._rest else data
        end = len(buf)
        pos = frames = 0
        sinks, partial = self.sinks, self._partial
        while pos + 8 <= end:
            kind, channel, size = _frame_start(buf, pos)
            stop = pos + 7 + size
            if stop >= end:
                if size > self.frame_limit:
                    raise BrokenStream(f"a frame of {size} bytes, over the limit of {self.frame_limit}")
                break
            if buf[stop] != _END:
                raise BrokenStream("a frame without its end byte")
            sink = sinks.get(channel)
            if sink is None or not _METHOD <= kind <= _BODY:
                if not self._other(buf[pos : stop + 1]):
                    pos = stop + 1
                    break
            elif kind == _METHOD:
                method = _method_id(buf, pos + 7)[0] if size >= 4 else 0
                if method in _LEAST and size < _LEAST[method]:
                    raise BrokenStream("a method frame that is too short")
                if method == _DELIVER:
                    after = self._whole_delivery(buf, pos, stop, end, channel, sink)
                    if after:
                        frames += 3 if after[1] else 2
                        pos = after[0]
                        continue
                    self._begin(channel, is_return=False, method=buf[pos + 11 : stop])
                elif method == _ACK:
                    tag, bits = _tag_and_bits(buf, pos + 11)
                    sink.on_ack(tag, bool(bits & 1))
                elif method == _NACK:
                    tag, bits = _tag_and_bits(buf, pos + 11)
                    sink.on_nack(tag, bool(bits & 1), bool(bits & 2))
                elif method == _RETURN:
                    self._begin(channel, is_return=True, method=buf[pos + 11 : stop])
                elif not self._other(buf[pos : stop + 1]):
                    pos = stop + 1
                    break
                else:
                    frames -= 1  # pika has counted it
                frames += 1
            else:
                self._content(kind, channel, buf[pos + 7 : stop], sink, partial)
                frames += 1
            pos = stop + 1
        self._rest = buf[pos:] if pos < end else b""
        return pos, frames

    def take_rest(self) -> bytes:
        """What is left of the stream, for whoever reads on."""
        rest, self._rest = self._rest, b""
        return rest

    def _whole_delivery(
        self, buf: bytes, pos: int, stop: int, end: int, channel: int, sink: Sink
    ) -> tuple[int, int] | None:
        """Deliver a message whose method, header and single body frame all lie in `buf`: nearly all do.

        Returns where it ends and its body's size, or None when the general way must be taken.
        """
        header = stop + 1
        if header + 20 > end:
            return None
        kind, number, size, _, _, body_size = _header_start(buf, header)
        header_stop = header + 7 + size
        if kind != _HEADER or number != channel or header_stop >= end or buf[header_stop] != _END:
            return None
        after = header_stop + 1
        if body_size:
            if after + 8 > end:
                return None
            kind, number, size = _frame_start(buf, after)
            body_stop = after + 7 + size
            if kind != _BODY or number != channel or size != body_size or body_stop >= end or buf[body_stop] != _END:
                return None
            body = buf[after + 7 : body_stop]
            after = body_stop + 1
        else:
            body = b""
        name_end = pos + 12 + buf[pos + 11]
        if name_end + 11 > stop:
            raise BrokenStream("a delivery whose consumer tag is longer than its frame")
        tag, redelivered = _tag_and_bits(buf, name_end)
        sink.on_delivery(
            buf[pos + 12 : name_end],
            tag,
            redelivered == 1,
            buf[name_end + 9 : stop],
            buf[header + 19 : header_stop],
            body,
        )
        return after, body_size

    def _begin(self, channel: int, *, is_return: bool, method: bytes) -> None:
        if channel in self._partial:
            raise BrokenStream("a new message before the last one was complete")
        self._partial[channel] = _Partial(is_return, method)

    def _content(self, kind: int, channel: int, payload: bytes, sink: Sink, partial: dict[int, _Partial]) -> None:
        """Take a header or body frame by itself."""
        message = partial.get(channel)
        if message is None:
            raise BrokenStream("content that belongs to no message")
        if kind == _HEADER:
            if message.properties is not None or len(payload) < 14:
                raise BrokenStream("a content header where none may be")
            message.missing = _body_size_of(payload, 4)[0]
            message.properties = payload[12:]
        else:
            if message.properties is None or len(payload) > message.missing:
                raise BrokenStream("more body than was announced")
            message.missing -= len(payload)
            message.chunks.append(payload)
        if not message.missing:
            del partial[channel]
            _hand_over(message, sink)

    def forget(self, channel: int) -> None:
        """Drop what is incomplete on a channel that is gone."""
        self._partial.pop(channel, None)


def _hand_over(message: _Partial, sink: Sink) -> None:
    method, properties = message.method, message.properties or b""
    body = message.chunks[0] if len(message.chunks) == 1 else b"".join(message.chunks)
    if (3 + method[2] + 2 if message.is_return else 1 + method[0] + 11) > len(method):
        raise BrokenStream("a method frame whose texts are longer than it is")
    if message.is_return:
        text_end = 3 + method[2]
        text = method[3:text_end].decode("utf-8", "backslashreplace")
        sink.on_return(_short(method)[0], text, method[text_end:], properties, body)
    else:
        name_end = 1 + method[0]
        tag, redelivered = _tag_and_bits(method, name_end)
        sink.on_delivery(method[1:name_end], tag, redelivered == 1, method[name_end + 9 :], properties, body)


class LeanConnection(SelectConnection):
    """A pika connection that scans content itself once it is open, and writes once per turn of the loop.

    `on_bug(error)` hears of an exception that is nobody's protocol error: pika's transport would log it and drop it.
    """

    def __init__(self, *args: Any, on_bug: Callable[[BaseException], None], **kwargs: Any) -> None:
        self._scanner = ContentScanner(self._pika_frame)
        self._on_bug = on_bug
        self._out: list[bytes] = []
        self._plain_write = False
        super().__init__(*args, **kwargs)

    @property
    def sinks(self) -> dict[int, Sink]:
        """The sinks by channel number."""
        return self._scanner.sinks

    @property
    def received_bytes(self) -> int:
        """All bytes that ever arrived, those of an incomplete frame included."""
        return int(self.bytes_received) + self._scanner.pending_bytes

    @property
    def has_stream(self) -> bool:
        """Whether the socket is connected and belongs to this connection."""
        return self._transport is not None

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait for the socket."""
        transport = self._transport
        waiting = sum(map(len, self._out))
        return waiting if transport is None else waiting + transport.get_write_buffer_size()

    def drop_sink(self, channel: int) -> None:
        """Forget a closed channel's sink and what is incomplete on it."""
        self._scanner.sinks.pop(channel, None)
        self._scanner.forget(channel)

    def send(self, data: bytes) -> None:
        """Queue raw frames for the end of the turn."""
        self._out.append(data)

    def flush(self) -> None:
        """Write what is queued: straight to the socket when it takes it, else through pika's buffer."""
        out = self._out
        if not out:
            return
        self._out = []
        transport = self._transport
        if transport is None:  # lost: whoever waits for an answer hears of it from the session
            return
        data: bytes | memoryview = out[0] if len(out) == 1 else b"".join(out)
        self.bytes_sent += len(data)
        self.frames_sent += 1
        if self._plain_write and not transport._tx_buffers and transport._state == transport._STATE_ACTIVE:
            # pika would switch the selector to "writable", wait a turn, send, and switch it back.
            try:
                sent = transport._sock.send(data)
            except OSError:  # full, or dead: the transport meets the same error and reports it
                sent = 0
            if sent == len(data):
                return
            data = memoryview(data)[sent:]  # not a copy: pika cuts its buffer at each partial send
        transport.write(data)  # type: ignore[arg-type]  # a view does as well, and is annotated as bytes only

    def cut(self, error: Exception) -> None:
        """Drop the connection without a word to the broker; its close callback follows in a later turn."""
        if not self.is_closed and self._transport is not None:
            self._terminate_stream(error)

    def abandon(self) -> None:
        """In a forked child: close the inherited descriptor, and say nothing to the broker (see Loop.abandon)."""
        sock = getattr(self._transport, "_sock", None)
        if sock is not None:
            sock.close()

    # What follows overrides pika.

    def _adapter_emit_data(self, data: bytes) -> None:
        self.flush()  # keeps our frames and pika's in the order in which they were made
        super()._adapter_emit_data(data)

    def _proto_connection_made(self, transport: Any) -> None:
        transport._MAX_RECV_BYTES = RECV_BYTES
        # One recv per readable event: a second one mostly ends in EAGAIN, by way of an exception. The selector is
        # level-triggered, so nothing is missed (TLS asks again by itself).
        transport._MAX_CONSUME_BYTES = 1
        self._plain_write = type(transport).__name__ == "_AsyncPlaintextTransport"
        super()._proto_connection_made(transport)

    def _on_data_available(self, data_in: bytes) -> None:
        try:
            if self._opened:
                self._scan(data_in)
            else:
                self._handshake(data_in)
        except (BrokenStream, AMQPError) as error:
            self.cut(error)
        except Exception as error:
            self._on_bug(error)
            raise

    def _handshake(self, data_in: bytes) -> None:
        """pika's own way, up to the frame that opens the connection: what follows it may already be ours."""
        self._frame_buffer += data_in
        while self._frame_buffer and not self._opened:
            consumed, value = self._read_frame()
            if not value:
                return
            self._trim_frame_buffer(consumed)
            self._process_frame(value)
        if self.params.frame_max:
            self._scanner.frame_limit = int(self.params.frame_max)
        if self._frame_buffer:
            rest, self._frame_buffer = self._frame_buffer, b""
            self._scan(rest)

    def _scan(self, data: bytes) -> None:
        consumed, frames = self._scanner.feed(data)
        self.bytes_received += consumed
        self.frames_received += frames

    def _pika_frame(self, data: bytes) -> bool:
        try:
            _, value = frame.decode_frame(data)
        except Exception as error:
            # Its decoder raises whatever the bytes provoke: KeyError, struct.error, UnicodeDecodeError, ...
            raise BrokenStream(f"a frame that cannot be decoded: {error!r}") from error
        if value is not None:
            self._process_frame(value)
        return not self.is_closed
