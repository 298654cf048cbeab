"""Settings: one tree of values, read from several sources, each value knowing where it came from."""

from amqtask.settings.conf import Conf
from amqtask.settings.declared import (
    ExchangeBinding,
    ExchangeSettings,
    QueueBinding,
    QueueSettings,
    RouteCallable,
    RouteRule,
    RouteSettings,
)
from amqtask.settings.loader import load
from amqtask.settings.models import (
    BrokerSettings,
    LogSettings,
    PoolSettings,
    PublishSettings,
    RetryPolicySettings,
    Settings,
    TasksSettings,
    TopologySettings,
    WorkerSettings,
)

__all__ = [
    "BrokerSettings",
    "Conf",
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
    "load",
]
