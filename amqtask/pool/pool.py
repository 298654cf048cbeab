"""A pool on the node's side: what waits here, which executor gets it, and what happens when one dies. Loop-confined.

Deliveries come in by `offer`, wait in `buffer`, and go to executors: one each to idle ones first, then ahead of a free
slot as far as the pool's tasks have lasted so little that nobody waits for it. What an executor holds untaken is taken
back as soon as it is late.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import structlog

from amqtask.clock import Clock
from amqtask.consume.credit import CreditPolicy
from amqtask.consume.delivery import Delivery
from amqtask.execute.outcome import Outcome
from amqtask.pool import link, process
from amqtask.pool.handle import ExecutorHandle, ShortOfResources
from amqtask.pool.plan import PoolPlan

log = structlog.get_logger("amqtask.pool")

STEADY_S = 60.0  # a process that lived so long did not die of its start
LATE_S = 0.05  # an executor that holds untaken tasks and has not answered for so long gives them back
HELLO_S = 30.0  # a new process that has not said hello for so long is replaced: it takes milliseconds
COMPLAIN_S = 10.0  # between two log lines about the same lack
STUCK_S = 10.0  # a process that has not taken anything for so long, though it was handed something, is replaced
HOLD_S = 0.1  # a pool whose executors have all been silent for so long gives back what waits here
BOOT_S = 1.0  # the same for executors that are being made, or that were stopped
_SMOOTHING = 0.1


class Forks(Protocol):
    """Where new executors come from."""

    def ask(self, executor: ExecutorHandle, owner: Pool) -> None:
        """Have a process made that serves `executor`; it reports itself by a hello packet, a failure by `lost`."""


class Watches(Protocol):
    """The part of the loop that a pool needs."""

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        """Call back whenever `fd` can be read."""

    def remove_reader(self, fd: int) -> None:
        """Stop that."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> object:
        """Call back once, later."""


class Settles(Protocol):
    """What the node does with the end of a delivery."""

    def done(self, delivery: Delivery) -> None:
        """It succeeded and has nothing to publish."""

    def ended(self, delivery: Delivery, outcome: Outcome) -> None:
        """It ended in any other way."""

    def crashed(self, delivery: Delivery, how: str) -> bool:
        """Its executor died under it. True: it was settled; False: run it again."""

    def started(self, delivery: Delivery) -> None:
        """It has started, and is to be acknowledged now: early."""


class Pool:
    """The executors that serve a set of queues, and what waits for them."""

    def __init__(
        self, plan: PoolPlan, *, loop: Watches, forks: Forks, settles: Settles, clock: Clock, backoff_max_s: float
    ) -> None:
        self.plan = plan
        self.credit = CreditPolicy(slots=plan.concurrency, max_bytes=plan.max_buffer_bytes, fixed=plan.prefetch)
        self.buffer: deque[Delivery] = deque()
        self.executors: list[ExecutorHandle] = []
        self.runtime_s: float | None = None
        self.message_bytes = 0.0
        self.last_progress = clock.monotonic()
        self.ended = 0
        self.known = False  # whether its first run times have been used
        self._loop = loop
        self._forks = forks
        self._settles = settles
        self._clock = clock
        self._backoff_max_s = backoff_max_s
        self._failed_boots = 0
        self._handover = 0
        self._complained_at = float("-inf")
        self._open = False

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Ask for all executors. They take work as each reports itself."""
        self._open = True
        for _ in range(self.plan.concurrency):
            self._fork()

    def stop(self) -> None:
        """Let the executors end after what they have taken; none is replaced any more."""
        self._open = False
        for executor in self.executors:
            executor.retire()

    def kill(self) -> list[Delivery]:
        """End every executor now. Returns what was running, for the caller to give back."""
        self._open = False
        cut: list[Delivery] = []
        for executor in list(self.executors):
            self._read(executor)
            cut += executor.take_back()
            cut += executor.outstanding.values()
            executor.outstanding.clear()
            if executor.pid is not None:
                process.kill(executor.pid)
        return cut

    def abandon(self) -> None:
        """End what is left of the executors, with what their tasks have started. For the node's own end."""
        for executor in self.executors:
            if executor.pid is not None:
                process.kill(executor.pid)
                process.kill_session(executor.pid)

    @property
    def alive(self) -> bool:
        """Whether a process of it may still run."""
        return any(executor.pid is not None for executor in self.executors)

    @property
    def ready(self) -> bool:
        """Whether every executor of the plan is up."""
        return sum(executor.ready for executor in self.executors) >= self.plan.concurrency

    @property
    def running(self) -> int:
        """Deliveries that executors hold, taken or not."""
        return sum(len(executor.outstanding) for executor in self.executors)

    # -- work ------------------------------------------------------------------------------------------------------

    def offer(self, delivery: Delivery) -> None:
        """A delivery arrived. It waits until `dispatch`, which the node calls once per turn of its loop."""
        self.message_bytes += _SMOOTHING * (len(delivery.body) + len(delivery.properties) - self.message_bytes)
        if not self.buffer and not self.running:
            self.last_progress = self._clock.monotonic()  # what was idle is not stuck
        self.buffer.append(delivery)

    def dispatch(self) -> None:
        """Hand over what waits: to idle executors first, then ahead of their free slot."""
        if not self.buffer or not self.executors:
            return
        try:
            self._dispatch()
        except ShortOfResources as error:
            # It waits here until the next turn: what is under way holds what is missing.
            now = self._clock.monotonic()
            if now - self._complained_at >= COMPLAIN_S:
                self._complained_at = now
                log.error("pool.short_of_resources", pool=self.plan.name, error=str(error), waiting=len(self.buffer))

    def _dispatch(self) -> None:
        buffer = self.buffer
        for executor in self.executors:
            if executor.ready and not executor.outstanding and not executor.retiring:
                if not self._give(executor):
                    continue
                if not buffer:
                    return
        window = self.credit.handover(self.runtime_s)
        if window == 1:
            return
        # An equal share each: what one has too much of, another waits for.
        window = min(window, -(-(len(buffer) + self.running) // len(self.executors)))
        for executor in self.executors:
            if not executor.ready or executor.retiring:
                continue
            while len(executor.outstanding) < window:
                if not self._give(executor):
                    break
                if not buffer:
                    return

    def _give(self, executor: ExecutorHandle) -> bool:
        delivery = self.buffer[0]
        self._handover = handover = (self._handover + 1) & 0xFFFFFFFF
        source = delivery.source
        if not executor.hand_over(handover, source.index, delivery):
            return False
        source.served = handover
        if len(executor.outstanding) == 1:
            executor.last_answer = self._clock.monotonic()
            executor.probed = False
        self.buffer.popleft()
        return True

    def take_back(self) -> list[Delivery]:
        """Everything that no executor has taken, oldest first; it leaves the pool."""
        untaken: list[Delivery] = []
        for executor in self.executors:
            untaken += executor.take_back()
        untaken = [*_in_order(untaken), *self.buffer]
        self.buffer.clear()
        return untaken

    def tick(self) -> None:
        """Take back what waits behind a task that turns out long, or in a stopped process; every 50 ms or so."""
        now = self._clock.monotonic()
        untaken: list[Delivery] = []
        for executor in self.executors:
            if executor.stopped_at is not None:
                if now - executor.stopped_at > STUCK_S and executor.pid is not None:
                    log.error("executor.stuck", pool=self.plan.name, pid=executor.pid, stuck_s=STUCK_S)
                    process.kill(executor.pid)
                    executor.stopped_at = now
                continue
            silent_s = now - executor.last_answer
            if not executor.ready and executor.pid is not None and silent_s > HELLO_S:
                log.error("executor.mute", pool=self.plan.name, pid=executor.pid, for_s=HELLO_S)
                process.kill(executor.pid)
                executor.last_answer = now
                continue
            if not executor.outstanding or silent_s <= LATE_S:
                continue
            self._learn(silent_s)
            if len(executor.outstanding) > 1 or not executor.probed:
                executor.probed = True
                untaken += self._relieve(executor, now)
        self.buffer.extendleft(reversed(_in_order(untaken)))

    def _relieve(self, executor: ExecutorHandle, now: float) -> list[Delivery]:
        """Take back what it has not taken. If that is all of it, the process does not run: give it nothing more."""
        handed = len(executor.outstanding)
        untaken = executor.take_back()
        if len(untaken) == handed:
            executor.ready = False
            executor.stopped_at = now
            executor.probe()
        return untaken

    def stalled(self, for_s: float) -> bool:
        """Whether work waits, something could run it, and nothing has moved for `for_s` seconds."""
        if not self.buffer or self._clock.monotonic() - self.last_progress <= for_s:
            return False
        return len(self.executors) < self.plan.concurrency or not all(one.outstanding for one in self.executors)

    @property
    def full(self) -> bool:
        """Whether nothing of what waits here will start soon: every executor has been at one task for a while, or is
        not there."""
        now = self._clock.monotonic()
        return bool(self.buffer) and all(
            (bool(one.outstanding) and now - one.last_answer > HOLD_S)
            or (not one.ready and now - one.last_answer > BOOT_S)
            for one in self.executors
        )

    @property
    def idle_slots(self) -> int:
        """Executors that could take a task now."""
        return sum(1 for one in self.executors if one.ready and not one.outstanding and not one.retiring)

    # -- answers ---------------------------------------------------------------------------------------------------

    def _readable(self, executor: ExecutorHandle) -> None:
        if self._read(executor):
            self.last_progress = executor.last_answer = self._clock.monotonic()
            executor.probed = False

    def _read(self, executor: ExecutorHandle) -> int:
        try:
            return executor.answers(self._on_done, self._on_outcome, self._on_hello, self._settles.started)
        except link.Garbled as error:
            # What it was at is unknown from here on: it ends, as if it had crashed.
            log.error("executor.garbled", pool=self.plan.name, pid=executor.pid, error=str(error))
            executor.ready = False
            self._loop.remove_reader(executor.fileno())
            if executor.pid is not None:
                process.kill(executor.pid)
            return 0

    def _on_done(self, executor: ExecutorHandle, delivery: Delivery, runtime_us: int) -> None:
        executor.done += 1
        self.ended += 1
        self._learn(runtime_us / 1e6)
        self._settles.done(delivery)

    def _on_outcome(self, executor: ExecutorHandle, delivery: Delivery, runtime_us: int, outcome: Outcome) -> None:
        executor.done += 1
        self.ended += 1
        self._learn(runtime_us / 1e6)
        self._settles.ended(delivery, outcome)

    def _on_hello(self, executor: ExecutorHandle, version: int, pid: int) -> None:
        executor.pid = pid
        if version != link.VERSION:
            log.error("executor.refused", pool=self.plan.name, pid=pid, version=version, expected=link.VERSION)
            process.kill(pid)
            return
        executor.ready = True
        executor.stopped_at = None
        executor.last_answer = self.last_progress = self._clock.monotonic()

    def _learn(self, runtime_s: float) -> None:
        # Up at once, down slowly: holding back a short task costs a round trip, holding on to one behind a long task
        # costs the long task.
        known = self.runtime_s
        if known is None or runtime_s > 4 * known + LATE_S / 2:
            self.runtime_s = runtime_s
        else:
            self.runtime_s = known + _SMOOTHING * (runtime_s - known)

    # -- deaths ----------------------------------------------------------------------------------------------------

    def forked(self, executor: ExecutorHandle, pid: int) -> None:
        """The template made the process."""
        executor.pid = pid
        if not executor.ready:
            executor.last_answer = self._clock.monotonic()

    def reaped(self, pid: int, status: int) -> bool:
        """A child ended. False when it was none of this pool's."""
        for executor in self.executors:
            if executor.pid == pid:
                self._bury(executor, process.how_it_ended(status))
                return True
        return False

    def lost(self, executor: ExecutorHandle, why: str) -> None:
        """The process could not be made."""
        self._bury(executor, why)

    def _bury(self, executor: ExecutorHandle, how: str) -> None:
        self._read(executor)
        untaken = executor.take_back()
        taken = list(executor.outstanding.values())
        executor.outstanding.clear()
        self._loop.remove_reader(executor.fileno())
        self.executors.remove(executor)
        executor.close()
        if executor.pid is not None:
            process.kill_session(executor.pid)
        self.buffer.extendleft(reversed(untaken))
        again = [delivery for delivery in reversed(taken) if not self._crashed(delivery, how)]
        self.buffer.extendleft(again)
        if not self._open:
            return
        if not executor.retiring:
            log.warning(
                "executor.died", pool=self.plan.name, pid=executor.pid, how=how, ran=executor.done, running=len(taken)
            )
        lived_s = 0.0 if executor.pid is None else self._clock.monotonic() - executor.started_at
        if taken or executor.done or executor.retiring or lived_s > STEADY_S:
            self._failed_boots = 0
            self._fork()
        else:
            self._fork_later()

    def _crashed(self, delivery: Delivery, how: str) -> bool:
        self.last_progress = self._clock.monotonic()
        return self._settles.crashed(delivery, how)

    def _fork_later(self) -> None:
        # It died without having run anything: most likely the next one will, too.
        delay_s = min(self._backoff_max_s, 0.1 * 2 ** min(self._failed_boots, 16))
        self._failed_boots += 1
        log.warning("executor.restart_delayed", pool=self.plan.name, delay_s=delay_s, failed=self._failed_boots)
        self._loop.call_later(delay_s, self._fork_now)

    def _fork_now(self) -> None:
        if self._open:
            self._fork()

    def _fork(self) -> None:
        try:
            executor = ExecutorHandle(self._clock.monotonic())
        except OSError as error:  # too many open files
            log.error("executor.not_made", pool=self.plan.name, error=error.strerror)
            self._fork_later()
            return
        self.executors.append(executor)
        self._loop.add_reader(executor.fileno(), lambda: self._readable(executor))
        self._forks.ask(executor, self)


def _in_order(deliveries: list[Delivery]) -> list[Delivery]:
    """As they were handed over, whoever had them."""
    return sorted(deliveries, key=lambda delivery: delivery.handover)
