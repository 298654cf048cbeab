"""RabbitMQ's management API over one kept HTTP connection, its failures as errors of ours.

Blocking, for one thread: command lines use it, a node's loop never does.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from amqtask.errors import AccessRefused, BrokerError, ConnectionLost, SettingsError
from amqtask.transport.url import BrokerAddress, mask, parse_urls

if TYPE_CHECKING:
    from amqtask.settings import Settings

DEFAULT_TIMEOUT_S = 10.0
_PORT_ABOVE_AMQP = 10_000  # 15672 beside 5672, 15671 beside 5671: the plugin's own defaults
_ENABLE = "is the plugin on (rabbitmq-plugins enable rabbitmq_management)? broker.management_url says where it is"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a management API is, and who asks it."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    tls: bool = False
    prefix: str = ""
    ca_file: str | None = None
    verify: bool = True

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.prefix}"


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """Where the management API may be: `broker.management_url`, else beside each broker of `broker.url`.

    User and password come from the management URL if it has them, else from the broker's. Raises SettingsError.
    """
    brokers = parse_urls(settings.broker.url)
    if settings.broker.management_url:
        return (_parse(settings.broker.management_url, brokers[0]),)
    return tuple(
        Endpoint(
            host=broker.host,
            port=broker.port + _PORT_ABOVE_AMQP,
            user=broker.user,
            password=broker.password,
            tls=broker.tls,
            ca_file=broker.ca_file,
            verify=broker.verify,
        )
        for broker in brokers
    )


def virtual_host(settings: Settings) -> str:
    """The virtual host that `broker.url` names."""
    return parse_urls(settings.broker.url)[0].virtual_host


def _parse(url: str, broker: BrokerAddress) -> Endpoint:
    where, shown = "broker.management_url", mask(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SettingsError(f"{shown!r} is not a URL", where=where) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"{shown!r} is not an http:// or https:// URL", where=where)
    tls = parts.scheme == "https"
    return Endpoint(
        host=parts.hostname,
        port=port or (15671 if tls else 15672),
        user=unquote(parts.username) if parts.username else broker.user,
        password=unquote(parts.password or "") if parts.username else broker.password,
        tls=tls,
        # People paste the address of the web pages, with or without /api behind it.
        prefix=parts.path.rstrip("/").removesuffix("/api"),
        ca_file=broker.ca_file,
        verify=broker.verify,
    )


class Management:
    """A client of the first endpoint that answers. A context manager; `close` may be called twice.

    Paths are given as segments and quoted here: `get("queues", "/", "a/b")`. Every call raises ConnectionLost when
    nobody answers within `timeout_s`, AccessRefused for wrong credentials or a missing right, BrokerError else.
    """

    def __init__(self, where: Sequence[Endpoint], *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._endpoints = tuple(where)
        self._timeout_s = timeout_s
        self._endpoint: Endpoint | None = None
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> Management:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; a later call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, *path: str, query: str = "") -> object:
        """The decoded JSON at `path`, or None when there is no such thing (404)."""
        return self._call("GET", path, None, query, missing_ok=True)

    def put(self, *path: str, body: Mapping[str, object]) -> None:
        """Make or replace what is at `path`."""
        self._call("PUT", path, body)

    def post(self, *path: str, body: Mapping[str, object]) -> None:
        """Add to what is at `path`."""
        self._call("POST", path, body)

    def delete(self, *path: str, query: str = "") -> None:
        """Delete what is at `path`; nothing there is as good."""
        self._call("DELETE", path, None, query, missing_ok=True)

    def version(self) -> str:
        """The broker's version, as `3.10.8`."""
        overview = self.get("overview")
        version = overview.get("rabbitmq_version") if isinstance(overview, dict) else None
        if not isinstance(version, str):
            raise BrokerError(f"{self._endpoint} answers, but is not RabbitMQ's management API; {_ENABLE}")
        return version

    def _call(
        self,
        method: str,
        path: Sequence[str],
        body: Mapping[str, object] | None,
        query: str = "",
        *,
        missing_ok: bool = False,
    ) -> object:
        target = "/".join(quote(segment, safe="") for segment in path) + (f"?{query}" if query else "")
        status, reason, raw = self._exchange(method, target, None if body is None else json.dumps(body).encode())
        if status == 404 and missing_ok:
            return None
        if status >= 400:
            raise self._refusal(f"{method} /api/{target}", status, _reason(raw) or reason)
        if not raw:
            return None
        try:
            return json.loads(raw)
        except ValueError:
            raise BrokerError(f"{self._endpoint} answers, but is not RabbitMQ's management API; {_ENABLE}") from None

    def _refusal(self, what: str, status: int, reason: str) -> BrokerError:
        where = self._endpoint
        user = where.user if where else "?"
        if status in (401, 403):
            return AccessRefused(
                f"{where} refuses user {user!r} for {what}: {reason}. It needs the tag 'management', for policies "
                f"'policymaker', and permissions on the virtual host",
                code=status,
            )
        return BrokerError(f"{where} answers {status} to {what}: {reason}", code=status)

    def _exchange(self, method: str, target: str, body: bytes | None) -> tuple[int, str, bytes]:
        """One request and its answer. A kept connection that the server has dropped meanwhile is opened once more."""
        fresh = self._connection is None
        try:
            return self._send(self._connection or self._connect(), method, target, body)
        except (http.client.RemoteDisconnected, ConnectionError) as error:
            self.close()
            if fresh:
                raise self._silent(error) from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._silent(error) from error
        try:  # every request of this API can be repeated: a binding that is there is not made twice
            return self._send(self._connect(), method, target, body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._silent(error) from error

    def _send(
        self, connection: http.client.HTTPConnection, method: str, target: str, body: bytes | None
    ) -> tuple[int, str, bytes]:
        endpoint = self._endpoint
        assert endpoint is not None
        login = base64.b64encode(f"{endpoint.user}:{endpoint.password}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, f"{endpoint.prefix}/api/{target}", body=body, headers=headers)
        answer = connection.getresponse()
        raw = answer.read()
        if answer.will_close:
            self.close()
        return answer.status, answer.reason, raw

    def _connect(self) -> http.client.HTTPConnection:
        """Connect to the endpoint that answered last, else to the first that does."""
        last: OSError | None = None
        for endpoint in (self._endpoint,) if self._endpoint else self._endpoints:
            connection = self._open(endpoint)
            try:
                connection.connect()
            except OSError as error:
                last = error
                continue
            self._endpoint, self._connection = endpoint, connection
            return connection
        assert last is not None, "no endpoint"
        raise last

    def _open(self, endpoint: Endpoint) -> http.client.HTTPConnection:
        if not endpoint.tls:
            return http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=self._timeout_s)
        context = ssl.create_default_context(cafile=endpoint.ca_file)
        if not endpoint.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(endpoint.host, endpoint.port, timeout=self._timeout_s, context=context)

    def _silent(self, error: Exception) -> ConnectionLost:
        where = self._endpoint or ", ".join(map(str, self._endpoints))
        why = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        return ConnectionLost(f"the management API at {where} does not answer: {why}; {_ENABLE}")


def _reason(raw: bytes) -> str:
    """What the API says was wrong, in one line."""
    try:
        told = json.loads(raw)
    except ValueError:
        return ""
    reason = told.get("reason") if isinstance(told, dict) else None
    return reason if isinstance(reason, str) else json.dumps(reason) if reason else ""
