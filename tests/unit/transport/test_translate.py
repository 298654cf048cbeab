"""pika's exceptions become ours, with the code, and refusals apart from losses."""

from __future__ import annotations

import socket
import ssl

import pika.exceptions as px
import pytest
from pika.adapters.utils import connection_workflow as cw

from amqtask.errors import AccessRefused, BrokerError, ConnectionLost
from amqtask.transport.translate import channel_error, connection_error


def in_workflow(cause: BaseException) -> BaseException:
    """As pika wraps what goes wrong while connecting."""
    return px.AMQPConnectionError(cw.AMQPConnectionWorkflowFailed([cw.AMQPConnectorSocketConnectError(cause)]))


BROKER_SAYS = "ConnectionClosedByBroker: ({}) {!r}"


@pytest.mark.parametrize(
    ("cause", "kind", "code", "says"),
    [
        (px.ConnectionClosedByBroker(320, "CONNECTION_FORCED - bye"), ConnectionLost, 320, "bye"),
        (px.ConnectionClosedByBroker(403, "ACCESS_REFUSED - no"), AccessRefused, 403, "no"),
        (px.ConnectionClosedByBroker(530, "NOT_ALLOWED - vhost x not found"), AccessRefused, 530, "vhost x"),
        (px.ConnectionClosedByBroker(530, "NOT_ALLOWED - attempt to reuse consumer tag"), ConnectionLost, 530, "tag"),
        (px.ConnectionClosedByBroker(541, "INTERNAL_ERROR"), ConnectionLost, 541, "INTERNAL"),
        (px.ProbableAuthenticationError(BROKER_SAYS.format(403, "REFUSED")), AccessRefused, 403, "REFUSED"),
        (px.ProbableAuthenticationError("StreamLostError"), ConnectionLost, None, "while logging in"),
        (px.ProbableAccessDeniedError(BROKER_SAYS.format(530, "vhost down")), AccessRefused, 530, "vhost down"),
        (px.ProbableAccessDeniedError(BROKER_SAYS.format(541, "starting")), ConnectionLost, 541, "starting"),
        (px.ProbableAccessDeniedError("StreamLostError"), ConnectionLost, None, "while logging in"),
        (px.AMQPHeartbeatTimeout("x"), ConnectionLost, None, "heartbeats"),
        (px.IncompatibleProtocolError("x"), ConnectionLost, None, "no AMQP 0-9-1 broker"),
        (px.StreamLostError("gone"), ConnectionLost, None, "gone"),
        (in_workflow(ConnectionRefusedError(111, "Connection refused")), ConnectionLost, None, "Connection refused"),
        (in_workflow(cw.AMQPConnectorStackTimeout()), ConnectionLost, None, "no answer in time"),
        (in_workflow(socket.gaierror(-2, "Name or service not known")), ConnectionLost, None, "host name not found"),
        (in_workflow(ssl.SSLError(1, "WRONG_VERSION")), ConnectionLost, None, "TLS failed"),
        (ConnectionLost("ours"), ConnectionLost, None, "ours"),
        (None, ConnectionLost, None, "closed"),
    ],
)
def test_k10_what_pika_says_in_our_words(
    cause: BaseException | None, kind: type[BrokerError], code: int | None, says: str
) -> None:
    error = connection_error(cause, "amqp://u:**@host/")
    assert type(error) is kind
    assert error.code == code
    assert says in str(error)
    assert error.retryable is (kind is ConnectionLost)


def test_k10_a_closed_channel_keeps_code_and_text() -> None:
    error = channel_error(px.ChannelClosedByBroker(404, "NOT_FOUND - no exchange 'x' in vhost '/'"))
    assert error.code == 404
    assert "no exchange 'x'" in str(error)
