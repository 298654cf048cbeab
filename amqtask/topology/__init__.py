"""What is declared: exchanges, queues, bindings and policies as plain values, and their rules. No I/O in here."""

from amqtask.topology.values import Binding, Exchange, Policy, Queue

__all__ = ["Binding", "Exchange", "Policy", "Queue"]
