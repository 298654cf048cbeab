"""Fixtures that every test may ask for: private brokers, a virtual host per test, a proxy, a folder of records.

`AMQTASK_TEST_BROKERS` names the RabbitMQ versions that the broker tests run against, "3.10,4.3" say; without it, the
one that this machine's package is. A broker that does not start fails the tests that need it: they are never skipped.
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.proxy import Proxy
from tests.support.rabbit import LATEST_OF_THIS_MACHINE, Rabbit, Rabbits, Roots
from tests.support.record import FOLDER_VARIABLE
from tests.support.sandbox import Sandbox

OwnBroker = Callable[..., Rabbit]
ProxyTo = Callable[[int], Proxy]


def broker_versions() -> list[str]:
    """The RabbitMQ versions that the environment asks for."""
    text = os.environ.get("AMQTASK_TEST_BROKERS", "") or LATEST_OF_THIS_MACHINE
    return [version.strip() for version in text.split(",") if version.strip()]


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """Ports, folders and programs of the session; all stopped and removed however the session ends."""
    with Sandbox() as box:
        yield box


@pytest.fixture(scope="session")
def rabbits(sandbox: Sandbox) -> Rabbits:
    """Makes RabbitMQ nodes."""
    return Rabbits(sandbox, Roots(os.environ.get("AMQTASK_TEST_RABBIT_ROOTS", "")))


@pytest.fixture(scope="session", params=broker_versions(), ids=lambda version: f"rabbitmq-{version}")
def broker_version(request: pytest.FixtureRequest) -> str:
    """Each RabbitMQ version that the tests run against."""
    return str(request.param)


@pytest.fixture(scope="session")
def broker(rabbits: Rabbits, broker_version: str) -> Iterator[Rabbit]:
    """A running node that all tests of the session share: leave it running, unblocked, and its `/` vhost alone."""
    node = rabbits.make(broker_version)
    try:
        yield node.start()
    finally:
        node.remove()


@pytest.fixture
def own_broker(rabbits: Rabbits, broker_version: str) -> Iterator[OwnBroker]:
    """Starts a node for this test alone, to kill, stop, block or configure: `own_broker(conf=["key = value"])`."""
    made: list[Rabbit] = []

    def start(*, conf: Sequence[str] = ()) -> Rabbit:
        node = rabbits.make(broker_version, conf=conf)
        made.append(node)
        return node.start()

    yield start
    for node in made:
        node.remove()


@pytest.fixture
def proxy_to(sandbox: Sandbox) -> Iterator[ProxyTo]:
    """Puts a proxy in front of a loopback port: `proxy_to(port)`."""
    with contextlib.ExitStack() as stack:
        yield lambda target_port: stack.enter_context(Proxy(target_port, port=sandbox.port()))


@pytest.fixture
def proxy(broker: Rabbit, proxy_to: ProxyTo) -> Proxy:
    """A proxy in front of the shared broker: `broker.url(vhost, port=proxy.port)` goes through it."""
    return proxy_to(broker.port)


@pytest.fixture
def vhost(broker: Rabbit, request: pytest.FixtureRequest) -> Iterator[str]:
    """A virtual host of this test's own on the shared broker, empty at its start; gives its name."""
    name = f"{re.sub(r'[^a-z0-9_]+', '-', request.node.name.lower())[:60]}-{uuid.uuid4().hex[:8]}"
    broker.add_vhost(name)
    yield name
    if not broker.running:
        broker.start()  # for the tests that follow
        pytest.fail("this test ended the broker that all tests share: it should ask for own_broker")
    broker.delete_vhost(name)


@pytest.fixture
def vhost_url(broker: Rabbit, vhost: str) -> str:
    """The amqp:// URL of this test's own virtual host."""
    return broker.url(vhost)


@pytest.fixture
def record_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the records of this test's tasks, which find it in the environment (`Record.from_environment()`)."""
    folder = tmp_path / "records"
    folder.mkdir()
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return folder
