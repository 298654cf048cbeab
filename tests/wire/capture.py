"""Captures what a live Celery puts on the wire: sends every kind of task message and stores the bytes as they arrived.

    python -m tests.wire.capture amqp://guest:guest@localhost:5672/VHOST

writes tests/wire/golden/celery-VERSION.json. The virtual host should be an empty one. Nothing of amqtask takes part.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import celery
import kombu
from celery import Celery, chain, chord, group
from celery.utils import nodenames

from tests.support.raw import Raw

FOLDER = Path(__file__).parent / "golden"
QUEUE = "golden"
MOMENT = datetime(2035, 6, 1, 12, 30, 15, 250000, tzinfo=timezone(timedelta(hours=2)))
ID = "11111111-2222-4333-8444-555555555555"


def make_app(url: str) -> Celery:
    """A Celery app as its users make one; only the host's name in `origin` is fixed."""
    nodenames.gethostname = lambda: "golden.example"
    app = Celery("golden", broker=url, backend="cache+memory://")
    app.conf.broker_transport_options = {"confirm_publish": True}  # in the queue when it returns
    app.conf.task_default_queue = QUEUE

    @app.task(name="golden.add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="golden.report")
    def report(*values: object, **named: object) -> None:
        return None

    return app


def cases(app: Celery) -> dict[str, Callable[[], object]]:
    """What is sent, by a name for each."""
    add, report = app.tasks["golden.add"], app.tasks["golden.report"]
    return {
        "plain": lambda: add.apply_async((2, 3), task_id=ID),
        "delay_kwargs": lambda: add.delay(x=2, y=3),
        "send_task": lambda: app.send_task("golden.add", args=[2, 3], kwargs={}, task_id=ID),
        "no_arguments": lambda: report.delay(),
        "expires_moment": lambda: add.apply_async((2, 3), task_id=ID, expires=MOMENT),
        "expires_seconds": lambda: add.apply_async((2, 3), task_id=ID, expires=90.5),
        "eta": lambda: add.apply_async((2, 3), task_id=ID, eta=MOMENT),
        "countdown": lambda: add.apply_async((2, 3), task_id=ID, countdown=3600),
        "priority": lambda: add.apply_async((2, 3), task_id=ID, priority=9),
        "headers": lambda: add.apply_async(
            (2, 3), task_id=ID, headers={"tenant": "north", "count": 7, "nested": {"list": [1, "two", None, True]}}
        ),
        "header_types": lambda: add.apply_async(
            (2, 3),
            task_id=ID,
            headers={
                "big": 1 << 40,
                "small": -5,
                "ratio": 0.25,
                "price": Decimal("1.50"),
                "when": MOMENT,
                "raw": b"r",
            },
        ),
        "shadow": lambda: add.apply_async((2, 3), task_id=ID, shadow="addition"),
        "time_limits": lambda: add.apply_async((2, 3), task_id=ID, time_limit=30, soft_time_limit=20),
        "ignore_result": lambda: add.apply_async((2, 3), task_id=ID, ignore_result=True),
        "reply_to": lambda: add.apply_async((2, 3), task_id=ID, reply_to="answers"),
        "retried": lambda: add.apply_async((2, 3), task_id=ID, retries=4, root_id="root", parent_id="parent"),
        "gzip": lambda: report.apply_async(("text " * 200,), task_id=ID, compression="gzip"),
        "bzip2": lambda: report.apply_async(("text " * 200,), task_id=ID, compression="bzip2"),
        "typed_arguments": lambda: report.apply_async(
            (MOMENT, date(2030, 1, 2), time(3, 4, 5), Decimal("12.340"), uuid.UUID(ID), b"plain", b"\xff\x00"),
            {"nested": {"when": datetime(2030, 1, 1), "ids": [uuid.UUID(ID)]}},
            task_id=ID,
        ),
        "unicode": lambda: report.apply_async(("žluťoučký", "日本", "\U0001f600"), {"klíč": "hodnota"}, task_id=ID),
        "large": lambda: report.apply_async((list(range(2000)),), task_id=ID),
        "pickle": lambda: add.apply_async((2, 3), task_id=ID, serializer="pickle"),
        "link": lambda: add.apply_async((2, 3), task_id=ID, link=report.s("done"), link_error=report.si("failed")),
        "chain": lambda: chain(add.s(1, 2), add.s(3), report.s(last=True)).apply_async(),
        "group": lambda: group(add.s(i, i) for i in range(3)).apply_async(),
        "chord": lambda: chord([add.s(1, 1), add.s(2, 2)], report.s(body=True)).apply_async(),
        "stamped": lambda: stamped(add.s(2, 3)).apply_async(task_id=ID),
        "protocol_1": lambda: by_protocol_1(app, add),
    }


def stamped(signature: celery.Signature) -> celery.Signature:
    """With two stamps."""
    signature.stamp(stamped_headers=["batch", "who"], batch="b-1", who=["me", "you"])
    return signature


def by_protocol_1(app: Celery, add: celery.Task) -> object:
    """As Celery before 4.0 sent it."""
    with app.amqp.Producer(app.connection(), auto_declare=False) as producer:
        message = app.amqp.as_task_v1(ID, "golden.add", args=(2, 3), kwargs={})
        return app.amqp.send_task_message(producer, "golden.add", message, serializer="json")


def main(url: str) -> None:
    """Send all of them and write the file."""
    app = make_app(url)
    stored: dict[str, list[dict[str, str]]] = {}
    with Raw(url) as raw:
        raw.declare_queue(QUEUE)
        for name, send in cases(app).items():
            send()
            stored[name] = [
                {
                    "exchange": message.exchange,
                    "routing_key": message.routing_key,
                    "properties": message.properties.hex(),
                    "body": message.body.hex(),
                }
                for message in raw.drain(QUEUE)
            ]
    document = {
        "celery": celery.__version__,
        "kombu": kombu.__version__,
        "captured": datetime.now(UTC).date().isoformat(),
        "cases": stored,
    }
    path = FOLDER / f"celery-{celery.__version__}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(f"{path}: {sum(map(len, stored.values()))} messages in {len(stored)} cases")


if __name__ == "__main__":
    main(sys.argv[1])
