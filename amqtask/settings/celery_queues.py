"""`task_queues` and `CELERY_QUEUES`: kombu's Queue and Exchange objects, and Celery's dict form, as settings of ours.

kombu is never imported here: an object of its can only come from a program that did so itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from amqtask.errors import nearest
from amqtask.settings.layers import hint, kind_of_value

# The broker's argument: (setting of ours, what divides its value: the broker counts milliseconds)
ARGUMENTS: Mapping[str, tuple[str, int]] = {
    "x-queue-type": ("type", 0),
    "x-message-ttl": ("message_ttl_s", 1000),
    "x-expires": ("expires_s", 1000),
    "x-max-length": ("max_length", 0),
    "x-max-length-bytes": ("max_length_bytes", 0),
    "x-overflow": ("overflow", 0),
    "x-dead-letter-exchange": ("dead_letter_exchange", 0),
    "x-dead-letter-routing-key": ("dead_letter_routing_key", 0),
    "x-dead-letter-strategy": ("dead_letter_strategy", 0),
    "x-max-priority": ("max_priority", 0),
    "x-single-active-consumer": ("single_active_consumer", 0),
    "x-delivery-limit": ("delivery_limit", 0),
    "x-quorum-initial-group-size": ("quorum_initial_group_size", 0),
    "x-queue-leader-locator": ("queue_leader_locator", 0),
    "x-max-age": ("max_age", 0),
    "x-stream-max-segment-size-bytes": ("stream_max_segment_size_bytes", 0),
    "x-initial-cluster-size": ("initial_cluster_size", 0),
    "x-consumer-timeout": ("consumer_timeout_s", 1000),
}
# kombu's Queue attribute: ours. Its times are in seconds.
_ATTRIBUTES: Mapping[str, str] = {
    "expires": "expires_s",
    "message_ttl": "message_ttl_s",
    "max_length": "max_length",
    "max_length_bytes": "max_length_bytes",
    "max_priority": "max_priority",
}
_DICT_KEYS = (
    "alias", "auto_delete", "binding_arguments", "binding_key", "bindings", "consumer_arguments", "delivery_mode",
    "durable", "exchange", "exchange_arguments", "exchange_auto_delete", "exchange_durable", "exchange_type",
    "exclusive", "expires", "max_length", "max_length_bytes", "max_priority", "message_ttl", "no_ack", "no_declare",
    "queue_arguments", "queue_auto_delete", "queue_durable", "routing_key",
)  # fmt: skip
PREDECLARED = "amq."  # exchanges under this prefix are the broker's own


class WrongQueue(ValueError):
    """A queue that cannot be had here; the text says why."""


@dataclass(slots=True)
class Declared:
    """What a program's queues declare, as the tables that a file would hold, and what is wrong with them."""

    exchanges: dict[str, dict[str, object]] = field(default_factory=dict)
    queues: dict[str, dict[str, object]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a queue without an exchange or key of its own gets, and the priority that all get."""

    exchange: str = ""
    routing_key: str = ""
    max_priority: int | None = None


def declared(value: object, defaults: Defaults) -> Declared:
    """The tables that `value` declares: a list, tuple or dict of queues."""
    result = Declared()
    for name, item in _items(value, result.faults):
        try:
            _add(result, name, item, defaults)
        except WrongQueue as error:
            result.faults.append(str(error))
    return result


def _items(value: object, faults: list[str]) -> Iterator[tuple[str | None, object]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((None, item) for item in value)
    elif value is not None:
        faults.append(f"a list or a dict of queues is needed, not {kind_of_value(value)}")


def _add(result: Declared, name: str | None, item: object, defaults: Defaults) -> None:
    if isinstance(item, str) and name is None:
        name, item = item, {}
    if isinstance(item, Mapping):
        if name is None:
            raise WrongQueue(f"a queue in a list is a kombu Queue or a name, not {item!r}")
        queue = _from_dict(result, name, item)
    elif _is_kombu(item, "Queue"):
        queue = _from_object(result, item)
        name = str(getattr(item, "name", "") or name or "")
    else:
        raise WrongQueue(f"a queue is a kombu Queue, a dict or a name, not {kind_of_value(item)}")
    if not queue.get("exchange") and "bindings" not in queue:
        if defaults.exchange:
            queue["exchange"] = defaults.exchange
            queue.setdefault("routing_key", defaults.routing_key or name)
        else:
            # Without an exchange of its own a queue is reached by its name; a key would lead nowhere.
            queue.pop("routing_key", None)
    if defaults.max_priority is not None and queue.get("type", "classic") == "classic":
        queue.setdefault("max_priority", defaults.max_priority)
    known = result.queues.setdefault(name, queue)
    if known != queue:
        result.faults.append(f"queue {name!r} is declared twice, differently")


def _is_kombu(item: object, kind: str) -> bool:
    return any(base.__module__.startswith("kombu.") and base.__name__ == kind for base in type(item).__mro__)


def _from_object(result: Declared, item: object) -> dict[str, object]:
    """The table of a kombu Queue."""
    name = str(getattr(item, "name", ""))
    if _is_kombu(item, "Broadcast"):
        raise WrongQueue(f"queue {name!r}: broadcast queues are not in this version")
    queue: dict[str, object] = {}
    for flag, default in (("durable", True), ("exclusive", False), ("auto_delete", False)):
        value = bool(getattr(item, flag))
        if value is not default:
            queue[flag] = value
    for attribute, setting in _ATTRIBUTES.items():
        if getattr(item, attribute) is not None:
            queue[setting] = getattr(item, attribute)
    _refuse_kombu(name, item)
    _arguments(name, getattr(item, "queue_arguments", None), queue)
    exchange = _exchange(result, getattr(item, "exchange", None))
    key = str(getattr(item, "routing_key", "") or "")
    binding_arguments = dict(getattr(item, "binding_arguments", None) or {})
    # kombu keeps them in a set; and where there are some, it forgets the queue's exchange.
    bindings = [_binding(result, bound) for bound in getattr(item, "bindings", None) or ()]
    bindings.sort(key=repr)
    if exchange and binding_arguments:
        bindings.insert(0, {"exchange": exchange, "routing_key": key, "arguments": binding_arguments})
    elif exchange:
        queue["exchange"] = exchange
        queue["routing_key"] = key
    elif key:
        queue["routing_key"] = key
    if bindings:
        queue["bindings"] = bindings
        queue.pop("routing_key", None)
    return queue


def _refuse_kombu(name: str, item: object) -> None:
    if getattr(item, "no_ack", None):
        raise WrongQueue(f"queue {name!r} has no_ack: a pool says ack = 'early' for its queues")
    if getattr(item, "no_declare", None):
        raise WrongQueue(f"queue {name!r} has no_declare: topology.mode = 'verify' declares nothing")
    if getattr(item, "consumer_arguments", None):
        raise WrongQueue(f"queue {name!r} has consumer_arguments, which this version does not have")
    if getattr(item, "alias", None):
        raise WrongQueue(f"queue {name!r} has an alias, which this version does not have")


def _arguments(name: str, arguments: object, queue: dict[str, object]) -> None:
    """Sort a queue's arguments into typed settings; those that have none stay arguments."""
    if not arguments:
        return
    if not isinstance(arguments, Mapping):
        raise WrongQueue(f"queue {name!r}: its arguments are a dict, not {kind_of_value(arguments)}")
    rest: dict[str, object] = {}
    for argument, value in arguments.items():
        setting, divisor = ARGUMENTS.get(argument, ("", 0))
        if not setting:
            rest[str(argument)] = value
            continue
        if divisor and isinstance(value, int | float):
            value = value / divisor
        if setting in queue and queue[setting] != value:
            raise WrongQueue(f"queue {name!r} has {argument} {value!r} and {setting} {queue[setting]!r}")
        queue[setting] = value
    if rest:
        queue["arguments"] = rest


def _exchange(result: Declared, item: object) -> str:
    """The name of a kombu Exchange, which is thereby declared; empty for the default exchange."""
    if item is None:
        return ""
    if isinstance(item, str):
        return item
    if not _is_kombu(item, "Exchange"):
        raise WrongQueue(f"an exchange is a kombu Exchange or a name, not {kind_of_value(item)}")
    name = str(getattr(item, "name", "") or "")
    if not name or name.startswith(PREDECLARED):
        return name
    if getattr(item, "delivery_mode", None) in (1, "transient"):
        raise WrongQueue(f"exchange {name!r} has delivery_mode 1: every message is persistent here")
    if getattr(item, "no_declare", None) or getattr(item, "passive", None):
        raise WrongQueue(f"exchange {name!r} is not to be declared: topology.mode = 'verify' declares nothing")
    _declare(
        result,
        name,
        kind=str(getattr(item, "type", "") or "direct"),
        durable=bool(getattr(item, "durable", True)),
        auto_delete=bool(getattr(item, "auto_delete", False)),
        arguments=getattr(item, "arguments", None),
    )
    return name


def _declare(result: Declared, name: str, *, kind: str, durable: bool, auto_delete: bool, arguments: object) -> None:
    rest = dict(arguments) if isinstance(arguments, Mapping) else {}
    exchange: dict[str, object] = {"type": kind}
    if not durable:
        exchange["durable"] = False
    if auto_delete:
        exchange["auto_delete"] = True
    if "alternate-exchange" in rest:
        exchange["alternate_exchange"] = rest.pop("alternate-exchange")
    if rest:
        exchange["arguments"] = rest
    known = result.exchanges.setdefault(name, exchange)
    if known != exchange:
        raise WrongQueue(f"exchange {name!r} is declared twice, differently: {known} and {exchange}")


def _binding(result: Declared, bound: object) -> dict[str, object]:
    if not _is_kombu(bound, "binding"):
        raise WrongQueue(f"a binding is a kombu binding, not {kind_of_value(bound)}")
    binding: dict[str, object] = {
        "exchange": _exchange(result, getattr(bound, "exchange", None)),
        "routing_key": str(getattr(bound, "routing_key", "") or ""),
    }
    if getattr(bound, "arguments", None):
        binding["arguments"] = dict(getattr(bound, "arguments", {}))
    return binding


def _from_dict(result: Declared, name: str, options: Mapping[str, object]) -> dict[str, object]:
    """The table of a queue in Celery's dict form."""
    for key in options:
        if key not in _DICT_KEYS:
            near = nearest(str(key), _DICT_KEYS)
            raise WrongQueue(f"queue {name!r} has an unknown key {key!r}{hint(near)}")
    queue: dict[str, object] = {}
    flags = {
        "durable": options.get("queue_durable", options.get("durable")),
        "auto_delete": options.get("queue_auto_delete", options.get("auto_delete")),
        "exclusive": options.get("exclusive"),
    }
    queue.update({flag: value for flag, value in flags.items() if value is not None})
    queue.update({ours: options[theirs] for theirs, ours in _ATTRIBUTES.items() if options.get(theirs) is not None})
    for key in ("no_ack", "no_declare", "consumer_arguments", "alias"):
        if options.get(key):
            _refuse_kombu(name, _Flags(**{key: options[key]}))
    if options.get("delivery_mode") in (1, "transient"):
        raise WrongQueue(f"queue {name!r} has delivery_mode 1: every message is persistent here")
    _arguments(name, options.get("queue_arguments"), queue)
    exchange = options.get("exchange")
    exchange_name = _exchange(result, exchange)
    if isinstance(exchange, str) and exchange and not exchange.startswith(PREDECLARED):
        _declare(
            result,
            exchange,
            kind=str(options.get("exchange_type") or "direct"),
            durable=options.get("exchange_durable", options.get("durable")) is not False,
            auto_delete=bool(options.get("exchange_auto_delete", options.get("auto_delete"))),
            arguments=options.get("exchange_arguments"),
        )
    key = str(options.get("binding_key") or options.get("routing_key") or name)
    if exchange_name and options.get("binding_arguments"):
        queue["bindings"] = [{"exchange": exchange_name, "routing_key": key, "arguments": options["binding_arguments"]}]
    elif exchange_name:
        queue["exchange"] = exchange_name
        queue["routing_key"] = key
    bindings = options.get("bindings")
    if isinstance(bindings, list | tuple) and bindings:
        first = queue.get("bindings", [])
        assert isinstance(first, list)
        queue["bindings"] = [*first, *(_binding(result, bound) for bound in bindings)]
    return queue


@dataclass(slots=True)
class _Flags:
    """The few attributes of a queue that are refused, whichever form it was given in."""

    no_ack: object = None
    no_declare: object = None
    consumer_arguments: object = None
    alias: object = None
