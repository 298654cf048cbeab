"""Typed settings of queues and exchanges into the x-arguments the broker understands: seconds become milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from amqtask.errors import SettingsError

if TYPE_CHECKING:
    from amqtask.settings import ExchangeSettings, QueueSettings


def _same(value: object) -> object:
    return value


def _milliseconds(value: object) -> object:
    return round(value * 1000) if isinstance(value, int | float) else value


# setting: (argument, how its value goes on the wire)
TYPED: Mapping[str, tuple[str, Callable[[object], object]]] = {
    "message_ttl_s": ("x-message-ttl", _milliseconds),
    "expires_s": ("x-expires", _milliseconds),
    "max_length": ("x-max-length", _same),
    "max_length_bytes": ("x-max-length-bytes", _same),
    "overflow": ("x-overflow", _same),
    "dead_letter_exchange": ("x-dead-letter-exchange", _same),
    "dead_letter_routing_key": ("x-dead-letter-routing-key", _same),
    "dead_letter_strategy": ("x-dead-letter-strategy", _same),
    "max_priority": ("x-max-priority", _same),
    "single_active_consumer": ("x-single-active-consumer", _same),
    "delivery_limit": ("x-delivery-limit", _same),
    "quorum_initial_group_size": ("x-quorum-initial-group-size", _same),
    "queue_leader_locator": ("x-queue-leader-locator", _same),
    "max_age": ("x-max-age", _same),
    "stream_max_segment_size_bytes": ("x-stream-max-segment-size-bytes", _same),
    "initial_cluster_size": ("x-initial-cluster-size", _same),
    "consumer_timeout_s": ("x-consumer-timeout", _milliseconds),
}

SETTING_OF: Mapping[str, str] = {argument: setting for setting, (argument, _) in TYPED.items()} | {
    "x-queue-type": "type"
}


def queue_arguments(name: str, settings: QueueSettings) -> dict[str, object]:
    """The arguments of queue `name`, in the table's order; raw ones of `arguments` last.

    A classic queue carries no `x-queue-type`: others that declare it do not send one either. A setting that is absent
    sends nothing. Raises SettingsError when the same argument is given typed and raw with different values.
    """
    arguments: dict[str, object] = {}
    if settings.type != "classic":
        arguments["x-queue-type"] = settings.type
    for setting, (argument, wire) in TYPED.items():
        value = getattr(settings, setting)
        # `single_active_consumer = false` is how a queue without that argument behaves, so it is not sent either.
        if value is not None and not (setting == "single_active_consumer" and value is False):
            arguments[argument] = wire(value)
    for argument, value in settings.arguments.items():
        if argument in arguments and arguments[argument] != value:
            raise SettingsError(
                f"{argument} is {value!r} here and {arguments[argument]!r} by {SETTING_OF[argument]!r}; keep one",
                where=f"queues.{name}.arguments",
            )
        arguments[argument] = value
    return arguments


def exchange_arguments(name: str, settings: ExchangeSettings) -> dict[str, object]:
    """The arguments of exchange `name`. Raises SettingsError when two different alternate exchanges are given."""
    arguments = dict(settings.arguments)
    alternate = settings.alternate_exchange
    if alternate is not None and arguments.setdefault("alternate-exchange", alternate) != alternate:
        raise SettingsError(
            f"alternate-exchange is {arguments['alternate-exchange']!r} here and {alternate!r} by 'alternate_exchange'",
            where=f"exchanges.{name}.arguments",
        )
    return arguments
