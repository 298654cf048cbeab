"""Celery's settings that are more than a new name: those that fill several of ours, or that need each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote

from amqtask.settings.celery_queues import PREDECLARED, Defaults, declared
from amqtask.settings.celery_routes import WrongRoute, rules
from amqtask.settings.layers import Layer, kind_of_value
from amqtask.settings.schema import Path


@dataclass(frozen=True, slots=True)
class Given:
    """One of Celery's settings as a source gave it: the name that was used, and the value."""

    used: str
    value: object


@dataclass(frozen=True, slots=True)
class Source:
    """One Python source that speaks Celery's names: all that it gave, by new name, and the layer that it fills."""

    given: Mapping[str, Given]
    layer: Layer
    origin: str
    alone: bool = False  # not all that the source gives is here

    def value(self, new_name: str) -> object:
        """What was given under that name or an older one; None when nothing was."""
        return self.given[new_name].value if new_name in self.given else None

    def add(self, used: str, path: Path, value: object) -> None:
        """Hand on a value of ours."""
        self.layer.add(path, value, f"{self.origin}, {used}")

    def refuse(self, used: str, text: str) -> None:
        """Note why a value cannot be."""
        self.layer.problem(used, text, self.origin)

    def note(self, used: str, text: str) -> None:
        """Tell what became of a value."""
        self.layer.notes.append(f"{self.origin}: {used}: {text}")


Special: TypeAlias = Callable[[Source, Given], None]

_URL_PARTS = ("broker_host", "broker_user", "broker_password", "broker_port", "broker_vhost")


def _url_part(source: Source, given: Given) -> None:
    """Celery 3's address in five settings: the first of them that is there makes the URL of all."""
    if any(new in source.given for new in _URL_PARTS[: _URL_PARTS.index(_new_name(source, given))]):
        return
    part = {new: str(source.value(new)) for new in _URL_PARTS if source.value(new) not in (None, "")}
    user, password = part.get("broker_user", "guest"), part.get("broker_password", "guest")
    vhost = part.get("broker_vhost", "/")
    address = part.get("broker_host", "localhost") + (f":{part['broker_port']}" if "broker_port" in part else "")
    used = ", ".join(source.given[new].used for new in _URL_PARTS if new in source.given)
    url = f"amqp://{quote(user, safe='')}:{quote(password, safe='')}@{address}/{quote(vhost, safe='')}"
    source.add(used, ("broker", "url"), url)
    source.note(used, "are Celery 3's names; here: broker.url")


def _new_name(source: Source, given: Given) -> str:
    return next(new for new, one in source.given.items() if one is given)


# Option of kombu's transports: (values that hold anyway, why no other can be had)
_TRANSPORT: Mapping[str, tuple[tuple[object, ...], str]] = {
    "visibility_timeout": (
        (),
        "means nothing on RabbitMQ: it keeps a delivery until it is acknowledged or its connection ends. What bounds "
        "that is the broker's consumer timeout: queues.NAME.consumer_timeout_s",
    ),
    "confirm_publish": ((True,), "every publish is confirmed"),
    "priority_steps": ((), "is for Redis; on RabbitMQ a queue says max_priority"),
    "queue_order_strategy": ((), "is for Redis and SQS; executors take from all their queues"),
    "sep": ((), "is for Redis"),
    "global_keyprefix": ((), "is for Redis; a virtual host keeps applications apart"),
    "fanout_prefix": ((), "is for Redis"),
    "fanout_patterns": ((), "is for Redis"),
    "master_name": ((), "is for Redis Sentinel"),
    "region": ((), "is for SQS"),
    "polling_interval": ((), "is for brokers that are polled; RabbitMQ delivers by itself"),
    "max_retries": ((None, 0), "a lost broker is looked for until it is back; a publish gives up at its deadline"),
    "interval_start": ((), "waits between attempts to connect grow with jitter up to broker.reconnect_max_s"),
    "interval_step": ((), "waits between attempts to connect grow with jitter up to broker.reconnect_max_s"),
    "interval_max": ((), "waits between attempts to connect grow with jitter up to broker.reconnect_max_s"),
    "login_method": ((None, "PLAIN"), "user and password are sent as PLAIN"),
}


def _transport_options(source: Source, given: Given) -> None:
    if not given.value:
        source.note(given.used, "is empty; nothing to do")
        return
    if not isinstance(given.value, Mapping):
        source.refuse(given.used, f"a dict is needed, not {kind_of_value(given.value)}")
        return
    for option, value in given.value.items():
        key = f"{given.used}[{option!r}]"
        if option not in _TRANSPORT:
            source.refuse(key, "is no option of RabbitMQ's transport that amqtask has; see the broker section")
            continue
        values, text = _TRANSPORT[option]
        if any(value is held or value == held for held in values):
            source.note(key, f"holds always: {text}")
        else:
            source.refuse(key, text)


def _default_exchange(source: Source, given: Given) -> None:
    """Celery declares its default exchange by itself; here it is declared as any other."""
    name = given.value
    if not isinstance(name, str) or not name:
        source.note(given.used, "is not set; here: tasks.default_exchange")
        return
    source.add(given.used, ("tasks", "default_exchange"), name)
    if not name.startswith(PREDECLARED) and name not in declared(source.value("task_queues"), Defaults()).exchanges:
        source.add(given.used, ("exchanges", name, "type"), source.value("task_default_exchange_type") or "direct")
    source.note(given.used, "is Celery's name; here: tasks.default_exchange, and the exchange is declared")


def _exchange_type(source: Source, given: Given) -> None:
    if source.value("task_default_exchange"):
        source.note(given.used, "is Celery's name; here: exchanges.NAME.type")
    elif given.value in (None, "", "direct"):
        source.note(given.used, "is direct, as the broker's default exchange is")
    elif not source.alone:
        source.refuse(given.used, "needs task_default_exchange: the broker's own default exchange is direct")


_POLICY = {
    "max_retries": "max_retries",
    "interval_start": "interval_start_s",
    "interval_step": "interval_step_s",
    "interval_max": "interval_max_s",
}


def _retry_policy(source: Source, given: Given) -> None:
    if not given.value:
        source.note(given.used, "is empty; nothing to do")
        return
    if not isinstance(given.value, Mapping):
        source.refuse(given.used, f"a dict is needed, not {kind_of_value(given.value)}")
        return
    for key, value in given.value.items():
        if key in _POLICY:
            source.add(given.used, ("publish", "retry_policy", _POLICY[key]), value)
        else:
            source.refuse(f"{given.used}[{key!r}]", f"unknown; a retry policy has {', '.join(_POLICY)}")
    source.note(given.used, "is Celery's name; here: publish.retry_policy")


def _max_priority(source: Source, given: Given) -> None:
    if given.value is None:
        return
    if "task_queues" in source.given or source.alone:
        source.note(given.used, "holds for the queues of task_queues; here: queues.NAME.max_priority")
    else:
        source.refuse(given.used, "is said for each queue here: queues.NAME.max_priority")


def _queues(source: Source, given: Given) -> None:
    priority = source.value("task_queue_max_priority")
    exchange, key = source.value("task_default_exchange"), source.value("task_default_routing_key")
    found = declared(
        given.value,
        Defaults(
            exchange=exchange if isinstance(exchange, str) else "",
            routing_key=key if isinstance(key, str) else "",
            max_priority=priority if isinstance(priority, int) else None,
        ),
    )
    for fault in found.faults:
        source.refuse(given.used, fault)
    if found.exchanges:
        source.add(given.used, ("exchanges",), found.exchanges)
    if found.queues:
        source.add(given.used, ("queues",), found.queues)
    source.note(given.used, "is Celery's name; here: queues and exchanges")


def _routes(source: Source, given: Given) -> None:
    types: dict[str, str] = {}
    try:
        found = rules(given.value, exchange_types=types)
    except WrongRoute as error:
        source.refuse(given.used, str(error))
        return
    source.add(given.used, ("routes",), found)
    for exchange, kind in types.items():
        source.add(given.used, ("exchanges", exchange, "type"), kind)
    source.note(given.used, "is Celery's name; here: routes")


SPECIALS: Mapping[str, Special] = {
    **dict.fromkeys(_URL_PARTS, _url_part),
    "broker_transport_options": _transport_options,
    "task_default_exchange": _default_exchange,
    "task_default_exchange_type": _exchange_type,
    "task_publish_retry_policy": _retry_policy,
    "task_queue_max_priority": _max_priority,
    "task_queues": _queues,
    "task_routes": _routes,
}
