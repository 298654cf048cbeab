"""Files that cannot be indexed, made on purpose: each must end in a dead-letter queue, with its reason."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
import zlib
from pathlib import Path


def plant(folder: Path) -> list[str]:
    """Make them in `folder`; gives their paths."""
    for name, content in {
        "truncated.png": png()[:-20],
        "text-with-a-png-name.png": b"This is no picture.\n",
        "truncated.gif": b"GIF89a\x10\x00\x10\x00\x80\x00\x00\x00\x00\x00",
        "truncated.zip": archive()[:-30],
        "truncated.gz": gzip.compress(os.urandom(2000))[:-600],
        "damaged.gz": damaged(gzip.compress(b"every byte counts " * 100)),
        "text-with-a-tar-name.tar.gz": b"This is no archive.\n",
        "empty.zip": b"",
        "latin-1.txt": "Grüße aus der Zeit vor UTF-8\n".encode("latin-1"),
    }.items():
        (folder / name).write_bytes(content)
    (folder / "link-to-nowhere.txt").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "named-pipe.txt")
    return sorted(str(path) for path in folder.iterdir())


def png(width: int = 3, height: int = 2) -> bytes:
    """A small whole picture."""
    rows = b"".join(b"\0" + bytes(3 * width) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


def archive() -> bytes:
    """A small whole zip archive with two members."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as made:
        made.writestr("one.txt", "one\n")
        made.writestr("two.txt", "two\n")
    return memory.getvalue()


def damaged(data: bytes) -> bytes:
    """The same with one byte of its check sum changed."""
    return data[:-6] + bytes([data[-6] ^ 0xFF]) + data[-5:]
