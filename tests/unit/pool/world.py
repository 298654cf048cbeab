"""What surrounds a pool, played by the test: loop, template, settler, executors, and a clock that is set by hand."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, cast

from amqtask.clock import Clock
from amqtask.consume.delivery import Delivery
from amqtask.execute.outcome import Outcome
from amqtask.pool import link
from amqtask.pool.handle import ExecutorHandle
from amqtask.pool.plan import PoolPlan
from amqtask.pool.pool import Pool


class World:
    """A loop, a template and a settler that only write down what they are told, and a clock that is set by hand."""

    def __init__(self, concurrency: int = 2) -> None:
        self.now = 100.0
        self.readers: dict[int, Callable[[], None]] = {}
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.asked: list[ExecutorHandle] = []
        self.done_: list[Delivery] = []
        self.ended_: list[tuple[Delivery, Outcome]] = []
        self.crashes: list[tuple[Delivery, str]] = []
        self.started_: list[Delivery] = []
        self.settle_crashes = False
        self.killed: list[int] = []
        plan = PoolPlan("p", ("q",), "prefork", concurrency, False, None, 1 << 20)
        self.pool = Pool(
            plan, loop=self, forks=self, settles=self, clock=Clock(monotonic=lambda: self.now), backoff_max_s=30.0
        )
        self.pool.start()
        for number, executor in enumerate(list(self.asked)):
            self.pool.forked(executor, 10_000_000 + number)
            self.say(executor, link.pack_hello(10_000_000 + number))

    # what the pool asks of the loop, the template and the settler
    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        self.readers[fd] = callback

    def remove_reader(self, fd: int) -> None:
        self.readers.pop(fd, None)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self.timers.append((delay_s, callback))

    def ask(self, executor: ExecutorHandle, _owner: object) -> None:
        self.asked.append(executor)

    def done(self, delivery: Delivery) -> None:
        self.done_.append(delivery)

    def ended(self, delivery: Delivery, outcome: Outcome) -> None:
        self.ended_.append((delivery, outcome))

    def crashed(self, delivery: Delivery, how: str) -> bool:
        self.crashes.append((delivery, how))
        return self.settle_crashes

    def started(self, delivery: Delivery) -> None:
        self.started_.append(delivery)

    # what the test does
    def offer(self, count: int) -> list[Delivery]:
        new = [delivery(str(n).encode()) for n in range(count)]
        for one in new:
            self.pool.offer(one)
        self.pool.dispatch()
        return new

    def say(self, executor: ExecutorHandle, packet: bytes) -> None:
        executor.far.send(packet)
        self.readers[executor.fileno()]()

    def take(self, executor: ExecutorHandle) -> int:
        packet, _ = link.receive(executor.far, socket.MSG_DONTWAIT)
        return link.handover_of(packet)

    def finish(self, executor: ExecutorHandle, runtime_s: float) -> None:
        self.now += runtime_s
        self.say(executor, link.pack_done(self.take(executor), int(runtime_s * 1e6)))
        self.pool.dispatch()


class _Source:
    queue = "q"
    index = 0


def delivery(body: bytes = b"") -> Delivery:
    return Delivery(cast("Any", _Source()), 1, 1, False, b"\x00\x01q", b"\x00\x00", body)
