"""Confirmed publishing: the outbox on a loop, and the Publisher for programs, which owns an I/O thread."""
