"""amqtask: a task router for RabbitMQ."""
