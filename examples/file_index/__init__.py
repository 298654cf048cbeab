"""Indexes every file below a folder: a topic exchange routes text, images, archives and the rest to pools of their own.

What a project of its own would have is `amqtask.toml`, `tasks.py` and what they import (`kinds`, `readers`, `index`).
The other files are the show around it: a broker and a worker that are started and stopped, progress, a report.
"""
