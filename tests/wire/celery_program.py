"""A Celery program as its users write one: a worker and a producer that know nothing of amqtask.

celery -A tests.wire.celery_program worker -P solo -Q celery,named
python -m tests.wire.celery_program COUNT        sends COUNT tasks to each of the two queues, prints their ids
"""

from __future__ import annotations

import os
import sys

from celery import Celery

from tests.support.record import Record

app = Celery("celery_program", broker=os.environ["CELERY_TEST_BROKER"])
app.conf.broker_transport_options = {"confirm_publish": True}
app.conf.worker_hijack_root_logger = False
app.conf.broker_connection_retry_on_startup = True


@app.task(bind=True, name="celery_program.note")
def note(self: object, *args: object, **kwargs: object) -> None:
    """Record the call as it arrived."""
    request = self.request  # type: ignore[attr-defined]
    facts = {
        "args": repr(args),
        "kwargs": repr(kwargs),
        "shadow": request.shadow,
        "root_id": request.root_id,
        "parent_id": request.parent_id,
        "expires": request.expires,
        "headers": request.headers,
        "priority": request.delivery_info["priority"],
        "queue": request.delivery_info["routing_key"],
        "ignore_result": request.ignore_result,
    }
    with Record.from_environment().running(request.id, **facts):
        pass


if __name__ == "__main__":
    for number in range(int(sys.argv[1])):
        for queue in ("celery", "named"):
            print(app.send_task("celery_program.note", (number,), {"queue": queue}, queue=queue).id)
