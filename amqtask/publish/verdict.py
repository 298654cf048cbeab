"""Which error ends a message, and which messages a closed channel is about: decided purely, from what is known."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from amqtask.errors import (
    AccessRefused,
    AmqtaskError,
    BrokerBlocked,
    BrokerError,
    ChannelClosed,
    ConnectionLost,
    Fate,
    MessageTooLarge,
    PublishError,
    PublishRefused,
    PublishUncertain,
    Unroutable,
)
from amqtask.publish.entry import Entry

# What RabbitMQ writes in channel.close, 3.10 to 4.3.
_NO_EXCHANGE = re.compile(r"no exchange '(.*?)' in vhost")
_NO_ACCESS = re.compile(r"(?:write )?access to (exchange|topic) '(.*?)'(?: in exchange '(.*?)')? in vhost")
_TOO_LARGE = re.compile(r"message size (\d+) is larger than")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a closed channel means: who is `refused` and why, who is `suspect`; all others are sent again.

    `exchange_gone`: the exchange that the broker says it does not have.
    """

    refused: Sequence[tuple[Entry, AmqtaskError]] = ()
    suspects: Sequence[Entry] = ()
    exchange_gone: str | None = None


def judge(error: ChannelClosed, in_flight: Sequence[Entry], *, known_exchanges: Collection[str]) -> Judgement:
    """Whom the broker meant when it closed the channel.

    The frame does not say which publish it was. Its text mostly does; where it does not, everything in flight is
    suspect, and is sent again one by one, so that the next close is about one message.
    """
    text = str(error)
    if error.code == 404 and (found := _NO_EXCHANGE.search(text)):
        return _no_exchange(error, found[1], in_flight, known_exchanges)
    if error.code == 403 and (found := _NO_ACCESS.search(text)):
        topic = found[1] == "topic"
        exchange, key = (found[3], found[2]) if topic else (found[2], None)
        exchange = "" if exchange == "amq.default" else exchange
        meant = [e for e in in_flight if e.exchange == exchange and (key is None or e.routing_key == key)]
        if meant:
            return Judgement(refused=[(entry, access_refused(entry, text)) for entry in meant])
    if error.code == 406 and (found := _TOO_LARGE.search(text)):
        meant = [entry for entry in in_flight if len(entry.message.body) == int(found[1])]
        if meant:
            return Judgement(refused=[(entry, too_large(entry, text)) for entry in meant])
    if len(in_flight) == 1:
        return Judgement(refused=[(in_flight[0], channel_refused(in_flight[0], text))])
    return Judgement(suspects=in_flight)


def _no_exchange(
    error: ChannelClosed, exchange: str, in_flight: Sequence[Entry], known_exchanges: Collection[str]
) -> Judgement:
    meant = [entry for entry in in_flight if entry.exchange == exchange]
    if exchange in known_exchanges and len(meant) > 1:
        # It was there a moment ago, so the first of these may have got through before it went.
        for entry in meant[:-1]:
            entry.in_doubt = True
    return Judgement(refused=[(entry, exchange_missing(entry, error)) for entry in meant], exchange_gone=exchange)


def unroutable(entry: Entry) -> AmqtaskError:
    """The error of a message that came back."""
    where = (
        f"no queue is bound to exchange {entry.exchange!r} for routing key {entry.routing_key!r}"
        if entry.exchange
        else f"there is no queue {entry.routing_key!r}"
    )
    return _doubt(entry, Unroutable(f"{where} ({entry.returned})", message_id=entry.id))


def refused(entry: Entry) -> AmqtaskError:
    """The error of a message that a queue did not take."""
    where = (
        f"exchange {entry.exchange!r}, routing key {entry.routing_key!r}"
        if entry.exchange
        else f"queue {entry.routing_key!r}"
    )
    text = f"the broker refused it: a full queue with overflow reject-publish, or a failure of its own ({where})"
    return _doubt(entry, PublishRefused(text, message_id=entry.id))


def exchange_missing(entry: Entry, error: ChannelClosed) -> AmqtaskError:
    """The exchange does not exist."""
    return _doubt(entry, Unroutable(f"there is no exchange {entry.exchange!r} ({error.code})", message_id=entry.id))


def access_refused(entry: Entry, text: str) -> AccessRefused:
    """The user may not write there."""
    return AccessRefused(f"message {entry.id}: {text}", code=403, fate=_fate(entry, Fate.REFUSED))


def too_large(entry: Entry, text: str) -> AmqtaskError:
    """It is over the broker's own limit, which is below ours."""
    error = MessageTooLarge(text, message_id=entry.id)
    error.fate = Fate.REFUSED  # unlike ours, which is raised before a byte is sent
    return _doubt(entry, error)


def channel_refused(entry: Entry, text: str) -> AmqtaskError:
    """The broker closed the channel over this message: a user id that is not the user's, a bad expiration, ..."""
    return _doubt(entry, PublishRefused(text, message_id=entry.id))


def blocked(entry: Entry, reason: str) -> BrokerBlocked:
    """The deadline passed while the broker took no publishes."""
    written = entry.tag > 0 or entry.in_doubt
    what = "was written before the broker stopped taking messages" if written else "was not sent"
    return BrokerBlocked(
        f"message {entry.id} {what}: the broker takes no publishes ({reason})",
        fate=Fate.UNCERTAIN if written else Fate.NOT_SENT,
    )


def unanswered(entry: Entry, why: str) -> PublishUncertain:
    """It was written, and the answer will not come in time or not at all."""
    return PublishUncertain(f"message {entry.id} was sent, and may or may not have arrived: {why}", message_id=entry.id)


def unsent(entry: Entry, error: BrokerError) -> AmqtaskError:
    """There is no connection for it. If an earlier one died with it in flight, that is what counts."""
    if isinstance(error, AccessRefused):
        return AccessRefused(
            f"message {entry.id} was not accepted: {error}", code=error.code, fate=_fate(entry, Fate.NOT_SENT)
        )
    if entry.in_doubt:
        return unanswered(entry, str(error))
    return ConnectionLost(f"message {entry.id} was not sent: {error}", code=error.code, fate=Fate.NOT_SENT)


def _fate(entry: Entry, fate: Fate) -> Fate:
    return Fate.UNCERTAIN if entry.in_doubt else fate


def _doubt(entry: Entry, error: PublishError) -> PublishError:
    error.fate = _fate(entry, error.fate)
    return error
