"""Breaks each promise on purpose, in a copy of the code, and demands that a test turns red.

pytest tests/mutations              all of them, two at a time
python -m tests.mutations [NAME]    by hand, with the output of what was not as it should be
"""
