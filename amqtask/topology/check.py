"""Whether a broker of some version can have a topology, told without asking one.

Every fault names the queue or exchange, the setting and its argument, the version, and what to do instead. With no
version given only what no version can do is a fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from amqtask.errors import AmqtaskError, SettingsError, TopologyUnsupported, nearest
from amqtask.topology.arguments import SETTING_OF
from amqtask.topology.capabilities import (
    CLASSIC,
    EXCHANGE_TYPES,
    NOT_IN_POLICIES,
    POLICY_KEYS_WITHOUT_ARGUMENT,
    POLICY_SINCE,
    QUEUE_ARGUMENTS,
    QUORUM,
    TRANSIENT_NON_EXCLUSIVE,
    X_MATCH,
    Span,
)
from amqtask.topology.values import Binding, Exchange, Policy, Queue
from amqtask.topology.versions import Version, show_version


def queue_faults(queue: Queue, version: Version | None) -> Iterator[AmqtaskError]:
    """What is wrong with one queue."""
    type_fault = QUEUE_ARGUMENTS["x-queue-type"].check(queue.type)
    if type_fault is not None:
        yield SettingsError(type_fault, where=f"queues.{queue.name}.type")
        return
    for argument, value in queue.arguments.items():
        yield from _argument_faults(queue, argument, value, version)
    yield from _combination_faults(queue)
    yield from _flag_faults(queue, version)


def exchange_faults(exchange: Exchange, version: Version | None) -> Iterator[AmqtaskError]:
    """What is wrong with one exchange."""
    where = f"exchanges.{exchange.name}"
    known = EXCHANGE_TYPES.get(exchange.type)
    if known is None:
        # A plugin of somebody's own has a type that begins with x-; a near miss of a known one is a slip.
        near = nearest(exchange.type, EXCHANGE_TYPES)
        if near or not exchange.type.startswith("x-"):
            hint = f"; did you mean {near!r}?" if near else f"; known: {', '.join(EXCHANGE_TYPES)}"
            yield SettingsError(f"unknown exchange type {exchange.type!r}{hint}", where=f"{where}.type")
        return
    if version is not None and not known.span.has(version):
        yield TopologyUnsupported(
            f"exchange {exchange.name!r}: type {exchange.type!r} {_when(known.span)}, this is {show_version(version)}; "
            f"use another type"
        )
    for argument in known.needs:
        if argument not in exchange.arguments:
            yield SettingsError(f"type {exchange.type!r} needs the argument {argument!r}", where=f"{where}.arguments")
    alternate = exchange.arguments.get("alternate-exchange")
    if alternate is not None and not isinstance(alternate, str):
        yield SettingsError(f"must be text, not {alternate!r}", where=f"{where}.alternate_exchange")


def binding_faults(binding: Binding) -> Iterator[AmqtaskError]:
    """What is wrong with one binding."""
    where = f"{binding.destination_type}s.{binding.destination}.bindings"
    match = binding.arguments.get("x-match")
    if match is not None and match not in X_MATCH:
        yield SettingsError(f"x-match must be one of {', '.join(X_MATCH)}, not {match!r}", where=where)
    if len(binding.routing_key.encode("utf-8", "surrogatepass")) > 255:
        yield SettingsError(f"routing key {binding.routing_key[:40]!r}... is longer than 255 bytes", where=where)


def policy_faults(policy: Policy, queue: Queue, version: Version | None) -> Iterator[AmqtaskError]:
    """What is wrong with the policy of one queue."""
    where = f"queues.{queue.name}.policy"
    for key, value in policy.definition.items():
        argument = f"x-{key}"
        rule = QUEUE_ARGUMENTS.get(argument)
        if rule is None:
            if key not in POLICY_KEYS_WITHOUT_ARGUMENT:
                known = [*POLICY_KEYS_WITHOUT_ARGUMENT, *(name[2:] for name in QUEUE_ARGUMENTS)]
                near = nearest(key.removeprefix("x-").replace("_", "-"), known)
                hint = f"; did you mean {near!r}?" if near else ""
                yield SettingsError(f"unknown policy key {key!r}{hint}", where=where)
        elif argument in NOT_IN_POLICIES:
            yield SettingsError(f"{key!r} cannot be set by a policy; declare it on the queue", where=where)
        elif version is not None and version < POLICY_SINCE.get(key, version):
            yield TopologyUnsupported(
                f"queue {queue.name!r}: policy key {key!r} needs RabbitMQ {show_version(POLICY_SINCE[key])}, "
                f"this is {show_version(version)}; leave it out"
            )
        else:
            yield from _argument_faults(queue, argument, value, version, by_policy=True)


def first_fault(faults: Iterable[AmqtaskError]) -> None:
    """Raise the first fault, if there is one."""
    for fault in faults:
        raise fault


def _argument_faults(
    queue: Queue, argument: str, value: object, version: Version | None, *, by_policy: bool = False
) -> Iterator[AmqtaskError]:
    rule = QUEUE_ARGUMENTS.get(argument)
    shown = f"policy {argument[2:]}" if by_policy else _shown(argument)
    where = f"queues.{queue.name}.{'policy' if by_policy else SETTING_OF.get(argument, 'arguments')}"
    if rule is None:
        near = nearest(argument, QUEUE_ARGUMENTS)
        if near is not None:  # what is like no argument we know is left to a broker that may know it
            yield SettingsError(f"unknown argument {argument!r}; did you mean {near!r}?", where=where)
        return
    head = f"queue {queue.name!r} ({queue.type}): {shown}"
    span = rule.types.get(queue.type)
    if span is None:
        kind = "any queue" if not rule.types else f"{queue.type} queues"
        yield TopologyUnsupported(f"{head} does not exist for {kind}, in any version; {rule.instead}")
        return
    if version is not None and not span.has(version):
        yield TopologyUnsupported(f"{head} {_when(span)}, this is {show_version(version)}; {rule.instead}")
        return
    fault = rule.check(value)
    if fault is not None:
        yield SettingsError(fault, where=where)
        return
    since, until = rule.values_since.get(value), rule.values_until.get(value)
    if version is not None and since is not None and version < since:
        yield TopologyUnsupported(
            f"{head} = {value} needs RabbitMQ {show_version(since)}, this is {show_version(version)}; "
            f"give another value or leave it out"
        )
    if version is not None and until is not None and version >= until:
        yield TopologyUnsupported(
            f"{head} = {value} is gone since RabbitMQ {show_version(until)}, this is {show_version(version)}; "
            f"give another value or leave it out"
        )


def _combination_faults(queue: Queue) -> Iterator[AmqtaskError]:
    """Arguments that are fine alone and wrong together; the broker takes most of these silently."""
    arguments, where = queue.arguments, f"queues.{queue.name}"
    if "x-dead-letter-routing-key" in arguments and "x-dead-letter-exchange" not in arguments:
        yield SettingsError("dead_letter_routing_key needs a dead_letter_exchange", where=where)
    if queue.type == QUORUM and arguments.get("x-overflow") == "reject-publish-dlx":
        yield TopologyUnsupported(
            f"queue {queue.name!r} (quorum): overflow = reject-publish-dlx does not exist for quorum queues, which "
            f"silently drop their oldest message instead; use reject-publish"
        )
    if queue.type == QUORUM and arguments.get("x-dead-letter-strategy") == "at-least-once":
        if "x-dead-letter-exchange" not in arguments:
            yield SettingsError("dead_letter_strategy at-least-once needs a dead_letter_exchange", where=where)
        if arguments.get("x-overflow") != "reject-publish":
            # Without it the broker falls back to at-most-once, and says so only in its log.
            yield SettingsError("dead_letter_strategy at-least-once needs overflow = reject-publish", where=where)
    least, most = arguments.get("x-delayed-retry-min"), arguments.get("x-delayed-retry-max")
    if isinstance(least, int) and isinstance(most, int) and least > most:
        yield SettingsError(f"x-delayed-retry-min ({least}) is above x-delayed-retry-max ({most})", where=where)


def _flag_faults(queue: Queue, version: Version | None) -> Iterator[AmqtaskError]:
    head = f"queue {queue.name!r} ({queue.type})"
    if queue.type != CLASSIC:
        for wrong, setting in (
            (not queue.durable, "durable = false"),
            (queue.exclusive, "exclusive = true"),
            (queue.auto_delete, "auto_delete = true"),
        ):
            if wrong:
                yield TopologyUnsupported(
                    f"{head}: {setting} does not exist for {queue.type} queues, in any version; "
                    f'leave it out or use type = "classic"'
                )
    elif not queue.durable and not queue.exclusive and version is not None and not TRANSIENT_NON_EXCLUSIVE.has(version):
        yield TopologyUnsupported(
            f"{head}: durable = false without exclusive = true is refused since RabbitMQ 4.3, this is "
            f"{show_version(version)}; make it durable, with expires_s if it should go away"
        )


def _shown(argument: str) -> str:
    """The setting and the argument, whichever the reader knows."""
    setting = SETTING_OF.get(argument)
    return f"{setting} ({argument})" if setting else argument


def _when(span: Span) -> str:
    if span.until is None:
        return f"needs RabbitMQ {show_version(span.since)}"
    if span.since == Span().since:
        return f"exists only below RabbitMQ {show_version(span.until)}"
    return f"exists only from RabbitMQ {show_version(span.since)} up to {show_version(span.until)} exclusive"
