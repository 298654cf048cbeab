"""The app: settings, tasks, routing and publishing put together, and how a program's app is found by its name."""

from amqtask.app.app import App
from amqtask.app.find import find_app

__all__ = ["App", "find_app"]
