"""Reads the size of an image from its header, and walks to its end to see that it is whole. Nothing is decoded."""

from __future__ import annotations

import struct

from examples.file_index.readers.source import Facts, Source, Unusable

_PNG = b"\x89PNG\r\n\x1a\n"
_NO_SIZE = frozenset(range(0xD0, 0xD9)) | {0x01}  # JPEG markers that stand alone
_NOT_A_FRAME = (0xC4, 0xC8, 0xCC)  # between the frame markers, and none


def read_image(source: Source) -> Facts:
    """Format, width and height. Raises Unusable for what is no image of a known format, or cut off."""
    start = source.file.read(16)
    source.file.seek(0)
    if start.startswith(_PNG):
        return _png(source)
    if start[:6] in (b"GIF87a", b"GIF89a"):
        return _gif(source)
    if start.startswith(b"\xff\xd8"):
        return _jpeg(source)
    if start.startswith(b"BM"):
        return _bmp(source)
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return _webp(source)
    raise Unusable("not an image", f"it begins with {start[:8]!r}")


def _facts(name: str, width: int, height: int) -> Facts:
    if not width or not height:
        raise Unusable(f"malformed {name}", f"{width} by {height} pixels")
    return Facts(name, width=width, height=height)


def _png(source: Source) -> Facts:
    source.exactly(8, "png")
    width = height = 0
    while True:
        length, kind = struct.unpack(">I4s", source.exactly(8, "png"))
        if not width:
            if kind != b"IHDR" or length != 13:
                raise Unusable("malformed png", f"the first chunk is {kind!r}")
            width, height = struct.unpack(">II", source.exactly(8, "png"))
            length -= 8
        _skip(source, length + 4, "png")  # and the chunk's check sum
        if kind == b"IEND":
            return _facts("png", width, height)


def _gif(source: Source) -> Facts:
    _, width, height, flags, _ = struct.unpack("<6sHHBH", source.exactly(13, "gif"))
    _skip(source, _colours(flags), "gif")
    while (kind := source.exactly(1, "gif")) != b"\x3b":
        if kind == b"\x2c":  # an image: nine bytes, its colours, a code size, then data
            *_, local = struct.unpack("<8xB", source.exactly(9, "gif"))
            _skip(source, _colours(local), "gif")
        elif kind != b"\x21":
            raise Unusable("malformed gif", f"block {kind!r}")
        source.exactly(1, "gif")
        while size := source.exactly(1, "gif")[0]:
            _skip(source, size, "gif")
    return _facts("gif", width, height)


def _colours(flags: int) -> int:
    """The bytes of a colour table that `flags` announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _jpeg(source: Source) -> Facts:
    source.exactly(2, "jpeg")
    facts = None
    while True:
        if source.exactly(1, "jpeg") != b"\xff":
            raise Unusable("malformed jpeg", f"no marker at byte {source.file.tell() - 1}")
        while (marker := source.exactly(1, "jpeg")[0]) == 0xFF:
            pass  # fill bytes
        if marker in _NO_SIZE:
            continue
        if marker == 0xD9:
            raise Unusable("malformed jpeg", "it ends before an image begins")
        length = int.from_bytes(source.exactly(2, "jpeg"), "big") - 2
        if 0xC0 <= marker <= 0xCF and marker not in _NOT_A_FRAME:
            height, width = struct.unpack(">xHH", source.exactly(5, "jpeg"))
            facts = _facts("jpeg", width, height)
            length -= 5
        _skip(source, length, "jpeg")
        if marker == 0xDA:  # what follows is compressed data up to the end marker
            break
    source.file.seek(max(source.file.tell(), source.size - 65536))
    if b"\xff\xd9" not in source.file.read():
        raise Unusable("truncated jpeg", f"after {source.size} bytes")
    if facts is None:
        raise Unusable("malformed jpeg", "data without a frame")
    return facts


def _bmp(source: Source) -> Facts:
    size, header, width, height = struct.unpack("<2xI8xIii", source.exactly(26, "bmp"))
    if header < 40:
        raise Unusable("malformed bmp", f"a header of {header} bytes")
    if size > source.size:
        raise Unusable("truncated bmp", f"after {source.size} of {size} bytes")
    return _facts("bmp", width, abs(height))


def _webp(source: Source) -> Facts:
    size, kind, data = struct.unpack("<4xI4x4s4x10s", source.exactly(30, "webp"))
    if size + 8 > source.size:
        raise Unusable("truncated webp", f"after {source.size} of {size + 8} bytes")
    match kind:
        case b"VP8X":
            width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (4, 7))
        case b"VP8L":
            bits = int.from_bytes(data[1:5], "little")
            width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            width, height = (value & 0x3FFF for value in struct.unpack("<6xHH", data))
        case _:
            raise Unusable("malformed webp", f"the first chunk is {kind!r}")
    return _facts("webp", width, height)


def _skip(source: Source, count: int, what: str) -> None:
    """Go on by `count` bytes, which must be there."""
    if count < 0:
        raise Unusable(f"malformed {what}", "a block that is shorter than its own header")
    end = source.file.seek(count, 1)
    if end > source.size:
        raise Unusable(f"truncated {what}", f"after {source.size} bytes, a block ends at {end}")
