"""Broker addresses: from the URL forms that Celery's users know to values, with passwords masked wherever they show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from amqtask.errors import SettingsError, nearest

PLAIN_SCHEMES = frozenset({"amqp", "pyamqp", "librabbitmq"})  # the last two are Celery's names for the same wire
TLS_SCHEMES = frozenset({"amqps", "pyamqps"})
DEFAULT_PORT = 5672
DEFAULT_TLS_PORT = 5671
# RabbitMQ's own names (its "URI query parameters" page); anything else in a query is an error, never ignored.
QUERY_KEYS = (
    "heartbeat",
    "connection_timeout",
    "cacertfile",
    "certfile",
    "keyfile",
    "verify",
    "server_name_indication",
)
_PASSWORD = re.compile(r"(://[^/@:;\s]*):[^;\s]*(?=@)")  # greedy: rather masks too much than half of an odd password


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """One place to connect to. `str()` is its URL with the password masked: safe to log and to show."""

    host: str = "localhost"
    port: int = DEFAULT_PORT
    virtual_host: str = "/"
    user: str = "guest"
    password: str = field(default="guest", repr=False)
    tls: bool = False
    heartbeat_s: int | None = None  # None: what the settings say
    connect_timeout_s: float | None = None  # None: what the settings say
    ca_file: str | None = None  # None: the system's certificate authorities
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True
    server_name: str | None = None  # None: the host

    def __str__(self) -> str:
        scheme = "amqps" if self.tls else "amqp"
        host = f"[{self.host}]" if ":" in self.host else self.host
        vhost = "/" if self.virtual_host == "/" else quote(self.virtual_host, safe="")
        return f"{scheme}://{quote(self.user, safe='')}:**@{host}:{self.port}/{vhost}"


def parse_urls(urls: str | Sequence[str]) -> tuple[BrokerAddress, ...]:
    """The addresses in `urls`: one string (several are separated by `;`) or a list of strings.

    Virtual host: `amqp://h`, `amqp://h/` and `amqp://h//` are all `/` (Celery's reading), `amqp://h/name` is `name`.

    Raises:
        SettingsError: no URL, a scheme that is not AMQP 0-9-1, a bad port, an unknown query parameter.
    """
    texts = [urls] if isinstance(urls, str) else list(urls)
    parts = [part.strip() for text in texts for part in text.split(";") if part.strip()]
    if not parts:
        raise SettingsError("no broker URL is given; expected for example amqp://guest:guest@localhost:5672//")
    return tuple(_parse(part) for part in parts)


def mask(text: str) -> str:
    """`text` with the password of every URL in it masked."""
    return _PASSWORD.sub(r"\1:**", text)


def _parse(url: str) -> BrokerAddress:
    shown = mask(url)
    scheme, separator, _ = url.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise SettingsError(f"{shown!r} is not a broker URL; expected for example amqp://user:password@host:5672/vhost")
    if scheme not in PLAIN_SCHEMES | TLS_SCHEMES:
        raise SettingsError(
            f"{scheme}:// is not supported as a broker: amqtask speaks AMQP 0-9-1 with RabbitMQ; "
            f"use amqp://user:password@host:5672/vhost, or amqps:// for TLS"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname
    except ValueError:  # its text quotes what may be a password
        raise SettingsError(
            f"{shown!r} is not a broker URL: host or port is wrong (in a password write / as %2F, # as %23, @ as %40)"
        ) from None
    if parts.fragment:
        raise SettingsError(f"{shown!r}: a '#' in user, password or virtual host must be written as %23")
    tls = scheme in TLS_SCHEMES
    query = _query(parts.query, shown)
    path = parts.path.removeprefix("/")
    return BrokerAddress(
        host=unquote(host) if host else "localhost",
        port=port or (DEFAULT_TLS_PORT if tls else DEFAULT_PORT),
        virtual_host="/" if path == "" else unquote(path),
        user=unquote(parts.username) if parts.username else "guest",
        password=unquote(parts.password) if parts.password else ("guest" if not parts.username else ""),
        tls=tls,
        heartbeat_s=_whole(query, "heartbeat", shown),
        connect_timeout_s=_milliseconds(query, shown),
        ca_file=query.get("cacertfile"),
        cert_file=query.get("certfile"),
        key_file=query.get("keyfile"),
        verify=_verify(query, shown),
        server_name=query.get("server_name_indication"),
    )


def _query(text: str, shown: str) -> dict[str, str]:
    query = dict(parse_qsl(text, keep_blank_values=True))
    for key in query:
        if key not in QUERY_KEYS:
            close = nearest(key, QUERY_KEYS)
            hint = f"; did you mean {close!r}?" if close else f"; known: {', '.join(QUERY_KEYS)}"
            raise SettingsError(f"{shown!r}: unknown parameter {key!r}{hint}")
    return query


def _whole(query: dict[str, str], key: str, shown: str) -> int | None:
    text = query.get(key)
    if text is None:
        return None
    if not text.isdecimal():
        raise SettingsError(f"{shown!r}: {key} must be a whole number, not {text!r}")
    return int(text)


def _milliseconds(query: dict[str, str], shown: str) -> float | None:
    # RabbitMQ's URI specification counts this one in milliseconds, the heartbeat in seconds.
    value = _whole(query, "connection_timeout", shown)
    return None if value is None else value / 1000


def _verify(query: dict[str, str], shown: str) -> bool:
    value = query.get("verify", "verify_peer")
    if value not in ("verify_peer", "verify_none"):
        raise SettingsError(f"{shown!r}: verify must be verify_peer or verify_none, not {value!r}")
    return value == "verify_peer"
