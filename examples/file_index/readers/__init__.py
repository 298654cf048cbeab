"""Reads one file of each kind: what is in it, or why it is of no use."""

from examples.file_index.readers.archive import read_archive
from examples.file_index.readers.image import read_image
from examples.file_index.readers.source import Facts, Source, Unusable
from examples.file_index.readers.text import read_text

__all__ = ["Facts", "Source", "Unusable", "read_archive", "read_image", "read_other", "read_text"]


def read_other(_source: Source) -> Facts:
    """Nothing is known about the rest but size and hash."""
    return Facts("")
