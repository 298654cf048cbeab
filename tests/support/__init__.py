"""The test harness: private brokers, a proxy that breaks links, records, a checker. It imports nothing of amqtask."""
