"""Every form of broker URL that Celery's users know is understood, and nothing that shows one shows its password."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.url import parse_url as kombus

from amqtask.errors import SettingsError
from amqtask.transport.url import BrokerAddress, mask, parse_urls


def one(url: str) -> BrokerAddress:
    (address,) = parse_urls(url)
    return address


@pytest.mark.parametrize(
    ("url", "host", "port", "virtual_host", "user", "password"),
    [
        ("amqp://", "localhost", 5672, "/", "guest", "guest"),
        ("amqp://u:p@host/", "host", 5672, "/", "u", "p"),
        ("amqp://guest:guest@localhost:5672//", "localhost", 5672, "/", "guest", "guest"),
        ("amqp://host", "host", 5672, "/", "guest", "guest"),
        ("amqp://host:1234/app", "host", 1234, "app", "guest", "guest"),
        ("amqp://host/%2Fapp", "host", 5672, "/app", "guest", "guest"),
        ("amqp://host//app", "host", 5672, "/app", "guest", "guest"),
        ("amqp://u%40x:p%2F%3A@host/a%2Fb", "host", 5672, "a/b", "u@x", "p/:"),
        ("amqp://[::1]:5673/v", "::1", 5673, "v", "guest", "guest"),
        ("pyamqp://u:@host//", "host", 5672, "/", "u", ""),
        ("AMQP://Host/V", "host", 5672, "V", "guest", "guest"),
    ],
)
def test_s04_amqp_urls(url: str, host: str, port: int, virtual_host: str, user: str, password: str) -> None:
    address = one(url)
    assert (address.host, address.port, address.virtual_host) == (host, port, virtual_host)
    assert (address.user, address.password, address.tls) == (user, password, False)


def test_s04_tls_is_verified_by_default() -> None:
    address = one("amqps://host/v")
    assert (address.tls, address.port, address.verify, address.server_name) == (True, 5671, True, None)
    weak = one("amqps://host/v?verify=verify_none&cacertfile=/ca.pem&server_name_indication=other")
    assert (weak.verify, weak.ca_file, weak.server_name) == (False, "/ca.pem", "other")


def test_s04_parameters_in_rabbitmqs_units() -> None:
    address = one("amqp://host/v?heartbeat=7&connection_timeout=2500")
    assert (address.heartbeat_s, address.connect_timeout_s) == (7, 2.5)


def test_k10_several_hosts_by_semicolon_or_list() -> None:
    expected = ["a", "b", "c"]
    assert [address.host for address in parse_urls("amqp://a;amqp://b; amqp://c;")] == expected
    assert [address.host for address in parse_urls(["amqp://a", "amqp://b;amqp://c"])] == expected


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://:pw@host:6379/0", "redis:// is not supported"),
        ("sqs://", "amqp://"),
        ("kafka://host", "RabbitMQ"),
        ("mysql://scott:tiger@host/db", "AMQP 0-9-1"),
        ("localhost", "not a broker URL"),
        ("", "no broker URL"),
        ([], "no broker URL"),
        (";", "no broker URL"),
        ("amqp://host:port/v", "host or port is wrong"),
        ("amqp://host:70000/v", "host or port is wrong"),
        ("amqp://u:p#x@host/v", "%23"),
        ("amqp://host/v?heartbeats=3", "did you mean 'heartbeat'"),
        ("amqp://host/v?ssl=true", "known: heartbeat"),
        ("amqp://host/v?heartbeat=soon", "whole number"),
        ("amqps://host/v?verify=maybe", "verify_peer or verify_none"),
    ],
)
def test_s04_what_is_not_one_is_one_clear_error(url: str | list[str], says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_urls(url)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "amqp://user:s3cret@host:1/v",
        "amqp://user:s3cret@x@host:1/v",
        "amqp://user:s3c/s3cret@host/v",
        "amqp://user:s3cret@host:port/v",
        "amqp://:s3cret@host/v",
        "redis://:s3cret@host/0",
        "amqp://a:s3cret@h;amqp://b:s3cret@h",
    ],
)
def test_no_password_is_ever_shown(url: str) -> None:
    assert "s3cret" not in mask(url)
    try:
        shown = f"{parse_urls(url)!r} {parse_urls(url)[0]}"
    except SettingsError as error:
        shown = str(error)
    assert "s3cret" not in shown


names = st.text(alphabet="abcXYZ019-_.", min_size=1, max_size=8)


@given(names, names, names, st.integers(1, 65535), names)
def test_s04_same_reading_as_kombu(user: str, password: str, host: str, port: int, virtual_host: str) -> None:
    url = f"amqp://{user}:{password}@{host}:{port}/{virtual_host}"
    ours, theirs = one(url), kombus(url)
    assert (ours.user, ours.password, ours.port) == (theirs["userid"], theirs["password"], theirs["port"])
    assert (ours.host, ours.virtual_host) == (theirs["hostname"], theirs["virtual_host"])


def test_a_shown_address_is_read_back() -> None:
    address = one("amqps://u%40:p@[::1]:7/a%2Fb")
    again = one(str(address))
    assert (again.host, again.port, again.virtual_host, again.user) == ("::1", 7, "a/b", "u@")
