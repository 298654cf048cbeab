"""What the readers find in whole files, and what they say of broken ones."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.file_index import kinds, planted
from examples.file_index.readers import (
    Facts,
    Source,
    Unusable,
    archive,
    read_archive,
    read_image,
    read_other,
    read_text,
    text,
)

Read = Callable[[Source], Facts]


def read(path: Path, reader: Read, content: bytes) -> Facts:
    path.write_bytes(content)
    with Source(str(path)) as source:
        assert source.sha256() == hashlib.sha256(content).hexdigest()
        return reader(source)


@pytest.mark.parametrize("chunk", [1, 2, 3, 1 << 20])
@pytest.mark.parametrize(
    ("content", "lines", "words"),
    [
        ("", 0, 0),
        ("one", 1, 1),
        ("one two\n", 1, 2),
        ("one\n\n  zwei drei\tüber\nfünf", 4, 5),
        ("\n", 1, 0),
        ("日本 語\n", 1, 2),
    ],
)
def test_text_is_counted_whatever_the_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, lines: int, words: int, chunk: int
) -> None:
    monkeypatch.setattr(text, "_CHUNK_BYTES", chunk)
    facts = read(tmp_path / "t.txt", read_text, content.encode())
    assert (facts.lines, facts.words) == (lines, words)


@pytest.mark.parametrize("chunk", [1, 4, 1 << 20])
@pytest.mark.parametrize(
    ("content", "detail"), [(b"one\ntwo\xe9 \n", "line 2, byte 0xe9"), (b"cut \xc3", "line 1, byte 0xc3")]
)
def test_text_that_is_not_utf_8_is_refused_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, detail: str, chunk: int
) -> None:
    monkeypatch.setattr(text, "_CHUNK_BYTES", chunk)
    with pytest.raises(Unusable, match=detail):
        read(tmp_path / "t.txt", read_text, content)


def gif(*, colours: bool = True) -> bytes:
    screen = struct.pack("<6sHHBBB", b"GIF89a", 16, 9, 0x80 if colours else 0, 0, 0) + bytes(6 if colours else 0)
    comment = b"\x21\xfe\x05hello\x00"
    image = b"\x2c" + struct.pack("<HHHHB", 0, 0, 16, 9, 0x81) + bytes(12) + b"\x02" + b"\x03abc\x00"
    return screen + comment + image + b"\x3b"


def jpeg() -> bytes:
    app = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF".ljust(14, b"\0")
    tables = b"\xff\xc4" + struct.pack(">H", 6) + bytes(4)
    frame = b"\xff\xff\xc2" + struct.pack(">HBHHB", 11, 8, 48, 64, 1) + bytes(3)
    scan = b"\xff\xda" + struct.pack(">H", 8) + bytes(6) + b"\x12\xff\x00\x34"
    return b"\xff\xd8" + app + tables + frame + scan + b"\xff\xd9"


def bmp() -> bytes:
    header = struct.pack("<2sIHHI", b"BM", 70, 0, 0, 54) + struct.pack(
        "<IiiHHIIiiII", 40, 2, -2, 1, 24, 0, 16, *[0] * 4
    )
    return header + bytes(16)


def webp(kind: bytes, data: bytes) -> bytes:
    chunk = kind + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


IMAGES = {
    "png": (planted.png(300, 200), 300, 200),
    "gif": (gif(), 16, 9),
    "gif without colours": (gif(colours=False), 16, 9),
    "jpeg": (jpeg(), 64, 48),
    "bmp": (bmp(), 2, 2),
    "webp x": (webp(b"VP8X", bytes(4) + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")), 640, 480),
    "webp lossless": (webp(b"VP8L", b"\x2f" + (639 | 479 << 14).to_bytes(4, "little") + bytes(5)), 640, 480),
    "webp lossy": (webp(b"VP8 ", bytes(6) + struct.pack("<HH", 640, 480)), 640, 480),
}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_says_its_size_and_one_that_is_cut_anywhere_is_refused(tmp_path: Path, name: str) -> None:
    content, width, height = IMAGES[name]
    facts = read(tmp_path / "i", read_image, content)
    assert (facts.format, facts.width, facts.height) == (name.split()[0], width, height)
    for size in range(len(content)):
        with pytest.raises(Unusable, match=r"truncated|not an image|malformed"):
            read(tmp_path / "i", read_image, content[:size])


@pytest.mark.parametrize(
    "content",
    [
        b"no image at all",
        b"",
        planted.png(0, 2),
        planted.png()[:12] + b"IDAT" + planted.png()[16:],
        jpeg()[:2] + b"xx" + jpeg()[4:],
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xe0\x00\x01",
        gif().replace(b"\x21\xfe", b"\x22\xfe"),
    ],
)
def test_what_is_no_image_or_malformed_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(Unusable):
        read(tmp_path / "i", read_image, content)


def tar() -> bytes:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as made:
        for name in ("one", "two", "three"):
            made.addfile(tarfile.TarInfo(name), None)
    return memory.getvalue()


ARCHIVES = {
    "a.zip": (planted.archive(), "zip", 2, 8),
    "a.jar": (planted.archive(), "zip", 2, 8),
    "a.tar.gz": (tar(), "tar", 3, 0),
    "a.gz": (gzip.compress(b"x" * 500), "gzip", 1, 500),
    "a.bz2": (bz2.compress(b"x" * 500), "bzip2", 1, 500),
    "a.xz": (lzma.compress(b"x" * 500), "xz", 1, 500),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_is_counted_and_one_that_is_cut_is_refused(tmp_path: Path, name: str) -> None:
    content, form, members, unpacked = ARCHIVES[name]
    assert read(tmp_path / name, read_archive, content) == Facts(form, members=members, unpacked_bytes=unpacked)
    for size in (0, 1, len(content) // 2, len(content) - 3):
        with pytest.raises(Unusable):
            read(tmp_path / name, read_archive, content[:size])


@pytest.mark.parametrize("name", ["a.zip", "a.gz", "a.bz2", "a.xz"])
def test_an_archive_with_a_changed_byte_is_refused(tmp_path: Path, name: str) -> None:
    content = ARCHIVES[name][0]
    at = content.index(b"one\n") if name == "a.zip" else len(content) - 9
    with pytest.raises(Unusable, match="broken"):
        read(tmp_path / name, read_archive, content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 400)
    with pytest.raises(Unusable, match="unpacks to too much"):
        read(tmp_path / "a.gz", read_archive, ARCHIVES["a.gz"][0])


def test_any_other_file_is_only_hashed(tmp_path: Path) -> None:
    assert read(tmp_path / "o", read_other, os.urandom(100)) == Facts("")


def test_every_planted_file_is_refused_by_the_reader_of_its_kind(tmp_path: Path) -> None:
    readers: dict[str, Read] = {"text": read_text, "image": read_image, "archive": read_archive, "other": read_other}
    paths = planted.plant(tmp_path)
    assert len(paths) >= 10
    for path in paths:
        with pytest.raises(Unusable) as caught, Source(path) as source:
            readers[kinds.kind_of(path)](source)
        assert str(caught.value).partition(" (")[0]


def test_a_folder_a_missing_file_and_a_name_that_cannot_be_are_refused(tmp_path: Path) -> None:
    for path in (str(tmp_path), str(tmp_path / "missing"), "nul\0byte"):
        with pytest.raises(Unusable):
            Source(path)


def test_the_planted_picture_is_a_real_one() -> None:
    content = planted.png(2, 1)
    assert zlib.decompress(content[content.index(b"IDAT") + 4 : -16]) == b"\0" + bytes(6)
