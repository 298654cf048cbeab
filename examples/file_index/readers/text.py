"""Counts the lines and words of a text, which must be UTF-8."""

from __future__ import annotations

import codecs

from examples.file_index.readers.source import Facts, Source, Unusable

_CHUNK_BYTES = 1 << 20


def read_text(source: Source) -> Facts:
    """Lines and words, in constant memory. Raises Unusable, with the line, for what is not UTF-8."""
    decode = codecs.getincrementaldecoder("utf-8")().decode
    lines = words = 0
    last = "\n"  # the last character so far: a word may go on in the next chunk
    while True:
        chunk = source.file.read(_CHUNK_BYTES)
        try:
            text = decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            line = lines + 1 + bytes(error.object[: error.start]).count(b"\n")
            byte = error.object[error.start]
            raise Unusable("not UTF-8", f"line {line}, byte 0x{byte:02x}") from None
        if text:
            lines += text.count("\n")
            words += len(text.split()) - (not last.isspace() and not text[0].isspace())
            last = text[-1]
        if not chunk:
            return Facts("utf-8", lines=lines + (last != "\n"), words=words)
