"""Asks the broker about one queue, changing nothing. Loop-confined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pika import spec
from pika.frame import Method

from amqtask.errors import AmqtaskError, ChannelClosed
from amqtask.topology.declare import DeclareQueue
from amqtask.topology.values import Queue
from amqtask.transport.declarer import explain
from amqtask.transport.session import Channel, Session


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue at one moment: messages that wait in it, and consumers (of any program) that it has."""

    ready: int
    consumers: int


def probe_queue(session: Session, queue: str, on_answer: Callable[[QueueState | AmqtaskError], None]) -> None:
    """Look at `queue` by a passive declare; `on_answer` gets its state, or TopologyError when there is none.

    AccessRefused where looking needs the right to configure (RabbitMQ from 4.2.6). Not answered if the session is lost.
    """

    def opened(channel: Channel) -> None:
        def declared(frame: Method[spec.Queue.DeclareOk]) -> None:
            state = QueueState(int(frame.method.message_count), int(frame.method.consumer_count))
            channel.close(lambda: on_answer(state))

        channel.pika.queue_declare(queue, passive=True, callback=declared)

    def closed(_channel: Channel, error: ChannelClosed) -> None:
        on_answer(explain(DeclareQueue(Queue(queue)), error))

    session.open_channel(opened, closed)
