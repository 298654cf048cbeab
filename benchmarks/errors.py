"""The one error that a measurement raises when it cannot be made; the table shows it in place of a figure."""

from __future__ import annotations


class BenchError(Exception):
    """A figure could not be taken: a peer did not start, a queue did not drain, a message went missing."""
