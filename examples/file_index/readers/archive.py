"""Unpacks an archive or a compressed file to nowhere: counts its members and bytes, and so checks that it is whole."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import IO, cast

from examples.file_index.kinds import is_tar
from examples.file_index.readers.source import Facts, Source, Unusable

_CHUNK_BYTES = 1 << 20
MAX_UNPACKED_BYTES = 4 << 30  # a small file can unpack to a terabyte


_OPENERS: Mapping[str, Callable[[IO[bytes]], IO[bytes]]] = {
    "gzip": lambda file: cast("IO[bytes]", gzip.GzipFile(fileobj=file)),
    "bzip2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
}


def read_archive(source: Source) -> Facts:
    """Format, members and unpacked bytes. Raises Unusable for what is broken, cut off or not an archive."""
    if not source.size:
        raise Unusable("an archive without content")
    start = source.file.read(6)
    source.file.seek(0)
    name = _format(start, source.path)
    try:
        if name == "tar":
            return _tar(source.file)
        if name == "zip":
            return _zip(source.file)
        return _compressed(name, source.file)
    except (EOFError, OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
        raise Unusable(f"broken {name}", error) from error
    except (RuntimeError, NotImplementedError) as error:  # what zipfile says of encrypted members and odd methods
        raise Unusable(f"unreadable {name}", error) from error


def _format(start: bytes, path: str) -> str:
    if start.startswith(b"PK"):
        return "zip"
    if is_tar(path):
        return "tar"
    for magic, name in ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz")):
        if start.startswith(magic):
            return name
    raise Unusable("not an archive", f"it begins with {start!r}")


def _tar(file: IO[bytes]) -> Facts:
    members = unpacked = 0
    with tarfile.open(fileobj=file, mode="r:*") as archive:
        for member in archive:
            members += 1
            unpacked = _within_bound(unpacked + member.size)
        # The check sum of a compressed archive stands behind the mark where tar stops to read.
        _drain(cast("IO[bytes]", archive.fileobj), 0)
    return Facts("tar", members=members, unpacked_bytes=unpacked)


def _zip(file: IO[bytes]) -> Facts:
    unpacked = 0
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        for member in members:
            with archive.open(member) as content:  # reading to the end compares the check sum
                unpacked = _drain(content, unpacked)
    return Facts("zip", members=len(members), unpacked_bytes=unpacked)


def _compressed(name: str, file: IO[bytes]) -> Facts:
    with _OPENERS[name](file) as opened:
        return Facts(name, members=1, unpacked_bytes=_drain(opened, 0))


def _drain(content: IO[bytes], before: int) -> int:
    while chunk := content.read(_CHUNK_BYTES):
        before = _within_bound(before + len(chunk))
    return before


def _within_bound(unpacked: int) -> int:
    if unpacked > MAX_UNPACKED_BYTES:
        raise Unusable("unpacks to too much", f"more than {MAX_UNPACKED_BYTES >> 30} GiB")
    return unpacked
