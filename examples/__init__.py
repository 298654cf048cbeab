"""Programs that use amqtask as its users do."""
