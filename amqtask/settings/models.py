"""The tree of settings: every name, its type, its default and the sentence that documents it.

The reference page, the commented `config/amqtask.toml` and the checks are all made from these models, so a setting is
written down once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr

from amqtask.settings.declared import (
    DeclaredName,
    ExchangeBinding,
    ExchangeSettings,
    QueueBinding,
    QueueSettings,
    RouteCallable,
    RouteRule,
    RouteSettings,
    Section,
)
from amqtask.settings.types import (
    BrokerUrls,
    Compression,
    Count,
    Name,
    NameOrEmpty,
    Names,
    OptionalCount,
    OptionalNameOrEmpty,
    OptionalNames,
    OptionalPositive,
    OptionalPositiveSeconds,
    OptionalPriority,
    OptionalText,
    Positive,
    PositiveSeconds,
    Seconds,
    Serializer,
    Serializers,
    Text,
    Texts,
)

__all__ = [
    "BrokerSettings",
    "ExchangeBinding",
    "ExchangeSettings",
    "LogSettings",
    "PoolSettings",
    "PublishSettings",
    "QueueBinding",
    "QueueSettings",
    "RetryPolicySettings",
    "RouteCallable",
    "RouteRule",
    "RouteSettings",
    "Settings",
    "TasksSettings",
    "TopologySettings",
    "WorkerSettings",
]


def cpu_count() -> int:
    """How many CPUs this process may use: an affinity mask or a container's cpuset counts, not the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class BrokerSettings(Section):
    """The way to RabbitMQ."""

    url: BrokerUrls = "amqp://guest:guest@localhost:5672//"
    """Where RabbitMQ is. Several hosts of one cluster: a list, or one string with `;` between them."""
    heartbeat_s: Count = 10
    """Seconds between heartbeats; a broker silent for 5 s longer than that is lost. 0 leaves it to the broker."""
    connect_timeout_s: PositiveSeconds = 5.0
    """Seconds that one attempt to connect to one host may take."""
    reconnect_max_s: PositiveSeconds = 30.0
    """Longest wait between two attempts to connect; the waits grow up to it, with jitter."""
    management_url: OptionalText = None
    """The management API, as `http://localhost:15672`: for policies and for `topology plan`, `diff` and `export`."""
    version: Annotated[str, Field(pattern=r"^\d+\.\d+(\.\d+)?$")] | None = None
    """The RabbitMQ version to check the topology against without asking a broker, as `4.0`."""


class RetryPolicySettings(Section):
    """How a message is sent again after its connection was lost."""

    max_retries: OptionalCount = 3
    """Times it is sent again after the first; `none` means until the deadline."""
    interval_start_s: Seconds = 0.0
    """Seconds before the first further try."""
    interval_step_s: Seconds = 0.2
    """Seconds that each further wait is longer."""
    interval_max_s: Seconds = 0.2
    """Longest wait between two tries, in seconds."""


class PublishSettings(Section):
    """How messages are sent."""

    deadline_s: PositiveSeconds = 5.0
    """Seconds within which a publish is confirmed by the broker or raises a typed error."""
    max_body_bytes: Positive = 8 * 1024 * 1024
    """Largest body, in bytes, that is sent."""
    retry: bool = True
    """Whether a message whose connection was lost before the broker's answer is sent again, under the same id."""
    retry_policy: RetryPolicySettings = Field(default_factory=RetryPolicySettings)
    """How often, and with which pauses; all of it within the deadline."""


class TasksSettings(Section):
    """What holds for a task unless it says otherwise itself."""

    default_queue: Name = "celery"
    """The queue of a task that no rule routes."""
    default_exchange: NameOrEmpty = ""
    """The exchange that such a task is published to; empty is the broker's default exchange."""
    default_routing_key: OptionalNameOrEmpty = None
    """The key that such a task is published with. Unset: the default queue's name."""
    serializer: Serializer = "json"
    """How arguments are written."""
    accept_content: Serializers = ("json",)
    """Which serializations a worker reads; anything else is dead-lettered."""
    compression: Compression = None
    """How bodies are compressed: `gzip` or `bzip2`."""
    priority: OptionalPriority = None
    """The priority of messages. It counts in queues with `max_priority`, and in quorum queues since RabbitMQ 4."""
    ignore_result: bool = False
    """Whether results are dropped."""
    ack: Literal["late", "early"] = "late"
    """When a delivery is acknowledged: after the task ran (a crash runs it again) or before (a crash loses it)."""
    imports: Texts = ()
    """Modules that hold tasks, imported by a worker when it starts."""
    default_expires_s: OptionalPositiveSeconds = None
    """Seconds after which a task that has not started is not worth running."""


class TopologySettings(Section):
    """What is done about exchanges, queues and bindings."""

    mode: Literal["manage", "verify", "off"] = "manage"
    """`manage` declares what is missing, `verify` only checks that it is there, `off` does neither."""
    files: Texts = ()
    """Further TOML files with `exchanges`, `queues` and `routes`; globs are allowed."""


class PoolSettings(Section):
    """Queues, and the executors that serve them."""

    queues: Names
    """The queues that it consumes."""
    kind: Literal["prefork"] = "prefork"
    """How executors run tasks: `prefork` is one process for each task that runs at a time."""
    concurrency: Positive = Field(default_factory=cpu_count)
    """Tasks that run at a time. Unset: the number of CPUs that the process may use."""
    ack: Literal["late", "early"] | None = None
    """When a delivery is acknowledged. Unset: as `tasks.ack` says."""
    prefetch: Positive | Literal["adaptive"] = "adaptive"
    """Deliveries held at most, or `adaptive`: as many as run, plus milliseconds' worth of short tasks."""
    max_buffer_bytes: Positive = 32 * 1024 * 1024
    """Bytes of deliveries that wait in the node at most."""


class WorkerSettings(Section):
    """The node that runs tasks."""

    name: Text = "amqtask@%h"
    """Its name: `%h` is the host with its domain, `%n` the host, `%d` the domain. `NAME` alone is `NAME@%h`."""
    queues: OptionalNames = None
    """Queues of the one pool that `-Q` asks for. Unset: the pools, or else one pool for every queue."""
    concurrency: OptionalPositive = None
    """Concurrency of a node with one pool, as `-c` says. Unset: the pool's own, or else the number of CPUs."""
    drain_s: Seconds = 30.0
    """Seconds that running tasks get to finish after SIGTERM; then they go back to their queue."""
    max_crashes: Positive = 3
    """Crashes of its process after which a task is dead-lettered as `worker_lost`."""
    boot_timeout_s: PositiveSeconds = 120.0
    """Seconds that importing the app may take."""
    restart_backoff_max_s: PositiveSeconds = 30.0
    """Longest wait before a dead executor is replaced; the waits grow up to it."""
    pidfile: OptionalText = None
    """A file to write the process id to."""


class LogSettings(Section):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    """The least serious events that are logged."""
    format: Literal["auto", "console", "json"] = "auto"
    """`console` for people, `json` for machines; `auto` looks whether the log goes to a terminal."""
    file: OptionalText = None
    """A file to log to. Unset: standard error."""


class Settings(Section):
    """All settings. Made by `load`, which also knows where each value came from."""

    app: OptionalText = None
    """The app, as `-A` names it: module, `module:attribute` or `module.attribute`."""
    broker: BrokerSettings = Field(default_factory=BrokerSettings)
    publish: PublishSettings = Field(default_factory=PublishSettings)
    tasks: TasksSettings = Field(default_factory=TasksSettings)
    topology: TopologySettings = Field(default_factory=TopologySettings)
    exchanges: dict[DeclaredName, ExchangeSettings] = Field(default_factory=dict)
    queues: dict[DeclaredName, QueueSettings] = Field(default_factory=dict)
    routes: tuple[RouteRule, ...] = ()
    pools: dict[DeclaredName, PoolSettings] = Field(default_factory=dict)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    log: LogSettings = Field(default_factory=LogSettings)

    _origins: Mapping[str, str] = PrivateAttr(default_factory=dict)
    _notes: tuple[str, ...] = PrivateAttr(default=())

    @property
    def origins(self) -> Mapping[str, str]:
        """Where each value came from: dotted key to a source's name, `default` for what nobody set."""
        return MappingProxyType(dict(self._origins))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about what was read: Celery's names with ours, settings that change nothing."""
        return self._notes

    def located(self, origins: Mapping[str, str], notes: tuple[str, ...] = ()) -> Settings:
        """These settings, knowing where each value came from."""
        self._origins = dict(origins)
        self._notes = notes
        return self
