"""Tests against real RabbitMQ nodes."""
