"""Deliveries from the broker: who holds them, how much credit a queue gets, and how each one is settled."""
