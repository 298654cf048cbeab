"""Tasks: named callables with options, planned calls of them, and what runs at the moment. Nothing here does I/O."""
