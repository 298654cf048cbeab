"""Which queue and exchange features each RabbitMQ version really has: one table, read by checks, tested per version.

A broker that does not know an argument takes it silently (3.10 accepts `x-delayed-retry-type`), so a declare that
passed proves nothing: a feature is on only if this table says so. Measured on 3.10.8, 4.0.5 and 4.3.6; 3.13 by its
release notes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from amqtask.topology.versions import OLDEST, Version

CLASSIC, QUORUM, STREAM = "classic", "quorum", "stream"
QUEUE_TYPES = (CLASSIC, QUORUM, STREAM)

_MAX_TIMER_MS = 2**32 - 1  # Erlang's longest timer, 49.7 days: the broker refuses more
_MAX_SEGMENT_BYTES = 3_000_000_000

Check = Callable[[object], str | None]  # what is wrong with a value, None when nothing is


@dataclass(frozen=True, slots=True)
class Span:
    """The versions that have a feature: from `since` on, up to but without `until`."""

    since: Version = OLDEST
    until: Version | None = None

    def has(self, version: Version) -> bool:
        """Whether `version` lies within."""
        return self.since <= version and (self.until is None or version < self.until)


ALWAYS = Span()


@dataclass(frozen=True, slots=True)
class Argument:
    """One x-argument: which queue types have it and when, what values it takes, and what to do where it is missing."""

    types: Mapping[str, Span]
    check: Check
    instead: str = "leave it out"
    values_since: Mapping[object, Version] = field(default_factory=dict)
    values_until: Mapping[object, Version] = field(default_factory=dict)


def _whole(least: int, most: int | None = None) -> Check:
    def check(value: object) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return f"must be a whole number, not {value!r}"
        if value < least:
            return f"must be at least {least}, not {value}"
        if most is not None and value > most:
            return f"must be at most {most}, not {value}"
        return None

    return check


def _one_of(*choices: str | int) -> Check:
    def check(value: object) -> str | None:
        if isinstance(value, bool) or value not in choices:
            return f"must be one of {', '.join(map(str, choices))}, not {value!r}"
        return None

    return check


def _text(value: object) -> str | None:
    return None if isinstance(value, str) else f"must be text, not {value!r}"


def _flag(value: object) -> str | None:
    return None if isinstance(value, bool) else f"must be true or false, not {value!r}"


def _age(value: object) -> str | None:
    good = isinstance(value, str) and re.fullmatch(r"[1-9][0-9]*[YMDhms]", value)
    return None if good else f"must be a number and one of Y, M, D, h, m, s, as 7D, not {value!r}"


def _on(*types: str, since: Version = OLDEST, until: Version | None = None) -> Mapping[str, Span]:
    return dict.fromkeys(types, Span(since, until))


_NEVER: Mapping[str, Span] = {}
_LOCATORS = ("client-local", "balanced", "least-leaders", "random", "min-masters")

QUEUE_ARGUMENTS: Mapping[str, Argument] = {
    "x-queue-type": Argument(_on(*QUEUE_TYPES), _one_of(*QUEUE_TYPES)),
    "x-message-ttl": Argument(_on(CLASSIC, QUORUM), _whole(0, _MAX_TIMER_MS), "a stream keeps messages by max_age"),
    "x-expires": Argument(_on(CLASSIC, QUORUM), _whole(1, _MAX_TIMER_MS)),
    "x-max-length": Argument(_on(CLASSIC, QUORUM), _whole(0), "use max_length_bytes"),
    "x-max-length-bytes": Argument(_on(*QUEUE_TYPES), _whole(0)),
    "x-overflow": Argument(_on(CLASSIC, QUORUM), _one_of("drop-head", "reject-publish", "reject-publish-dlx")),
    "x-dead-letter-exchange": Argument(_on(CLASSIC, QUORUM), _text, "nothing is dead-lettered from a stream"),
    "x-dead-letter-routing-key": Argument(_on(CLASSIC, QUORUM), _text, "nothing is dead-lettered from a stream"),
    "x-dead-letter-strategy": Argument(
        _on(QUORUM), _one_of("at-most-once", "at-least-once"), 'leave it out or use type = "quorum"'
    ),
    "x-max-priority": Argument(
        _on(CLASSIC),
        _whole(1, 255),
        'leave it out or use type = "classic"; a quorum queue has two levels by itself since 4.0, and 32 since 4.3',
    ),
    "x-single-active-consumer": Argument(_on(CLASSIC, QUORUM), _flag),
    "x-delivery-limit": Argument(
        _on(QUORUM), _whole(-1), 'leave it out or use type = "quorum"', values_since={-1: (4, 0)}
    ),
    "x-quorum-initial-group-size": Argument(_on(QUORUM), _whole(1), 'leave it out or use type = "quorum"'),
    "x-queue-leader-locator": Argument(
        {QUORUM: ALWAYS, STREAM: ALWAYS, CLASSIC: Span((4, 0))},
        _one_of(*_LOCATORS),
        values_since={"min-masters": (4, 0)},
    ),
    "x-max-age": Argument(_on(STREAM), _age, "use message_ttl_s"),
    "x-stream-max-segment-size-bytes": Argument(_on(STREAM), _whole(1, _MAX_SEGMENT_BYTES)),
    "x-stream-filter-size-bytes": Argument(_on(STREAM, since=(3, 13)), _whole(16, 255)),
    "x-initial-cluster-size": Argument(_on(STREAM), _whole(1), "use quorum_initial_group_size on a quorum queue"),
    # 3.12 and 3.13 honour it on both types, 4.3 on quorum queues only: it no longer evaluates classic queues at all.
    "x-consumer-timeout": Argument(
        {CLASSIC: Span((3, 12), (4, 3)), QUORUM: Span((3, 12))}, _whole(1), "the broker's own consumer_timeout holds"
    ),
    "x-consumer-disconnected-timeout": Argument(_on(QUORUM, since=(4, 3)), _whole(1)),
    # The broker takes any text for the type, and a wrong one silently means "disabled".
    "x-delayed-retry-type": Argument(
        _on(QUORUM, since=(4, 3)), _one_of("disabled", "all", "failed", "returned"), "retry through tasks instead"
    ),
    "x-delayed-retry-min": Argument(_on(QUORUM, since=(4, 3)), _whole(1), "retry through tasks instead"),
    "x-delayed-retry-max": Argument(_on(QUORUM, since=(4, 3)), _whole(1), "retry through tasks instead"),
    "x-queue-version": Argument(_on(CLASSIC), _one_of(1, 2), "leave it out", values_until={1: (4, 0)}),
    "x-queue-master-locator": Argument(
        _on(CLASSIC, until=(4, 0)), _one_of("client-local", "min-masters", "random"), "use queue_leader_locator"
    ),
    # Lazy mode means nothing since 3.12, and a 4.3 broker may refuse the argument, whatever its value.
    "x-queue-mode": Argument(_NEVER, _text, "leave it out: every queue is lazy since 3.12"),
    "x-max-in-memory-length": Argument(_NEVER, _whole(0), "leave it out: it has had no effect since 3.10"),
    "x-max-in-memory-bytes": Argument(_NEVER, _whole(0), "leave it out: it has had no effect since 3.10"),
    "x-ha-policy": Argument(_NEVER, _text, 'leave it out; use type = "quorum" for a replicated queue'),
}

# Policy keys that mean the same as an argument carry its rules; `x-` is left off.
POLICY_KEYS_WITHOUT_ARGUMENT: Mapping[str, Mapping[str, Span]] = {
    "alternate-exchange": {},
    "target-group-size": _on(QUORUM, since=(3, 12)),
    "federation-upstream": _on(CLASSIC, QUORUM),
    "federation-upstream-set": _on(CLASSIC, QUORUM),
    "federation-upstream-pattern": _on(CLASSIC, QUORUM),
}
# What a queue says about itself once, when it is declared: no policy can.
NOT_IN_POLICIES = frozenset(
    {"x-queue-type", "x-max-priority", "x-single-active-consumer", "x-quorum-initial-group-size"}
)
# A policy that the broker refuses to store below this version (400).
POLICY_SINCE: Mapping[str, Version] = {"consumer-timeout": (3, 12)}


@dataclass(frozen=True, slots=True)
class ExchangeType:
    """One exchange type: when the broker has it, the plugin it needs, and arguments without which it cannot work."""

    span: Span = ALWAYS
    plugin: str | None = None
    needs: tuple[str, ...] = ()


EXCHANGE_TYPES: Mapping[str, ExchangeType] = {
    "direct": ExchangeType(),
    "topic": ExchangeType(),
    "fanout": ExchangeType(),
    "headers": ExchangeType(),
    "x-consistent-hash": ExchangeType(plugin="rabbitmq_consistent_hash_exchange"),
    # Its store is Mnesia, which 4.3 no longer has.
    "x-delayed-message": ExchangeType(
        Span(until=(4, 3)), plugin="rabbitmq_delayed_message_exchange", needs=("x-delayed-type",)
    ),
    "x-random": ExchangeType(plugin="rabbitmq_random_exchange"),
    "x-recent-history": ExchangeType(plugin="rabbitmq_recent_history_exchange"),
    "x-jms-topic": ExchangeType(plugin="rabbitmq_jms_topic_exchange"),
    "x-modulus-hash": ExchangeType(plugin="rabbitmq_sharding"),
    "x-local-random": ExchangeType(Span((4, 0))),
}

X_MATCH = ("all", "any", "all-with-x", "any-with-x")

# Queues that neither survive a restart nor belong to a connection: 4.3.0 refuses them, later patches of it may not.
TRANSIENT_NON_EXCLUSIVE = Span(until=(4, 3))
TRANSIENT_DEPRECATED: Version = (3, 13)
