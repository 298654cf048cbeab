"""The Publisher: confirmed sends from a program, from any thread and on both sides of a fork.

It connects at the first send. One I/O thread per process owns the socket; callers only hand over what is already bytes.
A forked child starts a thread and a connection of its own at its first send; its parent's go on undisturbed.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from amqtask.clock import SYSTEM, Clock
from amqtask.errors import ConnectionLost, Fate, MessageTooLarge
from amqtask.publish.confirmation import Confirmation
from amqtask.publish.entry import Entry, RetryOptions, RetryPolicy
from amqtask.publish.pipeline import Pipeline
from amqtask.publish.sender import Sender
from amqtask.topology.declare import operations
from amqtask.transport.probe import QueueState
from amqtask.wire.message import Encoded

if TYPE_CHECKING:
    from amqtask.settings import Settings
    from amqtask.topology.model import Topology


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message and where it goes, for `publish_many`."""

    message: Encoded
    exchange: str
    routing_key: str


class Publisher:
    """Sends messages persistent, mandatory and confirmed, each inside one deadline.

    `topology` is what each new connection declares first, as `topology.mode` says. Thread-safe; `close()`, or the end
    of the program, sends what is under way first.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        topology: Topology | None = None,
        name: str = "amqtask publisher",
        clock: Clock = SYSTEM,
    ) -> None:
        self._settings = settings
        self._operations = () if topology is None else operations(topology)
        self._name = name
        self._clock = clock
        self._deadline_s = settings.publish.deadline_s
        self._max_body_bytes = settings.publish.max_body_bytes
        self._policy = RetryPolicy.of(settings.publish)
        self._retry = settings.publish.retry
        self._lock = threading.Lock()
        self._sender: Sender | None = None
        self._closed = False
        forked, ended = weakref.WeakMethod(self._after_fork), weakref.WeakMethod(self.close)
        if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork either
            os.register_at_fork(after_in_child=lambda: _call(forked))
        atexit.register(lambda: _call(ended))

    def publish(
        self,
        message: Encoded,
        *,
        exchange: str,
        routing_key: str,
        deadline_s: float | None = None,
        retry: bool | None = None,
        retry_policy: RetryOptions | None = None,
    ) -> Confirmation:
        """Send `message`; its outcome is in the Confirmation that comes back at once.

        `deadline_s` bounds connect, wait, write and confirm (default: `publish.deadline_s`). With `retry` False a lost
        or missing connection ends it at once.

        Raises:
            MessageTooLarge: the body is over `publish.max_body_bytes`.
            ConnectionLost: the publisher is closed.
        """
        confirmation, entry = self._make_entry(message, exchange, routing_key, deadline_s, retry, retry_policy)
        self._hand_over((entry,))
        return confirmation

    def publish_many(
        self,
        items: Iterable[Outgoing],
        *,
        deadline_s: float | None = None,
        retry: bool | None = None,
        retry_policy: RetryOptions | None = None,
    ) -> list[str]:
        """Send all of `items` with their confirms pipelined and wait for all outcomes; returns their ids, in order.

        The deadline holds for each message from the moment that it is taken from `items`, which happens as the broker
        keeps up; see `Pipeline`.

        Raises:
            BatchFailed: some were not accepted; `failures` maps the position of each to its error.
        """
        pipeline = self.pipeline()
        for item in items:
            pipeline.send(
                item.message,
                exchange=item.exchange,
                routing_key=item.routing_key,
                deadline_s=deadline_s,
                retry=retry,
                retry_policy=retry_policy,
            )
        return pipeline.finish()

    def pipeline(self) -> Pipeline:
        """Begin a bulk send from this thread."""
        return Pipeline(self._make_entry, self._hand_over)

    def probe(self, queue: str, *, timeout_s: float | None = None) -> QueueState:
        """What the broker says of a queue now: for callers who want to know that somebody consumes before they send.

        Raises:
            TopologyError: there is no such queue.
            AccessRefused: the broker lets only those look who may declare it (from RabbitMQ 4.2.6).
            ConnectionLost: no answer within `timeout_s` seconds (default: the deadline).
        """
        bound_s = self._deadline_s if timeout_s is None else timeout_s
        answer = self._running().probe(queue)
        try:
            return answer.result(bound_s)
        except TimeoutError:
            answer.cancel()
            raise ConnectionLost(f"no answer about queue {queue!r} within {bound_s:g} s") from None

    def blocked(self) -> str | None:
        """The broker's reason while it takes no publishes; None also when nothing was sent yet."""
        sender = self._sender
        return None if sender is None else sender.blocked()

    def close(self, timeout_s: float | None = None) -> None:
        """Send what is under way, for at most `timeout_s` seconds (default: the deadline), then close the connection.

        What is not confirmed by then ends with a typed error. Later sends raise ConnectionLost. Idempotent.
        """
        with self._lock:
            self._closed = True
            sender, self._sender = self._sender, None
        if sender is not None and sender.pid == os.getpid():
            sender.close(self._deadline_s if timeout_s is None else timeout_s)

    def _make_entry(
        self,
        message: Encoded,
        exchange: str,
        routing_key: str,
        deadline_s: float | None,
        retry: bool | None,
        retry_policy: RetryOptions | None,
    ) -> tuple[Confirmation, Entry]:
        size = len(message.body)
        if size > self._max_body_bytes:
            raise MessageTooLarge(
                f"the body has {size} bytes, the limit is {self._max_body_bytes} (publish.max_body_bytes)",
                message_id=message.id,
            )
        wanted = self._retry if retry is None else retry
        policy = self._policy if retry_policy is None else self._policy.changed(retry_policy)
        deadline = self._clock.monotonic() + (self._deadline_s if deadline_s is None else deadline_s)
        confirmation = Confirmation(message.id, deadline=deadline)
        entry = Entry(
            message,
            exchange=exchange,
            routing_key=routing_key,
            deadline=deadline,
            policy=policy if wanted else None,
            done=confirmation.settle,
        )
        return confirmation, entry

    def _hand_over(self, entries: Sequence[Entry]) -> None:
        self._running().submit(entries)

    def _running(self) -> Sender:
        sender = self._sender
        if sender is None or sender.ended or sender.pid != os.getpid():
            return self._start()
        return sender

    def _start(self) -> Sender:
        with self._lock:
            if self._closed:
                raise ConnectionLost("the publisher is closed", fate=Fate.NOT_SENT)
            sender = self._sender
            if sender is None or sender.ended or sender.pid != os.getpid():
                sender = Sender(self._settings, operations=self._operations, name=self._name, clock=self._clock)
                self._sender = sender
            return sender

    def _after_fork(self) -> None:
        self._lock = threading.Lock()  # another thread of the parent may have held it
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.abandon()


def _call(method: weakref.WeakMethod[Callable[..., None]]) -> None:
    fn = method()
    if fn is not None:
        fn()
