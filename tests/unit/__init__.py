"""Tests without sockets and without sleeps."""
