"""What the service manager is told (sd_notify(3)): ready, stopping, status, and that there is progress.

A datagram to the socket that `NOTIFY_SOCKET` names; without one, nothing is sent. The protocol is documented as stable,
so no library is needed for it.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


class Notifier:
    """The service manager's socket, or nobody."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET") or None
        self._socket: socket.socket | None = None
        if self._address is not None:
            if self._address.startswith("@"):
                self._address = "\0" + self._address[1:]
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
        # systemd sets WATCHDOG_PID to the process that it expects pings from; one meant for another is not ours.
        meant_for = environ.get("WATCHDOG_PID")
        mine = meant_for is None or meant_for == str(os.getpid())
        microseconds = environ.get("WATCHDOG_USEC", "") if mine else ""
        self.watchdog_s: float | None = int(microseconds) / 1e6 if microseconds.isdigit() else None

    def ready(self, status: str) -> None:
        """The service is up: what waited for it may start."""
        self._send(f"READY=1\nSTATUS={_one_line(status)}")

    def stopping(self, status: str) -> None:
        """The service has begun to stop."""
        self._send(f"STOPPING=1\nSTATUS={_one_line(status)}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={_one_line(text)}")

    def alive(self) -> None:
        """There is progress. Without this for `watchdog_s` the manager restarts the service."""
        self._send("WATCHDOG=1")

    def extend(self, by_s: float) -> None:
        """A stop takes longer: do not kill us for `by_s` seconds more."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(by_s * 1e6)}")

    def _send(self, text: str) -> None:
        if self._socket is None or self._address is None:
            return
        # A manager that does not read is not our trouble: it restarts us if it wanted to know.
        with contextlib.suppress(OSError):
            self._socket.sendto(text.encode("utf-8", "backslashreplace"), self._address)


def _one_line(text: str) -> str:
    """What a broker says may have line ends in it, and each line of a datagram is an assignment."""
    return " ".join(text.split())
