"""Packets between the node, its template and its executors, over SOCK_SEQPACKET pairs.

One packet is one message: it is sent whole, received whole and never interleaved, and a packet that nobody has received
yet can be received by either holder of that end. What is over `INLINE_BYTES` travels as a sealed memory file whose
descriptor goes with the packet, because a socket buffer holds about 200 KiB and a packet must fit it.

Formats carry `VERSION`: a template or executor that speaks another one is refused at its first packet.
"""

from __future__ import annotations

import array
import contextlib
import json
import mmap
import os
import socket
import struct
from typing import Any

VERSION = 1
INLINE_BYTES = 64 * 1024
PACKET_BYTES = INLINE_BYTES + 4096  # what a reader of tasks must be able to take in one go
ANSWER_BYTES = 128 * 1024  # the same for answers: a traceback is cut long before
_FD_SPACE = socket.CMSG_SPACE(4 * array.array("i").itemsize)

# First byte of every packet.
DELIVERY = 1  # node -> executor: a task to run
EXIT = 2  # node -> executor: end after what was taken
HELLO = 3  # executor -> node: pid, version
DONE = 4  # executor -> node: succeeded, nothing to publish
OUTCOME = 5  # executor -> node: anything else, as JSON
PING = 6  # node -> executor: say hello again
STARTED = 7  # executor -> node: acknowledge this one now, it starts

FLAG_REDELIVERED = 1
FLAG_MEMFD = 2

# kind, flags, crashes so far, queue index, hand-over id, length of the route, length of the properties
_DELIVERY = struct.Struct(">BBHHIHI")
_DONE = struct.Struct(">BII")  # kind, hand-over id, run time in microseconds
_HELLO = struct.Struct(">BHI")  # kind, version, pid

DELIVERY_HEAD = _DELIVERY.size


class Garbled(Exception):
    """A packet that is none of ours: another version of the code, or a task that writes where it should not."""


def handover_of(packet: bytes) -> int:
    """The hand-over id of a delivery packet."""
    return int(_DELIVERY.unpack_from(packet)[4])


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends, both close-on-exec."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def pack_delivery(
    handover: int, queue: int, *, redelivered: bool, crashes: int, route: bytes, properties: bytes, body: bytes
) -> tuple[bytes, bytes | None]:
    """One task for an executor: the packet, and the content for a memory file when it is too big to go inline."""
    flags = FLAG_REDELIVERED if redelivered else 0
    if len(route) + len(properties) + len(body) <= INLINE_BYTES:
        head = _DELIVERY.pack(DELIVERY, flags, crashes, queue, handover, len(route), len(properties))
        return b"".join((head, route, properties, body)), None
    head = _DELIVERY.pack(DELIVERY, flags | FLAG_MEMFD, crashes, queue, handover, len(route), len(properties))
    return head, b"".join((route, properties, body))


def unpack_delivery(packet: bytes, fds: list[int]) -> tuple[int, int, bool, int, bytes, bytes, bytes]:
    """(hand-over id, queue index, redelivered, crashes, route, properties, body); closes the given descriptors."""
    _, flags, crashes, queue, handover, route_length, properties_length = _DELIVERY.unpack_from(packet)
    if flags & FLAG_MEMFD:
        content, at = read_memory_file(fds), 0
    else:
        content, at = packet, DELIVERY_HEAD
    route_end = at + route_length
    body_at = route_end + properties_length
    return (
        handover,
        queue,
        bool(flags & FLAG_REDELIVERED),
        crashes,
        content[at:route_end],
        content[route_end:body_at],
        content[body_at:],
    )


def pack_done(handover: int, runtime_us: int) -> bytes:
    """A task succeeded and has nothing to publish."""
    return _DONE.pack(DONE, handover, runtime_us)


def pack_started(handover: int) -> bytes:
    """A task that is acknowledged early starts."""
    return _DONE.pack(STARTED, handover, 0)


def unpack_done(packet: bytes) -> tuple[int, int]:
    """(hand-over id, run time in microseconds). Raises Garbled."""
    try:
        _, handover, runtime_us = _DONE.unpack(packet)
    except struct.error as error:
        raise Garbled(str(error)) from error
    return handover, runtime_us


def pack_outcome(handover: int, runtime_us: int, outcome: dict[str, object]) -> bytes:
    """Any other end of a task. Its texts are cut before they come here, and here if the packet is still too big."""
    content = json.dumps(outcome).encode()
    while _DONE.size + len(content) > ANSWER_BYTES:
        # JSON takes up to 12 bytes for a character. A packet that the node cannot take whole would take the node down.
        name, text = max(((name, text) for name, text in outcome.items() if isinstance(text, str)), key=_length)
        outcome = {**outcome, name: text[-(len(text) // 2) :]}
        content = json.dumps(outcome).encode()
    return _DONE.pack(OUTCOME, handover, runtime_us) + content


def _length(field: tuple[str, str]) -> int:
    return len(field[1])


def unpack_outcome(packet: bytes) -> tuple[int, int, dict[str, Any]]:
    """(hand-over id, run time in microseconds, the outcome's fields). Raises Garbled."""
    try:
        _, handover, runtime_us = _DONE.unpack_from(packet)
        return handover, runtime_us, dict(json.loads(packet[_DONE.size :]))
    except (struct.error, ValueError, TypeError) as error:
        raise Garbled(str(error)) from error


def pack_hello(pid: int) -> bytes:
    """An executor is up."""
    return _HELLO.pack(HELLO, VERSION, pid)


def unpack_hello(packet: bytes) -> tuple[int, int]:
    """(format version, pid). Raises Garbled."""
    try:
        kind, version, pid = _HELLO.unpack(packet)
    except struct.error as error:
        raise Garbled(str(error)) from error
    if kind != HELLO:
        raise Garbled(f"a packet of kind {kind}")
    return version, pid


def memory_file(content: bytes) -> int:
    """A descriptor of an anonymous file that holds `content`; the caller closes it."""
    fd = os.memfd_create("amqtask-body", os.MFD_CLOEXEC)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    return fd


def read_memory_file(fds: list[int]) -> bytes:
    """All of the file that came with a packet; closes every descriptor given."""
    try:
        size = os.fstat(fds[0]).st_size
        with mmap.mmap(fds[0], size, access=mmap.ACCESS_READ) as mapped:
            return bytes(mapped)
    finally:
        close_all(fds)


def close_all(fds: list[int]) -> None:
    """Close descriptors, those already gone included."""
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)


def send_with(sock: socket.socket, packet: bytes, fds: list[int]) -> None:
    """Send a packet and copies of `fds` with it. Raises BlockingIOError when the peer's buffer is full."""
    sock.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])


def receive(sock: socket.socket, flags: int = 0) -> tuple[bytes, list[int]]:
    """One packet and the descriptors that came with it; b"" when the peer has closed its end.

    Raises BlockingIOError on a non-blocking socket without a packet.
    """
    packet, ancillary, _, _ = sock.recvmsg(PACKET_BYTES, _FD_SPACE, flags | socket.MSG_CMSG_CLOEXEC)
    if not ancillary:
        return packet, []
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return packet, list(fds)


def send_document(sock: socket.socket, document: dict[str, Any], fds: list[int] | None = None) -> None:
    """Send one JSON document of any size; what does not fit a packet goes as a memory file, before `fds`."""
    content = json.dumps(document).encode()
    given = list(fds or [])
    if len(content) <= INLINE_BYTES:
        packet = b"J" + content
        if given:
            send_with(sock, packet, given)
        else:
            sock.send(packet)
        return
    fd = memory_file(content)
    try:
        send_with(sock, b"M", [fd, *given])
    finally:
        os.close(fd)


def receive_document(sock: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """One JSON document and the descriptors sent with it; (None, []) when the peer has closed its end."""
    packet, fds = receive(sock)
    if not packet:
        return None, []
    if packet[:1] == b"M":
        content = read_memory_file(fds[:1])
        return json.loads(content), fds[1:]
    return json.loads(packet[1:]), fds
