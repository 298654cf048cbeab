"""What a configuration declares on the broker: exchanges, queues, their bindings, and the rules that route tasks.

These are settings: plain values as a person writes them. Checking them against a broker version, and turning typed
fields into `x-` arguments, is the topology's work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

from amqtask.settings.types import (
    Name,
    NameOrEmpty,
    OptionalName,
    OptionalNameOrEmpty,
    OptionalPositive,
    OptionalPositiveSeconds,
    OptionalPriority,
    OptionalSeconds,
    TaskRule,
    name_fault,
)

RouteCallable: TypeAlias = Callable[..., object]


class Section(BaseModel):
    """One table of the configuration: immutable, and without keys that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _declared_name(name: str) -> str:
    fault = name_fault(name)
    if not name:
        fault = "a name must not be empty"
    if fault:
        raise ValueError(fault)
    return name


DeclaredName: TypeAlias = Annotated[str, AfterValidator(_declared_name)]
Arguments: TypeAlias = dict[str, object]


class ExchangeBinding(Section):
    """A binding that feeds an exchange from another exchange."""

    source: Name
    """The exchange that messages come from."""
    routing_key: NameOrEmpty = ""
    """The key, or the pattern for a topic exchange, that a message must carry."""
    arguments: Arguments = Field(default_factory=dict)
    """Arguments of the binding: what a headers exchange matches on, and `x-match`."""


class QueueBinding(Section):
    """A binding that feeds a queue from an exchange."""

    exchange: Name
    """The exchange that messages come from."""
    routing_key: NameOrEmpty = ""
    """The key, or the pattern for a topic exchange, that a message must carry."""
    arguments: Arguments = Field(default_factory=dict)
    """Arguments of the binding: what a headers exchange matches on, and `x-match`."""


class ExchangeSettings(Section):
    """One exchange."""

    type: Name = "direct"
    """`direct`, `topic`, `fanout`, `headers`, or a type that a broker plugin brings, as `x-consistent-hash`."""
    durable: bool = True
    """Survives a restart of the broker."""
    auto_delete: bool = False
    """Deleted by the broker when the last binding from it goes."""
    internal: bool = False
    """Programs cannot publish to it; only other exchanges feed it."""
    alternate_exchange: OptionalName = None
    """Takes what no binding of this exchange matches."""
    arguments: Arguments = Field(default_factory=dict)
    """Further `x-` arguments, passed on as they are."""
    bindings: tuple[ExchangeBinding, ...] = ()
    """Exchanges that feed this one."""


class QueueSettings(Section):
    """One queue."""

    type: Literal["classic", "quorum", "stream"] = "classic"
    """Which of the broker's queue types it is."""
    durable: bool = True
    """Survives a restart of the broker."""
    exclusive: bool = False
    """Belongs to one connection and goes with it."""
    auto_delete: bool = False
    """Deleted by the broker when its last consumer goes."""
    exchange: OptionalNameOrEmpty = None
    """Shorthand for one binding: the exchange that feeds it. Unset: none; its name reaches it all the same."""
    routing_key: OptionalNameOrEmpty = None
    """Shorthand for one binding: its key. Unset: the queue's name."""
    bindings: tuple[QueueBinding, ...] = ()
    """Exchanges that feed it, each with a key."""
    dead_letter: bool = True
    """Whether it has a dead-letter queue, `NAME.dlq`. Streams and exclusive queues never have one."""
    policy: Arguments = Field(default_factory=dict)
    """Definition of the policy that `topology apply` sets for this queue."""
    priority: OptionalPriority = None
    """Priority of the messages that are sent to it, unless a rule or the call gives one."""
    message_ttl_s: OptionalSeconds = None
    """Seconds that a message may wait before it expires (`x-message-ttl`)."""
    expires_s: OptionalPositiveSeconds = None
    """Seconds unused after which the broker deletes the queue (`x-expires`)."""
    max_length: OptionalPositive = None
    """Messages it holds at most (`x-max-length`)."""
    max_length_bytes: OptionalPositive = None
    """Bytes of bodies it holds at most (`x-max-length-bytes`)."""
    overflow: Literal["drop-head", "reject-publish", "reject-publish-dlx"] | None = None
    """What a full queue does with one more message (`x-overflow`)."""
    dead_letter_exchange: OptionalNameOrEmpty = None
    """Where the broker itself sends what expires or overflows (`x-dead-letter-exchange`)."""
    dead_letter_routing_key: OptionalNameOrEmpty = None
    """The key that it does so with (`x-dead-letter-routing-key`)."""
    dead_letter_strategy: Literal["at-most-once", "at-least-once"] | None = None
    """How safely it does so; quorum queues only (`x-dead-letter-strategy`)."""
    max_priority: Annotated[int, Field(ge=1, le=255)] | None = None
    """Highest message priority; classic queues only (`x-max-priority`)."""
    single_active_consumer: bool | None = None
    """Only one consumer at a time gets messages (`x-single-active-consumer`)."""
    delivery_limit: Annotated[int, Field(ge=-1)] | None = None
    """Deliveries after which the broker gives a message up; quorum queues only (`x-delivery-limit`)."""
    quorum_initial_group_size: OptionalPositive = None
    """Members that a quorum queue starts with (`x-quorum-initial-group-size`)."""
    queue_leader_locator: Literal["client-local", "balanced", "least-leaders", "random", "min-masters"] | None = None
    """Where its leader starts (`x-queue-leader-locator`)."""
    max_age: Annotated[str, Field(pattern=r"^[1-9][0-9]*[YMDhms]$")] | None = None
    """How long a stream keeps messages, as `7D` (`x-max-age`)."""
    stream_max_segment_size_bytes: OptionalPositive = None
    """Size of a stream's files (`x-stream-max-segment-size-bytes`)."""
    initial_cluster_size: OptionalPositive = None
    """Members that a stream starts with (`x-initial-cluster-size`)."""
    consumer_timeout_s: OptionalPositiveSeconds = None
    """Seconds that a delivery may stay unacknowledged (`x-consumer-timeout`)."""
    arguments: Arguments = Field(default_factory=dict)
    """Further `x-` arguments, passed on as they are."""


class RouteSettings(Section):
    """One rule: which tasks go where. The first rule that fits a task decides."""

    task: TaskRule
    """A task's name, a glob (`images.*`), or a regular expression (`re:^images\\.`)."""
    queue: OptionalName = None
    """The queue to go to."""
    exchange: OptionalNameOrEmpty = None
    """The exchange to publish to, instead of a queue."""
    routing_key: OptionalNameOrEmpty = None
    """The key to publish with."""
    priority: OptionalPriority = None
    """The priority of the message."""


def _kind_of_rule(value: object) -> str:
    return "callable" if callable(value) else "table"


RouteRule: TypeAlias = Annotated[
    Annotated[RouteSettings, Tag("table")] | Annotated[RouteCallable, Tag("callable")],
    Discriminator(_kind_of_rule),
]
