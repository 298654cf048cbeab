"""One call inside an executor: from raw bytes to the function, and from its end to an outcome."""
