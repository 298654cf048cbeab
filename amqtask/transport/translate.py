"""What pika and the broker say went wrong, in amqtask's errors: the one place where they are translated."""

from __future__ import annotations

import re
import socket
import ssl

import pika.exceptions as px
from pika.adapters.utils import connection_workflow as cw

from amqtask.errors import AccessRefused, BrokerError, ChannelClosed, ConnectionLost

# connection.open on a virtual host that does not exist or may not be used; login refused.
_REFUSED_CODES = frozenset({403, 530})


def connection_error(error: BaseException | None, where: str) -> BrokerError:
    """The error to report for a connection to `where` (a masked address) that failed or ended with `error`."""
    cause = _innermost(error)
    if isinstance(cause, BrokerError):
        return cause
    if isinstance(cause, px.ConnectionClosed):
        return _closed(cause, where)
    if isinstance(cause, px.AuthenticationError):
        return AccessRefused(f"{where}: the broker offers no login that we know", code=403)
    if isinstance(cause, (px.ProbableAuthenticationError, px.ProbableAccessDeniedError)):
        # pika's guess, from when the link went. RabbitMQ says why before it closes (pika asks for that), so without its
        # words it is a link that was cut at an unlucky moment.
        found = _closed_in_text(str(cause))
        if found is None:
            return ConnectionLost(f"{where}: connection lost while logging in")
        code, text = found
        if code in _REFUSED_CODES:
            return AccessRefused(f"{where}: {text}", code=code)
        return ConnectionLost(f"{where}: closed by the broker while opening: {text}", code=code)
    if isinstance(cause, px.AMQPHeartbeatTimeout):
        return ConnectionLost(f"{where}: nothing heard from the broker; missed heartbeats")
    if isinstance(cause, px.IncompatibleProtocolError):
        return ConnectionLost(f"{where}: closed before its greeting: no AMQP 0-9-1 broker, or one that is starting")
    if isinstance(cause, ssl.SSLCertVerificationError):
        return ConnectionLost(f"{where}: TLS certificate refused: {cause.verify_message}")
    if isinstance(cause, ssl.SSLError):
        return ConnectionLost(f"{where}: TLS failed: {getattr(cause, 'reason', None) or cause}")
    if isinstance(cause, socket.gaierror):
        return ConnectionLost(f"{where}: host name not found: {cause.strerror}")
    if isinstance(cause, TimeoutError):
        return ConnectionLost(f"{where}: no answer in time")
    if isinstance(cause, OSError):
        return ConnectionLost(f"{where}: {cause.strerror or cause}")
    return ConnectionLost(f"{where}: {_text(cause)}")


def channel_error(error: BaseException) -> ChannelClosed:
    """The error to report for a channel that the broker closed."""
    if isinstance(error, px.ChannelClosed):
        return ChannelClosed(f"channel closed by the broker: {error.reply_text}", code=error.reply_code)
    return ChannelClosed(f"channel closed: {_text(error)}")


def _closed(cause: px.ConnectionClosed, where: str) -> BrokerError:
    text = f"{where}: closed by the broker: {cause.reply_text}"
    # 530 is also "not allowed" for other things once a connection is open (a reused consumer tag, for example); the
    # phrase tells them apart, as no code does.
    if cause.reply_code == 403 or (cause.reply_code == 530 and "access" in cause.reply_text.lower()):
        return AccessRefused(text, code=cause.reply_code)
    if cause.reply_code == 530 and "vhost" in cause.reply_text.lower():
        return AccessRefused(text, code=cause.reply_code)
    return ConnectionLost(text, code=cause.reply_code)


_IN_TEXT = re.compile(r"ConnectionClosedByBroker: \((\d+)\) (.*)", re.DOTALL)


def _closed_in_text(text: str) -> tuple[int, str] | None:
    # pika turns the broker's own words into the text of its guess at what they mean.
    found = _IN_TEXT.search(text)
    if found is None:
        return None
    return int(found[1]), found[2].strip("'\")")


def _innermost(error: BaseException | None) -> BaseException | None:
    """pika wraps the cause up to four deep: a workflow's error, a connector's, a timeout's, then the cause itself."""
    for _ in range(8):
        if isinstance(error, cw.AMQPConnectionWorkflowFailed) and error.exceptions:
            error = error.exceptions[-1]
        elif isinstance(error, cw.AMQPConnectorPhaseErrorBase):
            error = error.exception
        elif isinstance(error, cw.AMQPConnectorStackTimeout):
            return TimeoutError()
        elif type(error) is px.AMQPConnectionError and error.args and isinstance(error.args[0], BaseException):
            error = error.args[0]
        else:
            break
    return error


def _text(error: BaseException | None) -> str:
    if error is None:
        return "closed"
    return str(error) or type(error).__name__
