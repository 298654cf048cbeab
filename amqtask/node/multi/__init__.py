"""Several named nodes of one machine, started detached and stopped together: the work behind `amqtask multi`."""
