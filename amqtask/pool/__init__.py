"""Executors: the template that imports the app and forks them, the processes themselves, and how work reaches them."""
