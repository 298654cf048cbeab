"""RabbitMQ's definitions files: a topology written as one, and one read back as settings. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from amqtask.errors import SettingsError
from amqtask.provision.apply import policy_body
from amqtask.provision.live import binding_from, exchange_from, policy_from, queue_from
from amqtask.settings.reference import toml_value
from amqtask.settings.schema import dotted
from amqtask.topology.arguments import TYPED
from amqtask.topology.model import POLICY_PRIORITY, Topology, dead_letter_queue_name, policy_name
from amqtask.topology.values import PREDECLARED_EXCHANGES, Binding, Exchange, Policy, Queue

Tree = dict[str, dict[str, dict[str, object]]]
_Made = TypeVar("_Made")
_SETTING = {argument: setting for setting, (argument, _) in TYPED.items()}


def export_definitions(topology: Topology, vhost: str) -> dict[str, object]:
    """The topology as a definitions document, which `rabbitmqctl import_definitions` reads.

    The virtual host must exist where it is imported. Exclusive queues are left out: no definition can have one.
    """
    queues = {name: queue for name, queue in topology.queues.items() if not queue.exclusive}
    return {
        "exchanges": [
            _exchange(exchange, vhost) for exchange in topology.exchanges.values() if not exchange.predeclared
        ],
        "queues": [
            {
                "name": queue.name,
                "vhost": vhost,
                "durable": queue.durable,
                "auto_delete": queue.auto_delete,
                "arguments": dict(queue.arguments),
            }
            for queue in queues.values()
        ],
        "bindings": [
            {
                "source": binding.source,
                "vhost": vhost,
                "destination": binding.destination,
                "destination_type": binding.destination_type,
                "routing_key": binding.routing_key,
                "arguments": dict(binding.arguments),
            }
            for binding in topology.bindings
            if binding.destination_type == "exchange" or binding.destination in queues
        ],
        "policies": [
            {"name": policy.name, "vhost": vhost, **policy_body(policy)} for policy in topology.policies.values()
        ],
    }


def _exchange(exchange: Exchange, vhost: str) -> dict[str, object]:
    return {
        "name": exchange.name,
        "vhost": vhost,
        "type": exchange.type,
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": dict(exchange.arguments),
    }


def import_definitions(document: object, *, vhost: str | None = None) -> Tree:
    """The settings, as tables of a configuration file, that declare what a definitions document holds.

    A document of several virtual hosts needs `vhost`. Policies that `apply` set are folded back into their queues,
    and dead-letter queues that every queue has anyway are left out; other policies stay the broker's own affair.
    Raises SettingsError when it is no definitions document.
    """
    if not isinstance(document, Mapping) or not any(key in document for key in ("queues", "exchanges", "bindings")):
        raise SettingsError("is no definitions document: it has neither queues nor exchanges")
    exchanges = _of_vhost(document, "exchanges", vhost, exchange_from)
    queues = _of_vhost(document, "queues", vhost, queue_from)
    bindings = _of_vhost(document, "bindings", vhost, binding_from)
    policies = {policy.name: policy for policy in _of_vhost(document, "policies", vhost, policy_from)}
    names = {queue.name for queue in queues}
    dead_letter_queues = {dlq for name in names if (dlq := dead_letter_queue_name(name)) in names}
    tree: Tree = {"exchanges": {}, "queues": {}}
    for exchange in [*exchanges, *_bound_predeclared(bindings)]:
        tree["exchanges"][exchange.name] = _exchange_table(exchange, bindings)
    for queue in queues:
        plain = queue == Queue(queue.name) and not any(_ends_in(binding, queue) for binding in bindings)
        if queue.name in dead_letter_queues and plain:
            continue
        table = _queue_table(queue, bindings)
        table |= _policy_table(queue, policies.get(policy_name(queue.name)))
        # A document without any dead-letter queue is somebody else's: there they are still to be had.
        lacks_one = dead_letter_queue_name(queue.name) not in names and queue.name not in dead_letter_queues
        if dead_letter_queues and lacks_one and queue.type != "stream":
            table["dead_letter"] = False
        tree["queues"][queue.name] = table
    return tree


def _ends_in(binding: Binding, queue: Queue) -> bool:
    return bool(binding.source) and binding.destination_type == "queue" and binding.destination == queue.name


def _bound_predeclared(bindings: Sequence[Binding]) -> Iterator[Exchange]:
    """The broker's own exchanges that other exchanges feed: their tables hold nothing but those bindings."""
    fed = {binding.destination for binding in bindings if binding.destination_type == "exchange"}
    for name, kind in PREDECLARED_EXCHANGES.items():
        if name in fed:
            yield Exchange(name, kind)


def _exchange_table(exchange: Exchange, bindings: Sequence[Binding]) -> dict[str, object]:
    table: dict[str, object] = {"type": exchange.type}
    table |= {key: True for key in ("auto_delete", "internal") if getattr(exchange, key)}
    if not exchange.durable:
        table["durable"] = False
    arguments = dict(exchange.arguments)
    if exchange.alternate is not None:
        table["alternate_exchange"] = arguments.pop("alternate-exchange")
    if arguments:
        table["arguments"] = arguments
    into = [b for b in bindings if b.destination_type == "exchange" and b.destination == exchange.name]
    if into:
        table["bindings"] = [{"source": b.source, **_key_and_arguments(b)} for b in into]
    return table


def _queue_table(queue: Queue, bindings: Sequence[Binding]) -> dict[str, object]:
    table: dict[str, object] = {"type": queue.type} if queue.type != "classic" else {}
    if not queue.durable:
        table["durable"] = False
    if queue.auto_delete:
        table["auto_delete"] = True
    raw: dict[str, object] = {}
    for argument, value in queue.arguments.items():
        setting = _SETTING.get(argument)
        if argument == "x-queue-type":
            continue
        if setting is None or value == 0:  # zero is what a setting would not take where the broker does
            raw[argument] = value
        else:
            table[setting] = _seconds(value) if setting.endswith("_s") else value
    into = [binding for binding in bindings if _ends_in(binding, queue)]
    if into:
        table["bindings"] = [{"exchange": b.source, **_key_and_arguments(b)} for b in into]
    if raw:
        table["arguments"] = raw
    return table


def _key_and_arguments(binding: Binding) -> dict[str, object]:
    table: dict[str, object] = {"routing_key": binding.routing_key} if binding.routing_key else {}
    return table | ({"arguments": dict(binding.arguments)} if binding.arguments else {})


def _policy_table(queue: Queue, policy: Policy | None) -> dict[str, object]:
    """What a policy that `apply` set says beyond the way to the dead-letter queue, which goes without saying."""
    if policy is None:
        return {}
    definition = dict(policy.definition)
    implied = {"dead-letter-exchange": "", "dead-letter-routing-key": dead_letter_queue_name(queue.name)}
    if all(definition.get(key) == value for key, value in implied.items()):
        definition = {key: value for key, value in definition.items() if key not in implied}
    table: dict[str, object] = {"policy": definition} if definition else {}
    return table | ({"priority": policy.priority} if policy.priority != POLICY_PRIORITY else {})


def _seconds(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    return value // 1000 if value % 1000 == 0 else value / 1000


def _of_vhost(
    document: Mapping[str, object], key: str, vhost: str | None, make: Callable[[Mapping[str, object]], _Made]
) -> list[_Made]:
    rows = document.get(key) or []
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
        raise SettingsError(f"is no definitions document: {key!r} is not a list of tables")
    found = {row.get("vhost") for row in rows} - {None}
    if vhost is None and len(found) > 1:
        raise SettingsError(f"has several virtual hosts ({', '.join(sorted(map(str, found)))}): say which with --vhost")
    try:
        return [make(row) for row in rows if vhost is None or row.get("vhost") in (None, vhost)]
    except KeyError as error:
        raise SettingsError(f"is no definitions document: an entry of {key!r} has no {error}") from error


def exchanges_not_in(tree: Tree) -> list[str]:
    """The exchanges that bindings of `tree` name and that neither it nor every broker has."""
    tables = [*tree["exchanges"].values(), *tree["queues"].values()]
    rows = [row for table in tables for row in _rows(table.get("bindings"))]
    named = {str(row.get("exchange", row.get("source"))) for row in rows}
    return sorted(named - set(tree["exchanges"]) - set(PREDECLARED_EXCHANGES))


def _rows(value: object) -> list[Mapping[str, object]]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def as_toml(tree: Tree) -> str:
    """The tables as a configuration file, with a comment for what it cannot say.

    Raises SettingsError for a null, which TOML does not have.
    """
    blocks = [
        f"# Exchange {name!r} is bound here and is not in the file (RabbitMQ 4.3 exports no internal exchanges): "
        f"declare it under [exchanges]."
        for name in exchanges_not_in(tree)
    ]
    for kind, tables in tree.items():
        for name, table in tables.items():
            lines = [f"[{dotted((kind, name))}]"]
            for key, value in table.items():
                if _holds_null(value):
                    raise SettingsError("has a null, which TOML cannot hold", where=f"{kind}.{name}.{key}")
                lines.append(f"{key} = {_written(value)}")
            blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n" if blocks else ""


def _written(value: object) -> str:
    if isinstance(value, list) and len(value) > 1:
        return "[\n" + "".join(f"  {toml_value(item)},\n" for item in value) + "]"
    return toml_value(value)


def _holds_null(value: object) -> bool:
    match value:
        case Mapping():
            return any(_holds_null(item) for item in value.values())
        case list():
            return any(_holds_null(item) for item in value)
        case _:
            return value is None
