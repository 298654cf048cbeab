"""Settings: models, sources, Celery's names, checks, reference."""
