"""The fault tests run nodes as the node tests do."""

from tests.node.conftest import raw, start_worker

__all__ = ["raw", "start_worker"]
