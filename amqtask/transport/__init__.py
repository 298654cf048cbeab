"""The way to the broker: loop, addresses, sessions on pika, fail-over. Nothing above this package imports pika."""
