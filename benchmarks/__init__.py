"""Measures amqtask beside its peers and beside what the broker gives to a bare socket: `python -m benchmarks`."""
