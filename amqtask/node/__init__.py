"""The node: one process, one loop, no user code. It consumes, hands over, settles, and restarts what dies."""
