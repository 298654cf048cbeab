"""From a task's name and options to the exchange and routing key it is published with. Nothing here does I/O."""
