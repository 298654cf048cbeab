"""What the broker means when it refuses a declaration (AMQP 405, 406, 503), in terms of the settings; pure.

RabbitMQ names only the first argument that differs. With the live object beside it, every difference is told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from amqtask.errors import TopologyConflict, TopologyError, TopologyUnsupported
from amqtask.topology.arguments import SETTING_OF
from amqtask.topology.values import Exchange, Queue

_INEQUIVALENT = re.compile(
    r"inequivalent arg '(?P<arg>[^']+)' for (?P<kind>queue|exchange) '(?P<name>.*?)' in vhost '.*?': "
    r"received (?:the value )?(?P<declared>none|'.*?')(?: of type '\w+')? "
    r"but current is (?:the value )?(?P<live>none|'.*?')(?: of type '\w+')?\s*$"
)
_INVALID = re.compile(r"invalid (?:arg|property) '(?P<arg>[^']+)'|unknown exchange type '(?P<type>[^']+)'|[Ff]eature `")

_QUEUE_FIELDS = ("durable", "exclusive", "auto_delete")
_EXCHANGE_FIELDS = ("type", "durable", "auto_delete", "internal")
Differences = dict[str, tuple[object, object]]


def differences(
    declared: Queue | Exchange, live: Queue | Exchange, *, default_queue_type: str = "classic"
) -> Differences:
    """Each field and argument in which the two differ: its name to (declared, live), None where it is absent.

    A queue without `x-queue-type` has the virtual host's default type, which the broker writes into it.
    """
    fields = _QUEUE_FIELDS if isinstance(declared, Queue) else _EXCHANGE_FIELDS
    found: Differences = {
        field: (getattr(declared, field), getattr(live, field))
        for field in fields
        if getattr(declared, field) != getattr(live, field)
    }
    here = _with_type(declared, default_queue_type)
    there = _with_type(live, "classic")  # a live queue that is not classic says what it is
    for argument in dict.fromkeys([*here, *there]):
        if here.get(argument) != there.get(argument):
            found[argument] = (here.get(argument), there.get(argument))
    return found


def refusal(
    reply_text: str,
    declared: Queue | Exchange,
    live: Queue | Exchange | None = None,
    *,
    default_queue_type: str = "classic",
) -> TopologyError:
    """The error for a declare that the broker refused with `reply_text`.

    TopologyConflict, with every difference when `live` is known and else the one that the broker named; or
    TopologyUnsupported when this broker cannot have such a thing at all.
    """
    thing = f"{'queue' if isinstance(declared, Queue) else 'exchange'} {declared.name!r}"
    named = _INEQUIVALENT.search(reply_text)
    found = differences(declared, live, default_queue_type=default_queue_type) if live is not None else {}
    if not found and named is not None:
        found = {named["arg"]: (_value(named["declared"]), _value(named["live"]))}
    if found:
        return TopologyConflict(f"{thing} exists and differs:\n{_lines(found)}\n{_ADVICE}", found)
    if "RESOURCE_LOCKED" in reply_text or "exclusive access" in reply_text:
        return TopologyConflict(f"{thing} is exclusive to another connection, or differs in 'exclusive': {reply_text}")
    if _INVALID.search(reply_text):
        return TopologyUnsupported(f"{thing}: this broker cannot have it: {reply_text}")
    return TopologyError(f"{thing}: the broker refuses it: {reply_text}")


_ADVICE = (
    "Nothing was changed. Make the configuration say what is there, or replace it: amqtask topology apply --recreate"
)


def _lines(found: Mapping[str, tuple[object, object]]) -> str:
    return "\n".join(
        f"  {field_label(field)}: declared {_show(declared)}, live {_show(live)}"
        for field, (declared, live) in found.items()
    )


def field_label(field: str) -> str:
    """How a person knows a field: the setting, and the argument where it has one."""
    setting = SETTING_OF.get(field)
    return f"{setting} ({field})" if setting else field


def _show(value: object) -> str:
    return "nothing" if value is None else repr(value)


def _with_type(thing: Queue | Exchange, default: str) -> dict[str, object]:
    arguments = dict(thing.arguments)
    if isinstance(thing, Queue):
        arguments.setdefault("x-queue-type", default)
    return arguments


def _value(text: str) -> object:
    """The value in the broker's words: none, a boolean, a whole number or text."""
    if text == "none":
        return None
    text = text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    return int(text) if re.fullmatch(r"-?\d+", text) else text
