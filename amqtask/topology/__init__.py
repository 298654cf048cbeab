"""What is declared: exchanges, queues, bindings and policies as plain values, and their rules. No I/O in here."""
