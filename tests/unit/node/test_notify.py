"""What the service manager is told."""

from __future__ import annotations

import socket
from pathlib import Path

from amqtask.node.notify import Notifier


def test_no_text_of_a_broker_becomes_an_assignment_of_its_own(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        manager.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "n")})
        notifier.status("not connected: gone\nREADY=1\r\n caf\udce9")
        assert manager.recv(1000) == b"STATUS=not connected: gone READY=1 caf\\udce9"
