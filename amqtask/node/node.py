"""A node at work: its loop, its two connections, its pools, from the first declaration to the last acknowledgement.

All of it runs on one thread. What one turn of the loop received is handed over, and what it settled is acknowledged, at
the end of that turn (`_turn`); a timer looks after what is late (`_tick`).
"""

from __future__ import annotations

import enum
import os
import signal
from collections.abc import Callable, Mapping

import structlog

from amqtask.clock import Clock
from amqtask.consume.consumer import QueueConsumer
from amqtask.consume.credit import Steps
from amqtask.consume.delivery import Delivery
from amqtask.errors import AmqtaskError, BrokerError
from amqtask.node.links import Links
from amqtask.node.notify import Notifier
from amqtask.node.settler import Settler
from amqtask.node.signals import Signals
from amqtask.pool.forks import Template
from amqtask.pool.plan import NodePlan
from amqtask.pool.pool import Pool
from amqtask.transport.loop import Loop
from amqtask.transport.session import Session

log = structlog.get_logger("amqtask.node")

TICK_S = 0.05
FIRST_OUTCOMES = 16  # how many a pool needs before its run time is worth anything
ACK_DELAY_S = 0.005  # acknowledgements of short tasks wait so long for others, or for a gap before them to close
RECONSUME_S = 2.0  # before a queue whose consumer the broker took away is tried again
MEND_S = 1.0  # before a dead-letter queue that is gone is declared again: its letters are tried again after 2 s
EXIT_WAIT_S = 5.0  # for executors to end by themselves once everything is settled


class State(enum.Enum):
    """What the node is doing."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    CLOSING = "closing"


class Node:
    """Runs one plan until it is told to stop."""

    def __init__(
        self,
        plan: NodePlan,
        template: Template,
        *,
        notifier: Notifier,
        clock: Clock,
        reopen_log: Callable[[], None],
    ) -> None:
        self.plan = plan
        self.state = State.STARTING
        self._clock = clock
        self._notifier = notifier
        self._template = template
        self._reopen_log = reopen_log
        self._loop = Loop()
        self._links = Links(self._loop, plan, clock=clock, on_session=self._connected, on_down=self._disconnected)
        self._settler = Settler(
            node=plan.name,
            loop=self._loop,
            publish=self._links.publish,
            dead_letters=plan.topology.dead_letters,
            max_crashes=plan.max_crashes,
            clock=clock,
            on_missing=lambda: self._mend_in(MEND_S),
        )
        self._pools: list[Pool] = []
        self._consumers: list[QueueConsumer] = []
        self._pool_of: dict[int, Pool] = {}
        self._held: set[str] = set()  # pools that have given back what they could not start, and wait for a free slot
        self._mending = False
        self._flushing = False  # whether acknowledgements that fill no batch will be written shortly
        self._unwell = False  # whether the status says that something is not consumed
        self._draining_since = 0.0
        self._cut_at: float | None = None
        for pool_plan in plan.pools:
            self._add_pool(pool_plan.name)
        self._signals = Signals(
            {
                signal.SIGTERM: self.stop,
                signal.SIGINT: self._interrupted,
                signal.SIGQUIT: self.stop_now,
                signal.SIGHUP: self._hung_up,
                signal.SIGCHLD: self._reap,
            }
        )

    def _add_pool(self, name: str) -> None:
        plan = next(pool for pool in self.plan.pools if pool.name == name)
        pool = Pool(
            plan,
            loop=self._loop,
            forks=self._template,
            settles=self._settler,
            clock=self._clock,
            backoff_max_s=self.plan.restart_backoff_max_s,
        )
        self._pools.append(pool)
        for queue in plan.queues:
            consumer = QueueConsumer(
                queue,
                len(self._consumers),
                taker=self,
                prefetch=self._prefetch_of(pool, len(self._consumers)),
                steps=Steps(plan.concurrency),
                steady=bool(self._arguments_of(queue).get("x-single-active-consumer")),
                clock=self._clock,
                on_up=self._consuming,
                on_down=self._consumer_lost,
            )
            self._pool_of[consumer.index] = pool
            self._consumers.append(consumer)

    def _arguments_of(self, queue: str) -> Mapping[str, object]:
        declared = self.plan.topology.queues.get(queue)
        return {} if declared is None else declared.arguments

    # -- life ------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until stopped. Raises what a bug of ours raised: half a state is worse than a new start."""
        self._signals.start()
        self._loop.add_reader(self._signals.fileno(), self._signals.readable)
        self._template.attach(self._loop)
        self._loop.after_iteration(self._turn)
        self._loop.call_later(TICK_S, self._tick)
        if self._notifier.watchdog_s:
            self._loop.call_later(0, self._watchdog)
        for pool in self._pools:
            pool.start()
        self._links.start()
        try:
            self._loop.run()
        finally:
            self._signals.stop()
            self._template.close()
            for pool in self._pools:
                pool.abandon()
            self._loop.close()

    def stop(self) -> None:
        """Stop consuming, give back what has not started, let what runs finish in the drain time; asked again: cut."""
        if self.state in (State.DRAINING, State.CLOSING):
            self.stop_now()
            return
        self.state = State.DRAINING
        running = sum(pool.running for pool in self._pools)
        log.info("node.draining", running=running, drain_s=self.plan.drain_s)
        self._notifier.stopping(f"draining, {running} running")
        for consumer in self._consumers:
            consumer.stop()
        for pool in self._pools:
            for delivery in pool.take_back():
                delivery.source.give_back(delivery)
            pool.stop()
        self._draining_since = self._clock.monotonic()
        self._cut_at = self._draining_since + self.plan.drain_s
        self._watch_drain()

    def stop_now(self) -> None:
        """Stop, and give back what runs without waiting for it."""
        if self.state is not State.DRAINING:
            if self.state is State.CLOSING:
                return
            self.stop()
        self._cut_at = self._clock.monotonic()

    def _interrupted(self) -> None:
        log.info("node.interrupted", hint="once more to give back running tasks at once")
        self.stop()

    def _hung_up(self) -> None:
        if self.plan.log_file is not None:
            self._reopen_log()
            log.info("log.reopened", file=self.plan.log_file)
        else:
            log.info("node.hung_up", hint="its terminal is gone; with a log file it would go on")
            self.stop()

    def _watch_drain(self) -> None:
        if self.state is not State.DRAINING:
            return
        busy = bool(self._settler.pending) or any(pool.running for pool in self._pools)
        if busy and self._cut_at is not None and self._clock.monotonic() >= self._cut_at:
            self._cut()
            busy = False
        if not busy:
            self._close()
            return
        self._notifier.extend(5.0)
        self._loop.call_later(TICK_S, self._watch_drain)

    def _cut(self) -> None:
        after_s = round(self._clock.monotonic() - self._draining_since, 1)
        cut = [delivery for pool in self._pools for delivery in pool.kill()]
        for delivery in cut:
            delivery.source.give_back(delivery)
        if cut:
            log.warning("node.cut_running_tasks", requeued=len(cut), after_s=after_s)
        unburied = self._settler.give_up()
        if unburied:
            log.warning("node.gave_up_dead_letters", requeued=unburied, after_s=after_s)

    def _close(self) -> None:
        self.state = State.CLOSING
        for consumer in self._consumers:
            consumer.flush()
        log.info("node.stopped", succeeded=self._settler.succeeded, failed=self._settler.failed)
        # connection.close comes after the acks on the wire, so the broker has taken them when it answers.
        self._links.stop(self._closed)

    def _closed(self) -> None:
        self._await_exits(self._clock.monotonic() + EXIT_WAIT_S)

    def _await_exits(self, until: float) -> None:
        if any(pool.alive for pool in self._pools) and self._clock.monotonic() < until:
            self._loop.call_later(TICK_S, lambda: self._await_exits(until))
        else:
            self._loop.stop()

    # -- connection ------------------------------------------------------------------------------------------------

    def _connected(self, session: Session) -> None:
        """The topology is as it should be on this session, or as near as it gets: consume what is not yet."""
        if self.state in (State.DRAINING, State.CLOSING):
            return
        for consumer in self._consumers:
            consumer.open(session)

    def _disconnected(self, error: BrokerError) -> None:
        for consumer in self._consumers:
            consumer.forget()
        for pool in self._pools:
            self._forget_deliveries(pool, None)
        self._settler.lost(None)
        self._say_unwell(f"not connected: {error}")

    def _consumer_lost(self, consumer: QueueConsumer, error: AmqtaskError) -> None:
        log.error("consumer.lost", queue=consumer.queue, error=str(error), retry_in_s=RECONSUME_S)
        self._forget_deliveries(self._pool_of[consumer.index], consumer)
        self._settler.lost(consumer)
        self._say_unwell(f"not consuming {consumer.queue}")
        self._mend_in(RECONSUME_S)

    def _mend_in(self, seconds: float) -> None:
        """Declare again what may be gone, and consume what is not consumed; one time for all that is found missing."""
        if not self._mending:
            self._mending = True
            self._loop.call_later(seconds, self._mend)

    def _mend(self) -> None:
        self._mending = False
        if self.state is not State.CLOSING:
            self._links.declare_again()

    def _forget_deliveries(self, pool: Pool, lost: QueueConsumer | None) -> None:
        """The tags of `lost` (None: of all) are dead: what has not started is forgotten, what runs is orphaned."""
        keep = [delivery for delivery in pool.take_back() if lost is not None and delivery.source is not lost]
        pool.buffer.extend(keep)
        for executor in pool.executors:
            for delivery in executor.outstanding.values():
                if lost is None or delivery.source is lost:
                    self._settler.orphan(delivery)

    def _consuming(self, consumer: QueueConsumer) -> None:
        log.debug("consumer.up", queue=consumer.queue, prefetch=consumer.prefetch)
        self._note_ready()

    def _note_ready(self) -> None:
        if self.state is not State.STARTING and not (self.state is State.RUNNING and self._unwell):
            return
        if not all(consumer.consuming or consumer.paused for consumer in self._consumers):
            return
        slots = sum(pool.plan.concurrency for pool in self._pools)
        status = f"{len(self._consumers)} queues, {slots} slots"
        if self.state is State.RUNNING:
            self._unwell = False
            self._notifier.status(status)
        elif all(pool.ready for pool in self._pools):
            self.state = State.RUNNING
            self._unwell = False
            log.info("node.ready", queues=list(self.plan.queues), slots=slots, tasks=len(self.plan.tasks))
            self._notifier.ready(status)

    def _say_unwell(self, status: str) -> None:
        self._unwell = True
        if self.state in (State.STARTING, State.RUNNING):
            self._notifier.status(status)

    # -- work ------------------------------------------------------------------------------------------------------

    def delivered(self, delivery: Delivery) -> None:
        """A consumer received a delivery."""
        if not self._settler.adopts(delivery):
            self._pool_of[delivery.source.index].offer(delivery)

    def _turn(self) -> None:
        for pool in self._pools:
            if pool.buffer:
                pool.dispatch()
            if self._held and pool.plan.name in self._held and pool.idle_slots:
                self._release(pool)
            if not pool.known and pool.ended >= FIRST_OUTCOMES:
                # A queue of short tasks does not wait for the next tick to get more than one message per slot.
                pool.known = True
                for consumer in self._consumers:
                    consumer.adjust()
        left = False
        for consumer in self._consumers:
            left |= consumer.flush_batch()
        if left and not self._flushing:
            self._flushing = True
            self._loop.call_later(ACK_DELAY_S, self._flush)

    def _flush(self) -> None:
        self._flushing = False
        for consumer in self._consumers:
            consumer.flush()

    def _tick(self) -> None:
        if self.state in (State.STARTING, State.RUNNING):
            self._note_ready()
            for pool in self._pools:
                pool.tick()
                if pool.full and pool.plan.name not in self._held:
                    self._hold(pool)
            for consumer in self._consumers:
                consumer.adjust()
        self._loop.call_later(TICK_S, self._tick)

    def _prefetch_of(self, pool: Pool, index: int) -> Callable[[], int]:
        def prefetch() -> int:
            wanted = pool.credit.prefetch(pool.runtime_s, pool.message_bytes)
            if wanted > pool.plan.concurrency:
                return wanted
            # Exactly one message per free slot: what earlier consumers of this queue brought counts as well.
            return max(1, wanted - self._consumers[index].carried)

        return prefetch

    def _hold(self, pool: Pool) -> None:
        """Nothing of what waits in this pool will start soon: other nodes may have it, until a slot is free."""
        for consumer in self._consumers:
            if self._pool_of[consumer.index] is pool and not consumer.steady:
                consumer.pause()
        kept: list[Delivery] = []
        for delivery in pool.take_back():
            # A quorum queue counts each return, and drops the message at its limit (20 since RabbitMQ 4.0): once only.
            # And what has crashed stays, because its crashes are counted here.
            counted = delivery.redelivered and self._arguments_of(delivery.queue).get("x-queue-type") == "quorum"
            if counted or delivery.crashes or delivery.source.steady:
                kept.append(delivery)
            else:
                delivery.source.give_back(delivery)
        pool.buffer.extend(kept)
        self._held.add(pool.plan.name)

    def _release(self, pool: Pool) -> None:
        self._held.discard(pool.plan.name)
        # The queue that was served longest ago first: the one that is asked first mostly gets the slot.
        consumers = [consumer for consumer in self._consumers if self._pool_of[consumer.index] is pool]
        for consumer in sorted(consumers, key=lambda consumer: consumer.served):
            consumer.resume()

    # -- health ----------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if not self._template.reaped(pid, status) and not any(pool.reaped(pid, status) for pool in self._pools):
                self._template.unclaimed(pid, status)

    def _watchdog(self) -> None:
        period_s = self._notifier.watchdog_s or 1.0
        if not any(pool.stalled(period_s / 2) for pool in self._pools):
            self._notifier.alive()
        self._loop.call_later(period_s / 4, self._watchdog)
