"""Results: the handle of a sent task. Stores come with the versions that keep results.

The handle's class lives with the tasks, below this package, because `Task.delay` says that it returns one.
"""

from amqtask.tasks.handle import AsyncResult

__all__ = ["AsyncResult"]
