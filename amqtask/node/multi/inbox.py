"""Where nodes say that they are ready: a socket that speaks the service manager's protocol (sd_notify(3)).

Its name is abstract, so nothing is left on disk; the kernel tells the sender's pid, so nobody else can pass for a node.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MAX_BYTES = 4096
_UCRED = struct.Struct("3i")  # pid, uid, gid: unix(7)


@dataclass(frozen=True, slots=True)
class Notice:
    """What the process `pid` said: `READY` `1`, `STATUS` and a text, ..."""

    pid: int
    fields: Mapping[str, str]


class Inbox:
    """The socket, from construction to `close`."""

    def __init__(self) -> None:
        name = f"amqtask-multi-{secrets.token_hex(16)}"
        self.address = f"@{name}"  # as NOTIFY_SOCKET spells an abstract name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(f"\0{name}")

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._socket.fileno()

    def notices(self) -> Iterator[Notice]:
        """All that has arrived; does not wait."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data, ancillary, _, _ = self._socket.recvmsg(MAX_BYTES, socket.CMSG_SPACE(_UCRED.size))
                for level, kind, content in ancillary:
                    if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                        yield Notice(_UCRED.unpack(content)[0], _fields(data))

    def close(self) -> None:
        """Nodes that write on find nobody, which does not trouble them."""
        self._socket.close()


def _fields(data: bytes) -> dict[str, str]:
    lines = data.decode("utf-8", "replace").splitlines()
    return {key: value for key, equals, value in (line.partition("=") for line in lines) if equals}
