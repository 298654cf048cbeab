"""Messages as bytes: AMQP tables and properties, Celery's task format, serializers. Pure: no sockets, no clocks."""
