"""One connection's whole life: all that is bound to it lives here and is thrown away with it. Loop-confined.

A Session connects as soon as it is made and never reconnects: the Connector makes the next one. It ends in exactly one
of three ways: `on_lost(error)`, once, for whatever was not asked for (never before the constructor has returned);
`close()`, which answers to its own callback; `abandon()`, in a forked child.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Protocol

import pika
from pika.channel import Channel as PikaChannel
from pika.exceptions import ChannelClosedByBroker

from amqtask.clock import SYSTEM, Clock
from amqtask.errors import BrokerError, ChannelClosed, ConnectionLost
from amqtask.transport.lean import LeanConnection, NullSink, Sink
from amqtask.transport.loop import Loop, Timer
from amqtask.transport.translate import channel_error, connection_error
from amqtask.transport.url import BrokerAddress

CLOSE_TIMEOUT_S = 2.0  # a broker that does not answer connection.close in this time is left without its answer
SILENCE_GRACE_S = 5.0  # on top of one heartbeat: the broker sends something every half of it

_DISCARD = NullSink()
_VERSION = version("amqtask")  # here, because it reads files


class BrokerOptions(Protocol):
    """What of the settings is needed here; settings.BrokerSettings is one. Seconds."""

    @property
    def heartbeat_s(self) -> int:
        """Heartbeat interval to ask for; 0 takes the broker's."""

    @property
    def connect_timeout_s(self) -> float:
        """How long one attempt to connect may take."""

    @property
    def reconnect_max_s(self) -> float:
        """Longest pause between attempts."""


class Channel:
    """One channel of one session. `sink` gets its content; `pika` is for the rare calls (qos, consume, declare)."""

    __slots__ = ("_connection", "_on_closed", "_then", "number", "pika", "session")

    def __init__(
        self,
        session: Session,
        connection: LeanConnection,
        pika_channel: PikaChannel,
        on_closed: Callable[[Channel, ChannelClosed], None] | None,
    ) -> None:
        self.session = session
        self.pika = pika_channel
        self.number = int(pika_channel.channel_number)
        self._connection = connection
        self._on_closed = on_closed
        self._then: Callable[[], None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return bool(self.pika.is_open)

    @property
    def sink(self) -> Sink | None:
        """Where deliveries, returns and confirms of this channel go."""
        return self._connection.sinks.get(self.number)

    @sink.setter
    def sink(self, sink: Sink) -> None:
        self._connection.sinks[self.number] = sink

    def confirm(self, on_selected: Callable[[], None]) -> None:
        """Switch the channel to confirms. The sink must be set before: acks go there and nowhere else."""
        self.pika.confirm_delivery(_unused, lambda _frame: on_selected())

    def close(self, then: Callable[[], None] | None = None) -> None:
        """Close it in order; `then` is called when the broker has agreed. `on_closed` is not called.

        What still arrives on it goes nowhere. If the session dies meanwhile, `then` is not called: the session's
        owner hears of that.
        """
        self._on_closed = None
        self._then = then
        if self.number in self._connection.sinks:
            self._connection.sinks[self.number] = _DISCARD
        if self.pika.is_open:
            self.pika.close()

    def closed(self, reason: BaseException) -> None:
        """For the session: pika says that the channel is closed."""
        self._connection.drop_sink(self.number)
        on_closed, self._on_closed = self._on_closed, None
        then, self._then = self._then, None
        if then is not None:
            if self.session.is_open:  # else the channel went down with its session, and nobody has agreed to anything
                then()
        elif on_closed is not None and isinstance(reason, ChannelClosedByBroker):
            on_closed(self, channel_error(reason))


class Session:
    """A connection from its first packet to its last.

    `on_open(session)` is called once the broker has opened it. `settings` gives heartbeat and connect timeout in
    seconds; the address may carry its own.
    """

    def __init__(
        self,
        loop: Loop,
        address: BrokerAddress,
        *,
        settings: BrokerOptions,
        name: str,
        on_open: Callable[[Session], None],
        on_lost: Callable[[BrokerError], None],
        generation: int = 1,
        clock: Clock = SYSTEM,
    ) -> None:
        self.address = address
        self.generation = generation
        self.blocked: str | None = None  # the broker's reason while it takes no publishes
        self.server_version = ""
        self.frame_max = 0
        self.heartbeat_s = settings.heartbeat_s if address.heartbeat_s is None else address.heartbeat_s
        self._loop = loop
        self._clock = clock
        self._on_open = on_open
        self._on_lost: Callable[[BrokerError], None] | None = on_lost
        self._on_closed: Callable[[], None] | None = None
        self._on_blocked: list[Callable[[str | None], None]] = []
        self._cause: BrokerError | None = None  # why we dropped it ourselves
        self._opened = False
        self._ended = False
        self._heard = (0, clock.monotonic())  # bytes received so far, and when that was first seen
        timeout_s = settings.connect_timeout_s if address.connect_timeout_s is None else address.connect_timeout_s
        self._timer: Timer | None = loop.call_later(timeout_s, self._connect_timed_out)
        self._connection = LeanConnection(
            _parameters(address, heartbeat_s=self.heartbeat_s, timeout_s=timeout_s, name=name),
            on_open_callback=self._pika_opened,
            on_open_error_callback=self._pika_ended,
            on_close_callback=self._pika_ended,
            custom_ioloop=loop.services,
            on_bug=loop.fail,
        )
        self._connection.add_on_connection_blocked_callback(self._pika_blocked)
        self._connection.add_on_connection_unblocked_callback(self._pika_unblocked)
        loop.after_iteration(self._connection.flush, last=True)

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return self._opened and not self._ended and bool(self._connection.is_open)

    @property
    def unsent_bytes(self) -> int:
        """Bytes that are queued here because the socket does not take them."""
        return self._connection.unsent_bytes

    def silence_s(self) -> float:
        """Seconds for which nothing has been seen to arrive. Heartbeats count, so does half a frame."""
        now, received = self._clock.monotonic(), self._connection.received_bytes
        if received != self._heard[0]:
            self._heard = (received, now)
        return now - self._heard[1]

    def send(self, data: bytes) -> None:
        """Queue raw frames; they go out in one write at the end of this turn of the loop, before the next poll."""
        self._connection.send(data)

    def open_channel(
        self, on_open: Callable[[Channel], None], on_closed: Callable[[Channel, ChannelClosed], None] | None = None
    ) -> None:
        """Open a channel. `on_closed` is called if the broker closes it; not when the session ends, nor on our close.

        Raises ConnectionLost when the session is not open.
        """
        if not self.is_open:
            raise ConnectionLost(f"{self.address}: not connected")

        def opened(pika_channel: PikaChannel) -> None:
            channel = Channel(self, self._connection, pika_channel, on_closed)
            pika_channel.add_on_close_callback(lambda _channel, reason: channel.closed(reason))
            on_open(channel)

        self._connection.channel(on_open_callback=opened)

    def watch_blocked(self, fn: Callable[[str | None], None]) -> None:
        """Call `fn` with the broker's reason when it stops taking publishes, and with None when it takes them again."""
        self._on_blocked.append(fn)

    def close(self, on_closed: Callable[[], None] | None = None) -> None:
        """Write out what is queued, close in order, and call `on_closed`: within CLOSE_TIMEOUT_S, come what may.

        `on_lost` is not called any more. On a session that has ended already `on_closed` is called in the next turn.
        """
        self._on_lost = None
        if self._ended:
            if on_closed is not None:
                self._loop.call_soon(on_closed)
            return
        self._on_closed = on_closed
        self._cancel_timer()
        for number in self._connection.sinks:
            self._connection.sinks[number] = _DISCARD
        self._timer = self._loop.call_later(CLOSE_TIMEOUT_S, self._close_timed_out)
        self._connection.flush()
        if not self._connection.is_closing and not self._connection.is_closed:
            self._connection.close()

    def drop(self, error: BrokerError) -> None:
        """Give the connection up, without a word to the broker: `on_lost(error)` follows in a later turn."""
        if self._cause is None and not self._ended:
            self._cause = error
            self._give_up()

    def abandon(self) -> None:
        """In a forked child: close the inherited socket, unheard by the broker. Nothing is called."""
        self._on_lost = self._on_closed = None
        self._ended = True
        self._connection.abandon()

    def _pika_opened(self, connection: Any) -> None:
        if self._cause is not None:  # given up while the last frame of the handshake was under way
            return
        self._opened = True
        properties = connection.server_properties or {}
        given = properties.get("version", "")
        self.server_version = given.decode() if isinstance(given, bytes) else str(given)
        self.frame_max = int(connection.params.frame_max or 0)
        self.heartbeat_s = int(connection.params.heartbeat or 0)
        self._cancel_timer()
        self.silence_s()
        if self.heartbeat_s:
            self._timer = self._loop.call_later(self.heartbeat_s / 4, self._check_silence)
        self._on_open(self)

    def _check_silence(self) -> None:
        # pika's own check counts whole windows of heartbeat + 5 s, so a link that dies at the start of one is noticed
        # after nearly two: 30 s instead of our promise of 2 x heartbeat + 5.
        limit_s = self.heartbeat_s + SILENCE_GRACE_S
        if self.silence_s() > limit_s:
            self.drop(ConnectionLost(f"{self.address}: nothing heard from the broker for {limit_s:g} s"))
        else:
            self._timer = self._loop.call_later(self.heartbeat_s / 4, self._check_silence)

    def _connect_timed_out(self) -> None:
        self.drop(ConnectionLost(f"{self.address}: not connected in time"))

    def _close_timed_out(self) -> None:
        self._give_up()

    def _give_up(self) -> None:
        self._cancel_timer()
        connection = self._connection
        if connection.is_closed:
            self._loop.call_soon(self._end)
        elif self._opened or connection.has_stream:
            connection.cut(self._cause or ConnectionLost(f"{self.address}: closed"))
        else:
            connection.close()  # still resolving or connecting: pika aborts that, and calls back

    def _pika_blocked(self, _connection: Any, frame: Any) -> None:
        self.blocked = str(frame.method.reason or "blocked")
        for fn in tuple(self._on_blocked):
            fn(self.blocked)

    def _pika_unblocked(self, _connection: Any, _frame: Any) -> None:
        self.blocked = None
        for fn in tuple(self._on_blocked):
            fn(None)

    def _pika_ended(self, _connection: Any, reason: BaseException) -> None:
        if self._cause is None:
            self._cause = connection_error(reason, str(self.address))
        self._end()

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._cancel_timer()
        self._loop.remove_after_iteration(self._connection.flush)
        self._on_blocked.clear()
        on_lost, self._on_lost = self._on_lost, None
        on_closed, self._on_closed = self._on_closed, None
        if on_closed is not None:
            on_closed()
        elif on_lost is not None:
            on_lost(self._cause or ConnectionLost(f"{self.address}: closed"))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _unused(_frame: object) -> None:
    """pika wants a callback for confirms; they go to the sink and never reach it."""


def _parameters(address: BrokerAddress, *, heartbeat_s: int, timeout_s: float, name: str) -> pika.ConnectionParameters:
    return pika.ConnectionParameters(
        host=address.host,
        port=address.port,
        virtual_host=address.virtual_host,
        credentials=pika.PlainCredentials(address.user, address.password),
        heartbeat=heartbeat_s or None,  # None: what the broker proposes
        connection_attempts=1,
        socket_timeout=timeout_s,
        stack_timeout=timeout_s,
        ssl_options=_tls(address) if address.tls else None,
        client_properties={"connection_name": name, "product": "amqtask", "version": _VERSION},
    )


def _tls(address: BrokerAddress) -> pika.SSLOptions:
    """Verified, host name checked, TLS 1.2 or later, unless the URL says `verify=verify_none`."""
    context = ssl.create_default_context(cafile=address.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not address.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if address.cert_file:
        context.load_cert_chain(address.cert_file, address.key_file)
    return pika.SSLOptions(context, address.server_name or address.host)
