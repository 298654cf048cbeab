"""The tests of amqtask."""
