"""From what the command line said to a loaded app, the node's plan and what executors run with. Template only."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amqtask.app import App, find_app
from amqtask.clock import SYSTEM
from amqtask.errors import SettingsError, nearest
from amqtask.execute.runner import Runner
from amqtask.pool.names import NodeName, expand, node_name, path_values
from amqtask.pool.plan import BrokerPlan, NodePlan, PoolPlan, PublishPlan
from amqtask.settings import Settings
from amqtask.settings import load as load_settings
from amqtask.topology.model import Topology
from amqtask.wire.serializers import accepted

if TYPE_CHECKING:
    from amqtask.settings.models import PoolSettings

KINDS = ("prefork",)


@dataclass(frozen=True, slots=True)
class Loaded:
    """An app that is imported, and what the node is told about it."""

    app: App
    plan: NodePlan

    def runner(self) -> Runner:
        """What one executor runs tasks with."""
        settings = self.app.settings
        return Runner(
            self.app.tasks,
            node=self.plan.name,
            queues=self.plan.queues,
            early=[pool.early_ack for pool in self.plan.pools for _ in pool.queues],
            now=SYSTEM.now,
            max_body_bytes=settings.publish.max_body_bytes,
            accept=accepted(settings.tasks.accept_content),
            close=self.app.close,
        )


def load(request: Mapping[str, Any], announce: Callable[[dict[str, float]], None]) -> Loaded:
    """Import the app that `request` names and decide the plan.

    Raises SettingsError, TopologyError or TaskError for what is wrong in the configuration, and whatever the app's own
    import raises. `announce` is told the limits of a boot before anything of the user's is imported.
    """
    # The app may declare more in Python: names across settings are checked when all of them are there.
    early = load_settings(config_file=request["config"], overrides=request["overrides"], complete=False)
    announce(
        {
            "boot_timeout_s": early.worker.boot_timeout_s,
            "backoff_max_s": early.worker.restart_backoff_max_s,
        }
    )
    app = find_app(request["app"] or early.app, config_file=request["config"], overrides=request["overrides"])
    app.load()
    settings = app.settings
    topology = app.topology.with_queues(settings.worker.queues or ())
    pools = _pools(settings, topology, kind=request["kind"])
    name = node_name(settings.worker.name, host=socket.gethostname())
    plan = NodePlan(
        name=str(name),
        broker=BrokerPlan(
            url=settings.broker.url,
            heartbeat_s=settings.broker.heartbeat_s,
            connect_timeout_s=settings.broker.connect_timeout_s,
            reconnect_max_s=settings.broker.reconnect_max_s,
        ),
        publish=PublishPlan(deadline_s=settings.publish.deadline_s, max_body_bytes=settings.publish.max_body_bytes),
        topology_mode=settings.topology.mode,
        topology=topology,
        pools=pools,
        tasks=tuple(sorted(app.tasks)),
        drain_s=settings.worker.drain_s,
        max_crashes=settings.worker.max_crashes,
        restart_backoff_max_s=settings.worker.restart_backoff_max_s,
        log_level=settings.log.level,
        log_format=settings.log.format,
        log_file=_path(settings.log.file, name, where="log.file"),
        pidfile=_path(settings.worker.pidfile, name, where="worker.pidfile"),
        notes=tuple(settings.notes),
    )
    return Loaded(app, plan)


def _pools(settings: Settings, topology: Topology, *, kind: str | None) -> tuple[PoolPlan, ...]:
    """The pools of the node: one without a name for `-Q`, else those of the settings, else one for every queue."""
    if kind is not None and kind not in KINDS:
        near = nearest(kind, KINDS)
        raise SettingsError(
            f"{kind!r} is not a kind of pool in this version{f'; did you mean {near!r}?' if near else ''}"
            f" (there is: {', '.join(KINDS)})",
            where="-P",
        )
    worker = settings.worker
    for name in worker.queues or ():
        topology.require(name)
    if settings.pools and worker.queues is None:
        if worker.concurrency is not None and len(settings.pools) > 1:
            raise SettingsError(
                f"the configuration has {len(settings.pools)} pools; set pools.NAME.concurrency instead", where="-c"
            )
        return tuple(
            _pool(name, pool, settings, concurrency=worker.concurrency) for name, pool in settings.pools.items()
        )
    queues = tuple(worker.queues or _consumable(topology))
    concurrency = worker.concurrency or len(os.sched_getaffinity(0))
    return (
        PoolPlan(
            name="default",
            queues=queues,
            kind=kind or KINDS[0],
            concurrency=concurrency,
            early_ack=settings.tasks.ack == "early",
            prefetch=None,
            max_buffer_bytes=32 * 1024 * 1024,
        ),
    )


def _pool(name: str, pool: PoolSettings, settings: Settings, *, concurrency: int | None) -> PoolPlan:
    return PoolPlan(
        name=name,
        queues=tuple(pool.queues),
        kind=pool.kind,
        concurrency=concurrency or pool.concurrency,
        early_ack=(pool.ack or settings.tasks.ack) == "early",
        prefetch=None if pool.prefetch == "adaptive" else pool.prefetch,
        max_buffer_bytes=pool.max_buffer_bytes,
    )


def _consumable(topology: Topology) -> list[str]:
    """Every queue but dead-letter queues."""
    dead = set(topology.dead_letters.values())
    return [name for name in topology.queues if name not in dead]


def _path(pattern: str | None, name: NodeName, *, where: str) -> str | None:
    return None if pattern is None else expand(pattern, path_values(name), where=where)
