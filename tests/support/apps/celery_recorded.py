"""A genuine Celery app with recorded tasks of the same names: the other half of a mixed fleet."""

# Celery has no types.
# mypy: disable-error-code="import-untyped, untyped-decorator, no-untyped-call"

from __future__ import annotations

import os

from celery import Celery, current_task

from tests.support.record import Record

app = Celery("mixed", broker=os.environ["AMQTASK_BROKER__URL"], set_as_current=False)
app.conf.update(
    task_acks_late=True,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
)
record = Record.from_environment()


@app.task(name="rec.noop")
def noop(*_args: object, **_kwargs: object) -> None:
    """Starts and ends."""
    with record.running(str(current_task.request.id), by="celery"):
        pass


def main() -> None:
    """Send `AMQTASK_TEST_COUNT` tasks by name to the queues given as arguments, in turn; print their ids."""
    import sys

    queues = sys.argv[1:]
    with app.producer_pool.acquire(block=True) as producer:
        for number in range(int(os.environ["AMQTASK_TEST_COUNT"])):
            queue = queues[number % len(queues)]
            print(app.send_task("rec.noop", args=[number], queue=queue, producer=producer).id)


if __name__ == "__main__":
    main()
