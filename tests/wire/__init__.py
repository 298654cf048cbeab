"""Tests against Celery itself: messages captured from it, and its own programs on the other side of a broker."""
