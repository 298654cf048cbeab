"""What tests of publishing share: settings for a broker, messages that name themselves, a publisher that is closed."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping

from amqtask.publish.publisher import Publisher
from amqtask.settings import Settings, load
from amqtask.topology.model import Topology
from amqtask.wire.content import encode_properties
from amqtask.wire.message import Encoded, Properties


def settings_for(url: str | list[str], **sections: Mapping[str, object]) -> Settings:
    """Settings with that broker and nothing from the environment: `publish={"deadline_s": 1}`, `broker={...}`."""
    overrides: dict[str, object] = {name.rstrip("_"): dict(values) for name, values in sections.items()}
    overrides["broker"] = {"url": url, **sections.get("broker", {})}
    return load(environ={}, overrides=overrides)


def message(body: bytes = b"body", **properties: object) -> Encoded:
    """A persistent message with an id of its own, also as its correlation id."""
    name = str(uuid.uuid4())
    given = Properties(correlation_id=name, **properties)  # type: ignore[arg-type]
    return Encoded(id=name, properties=encode_properties(given, {"id": name}), body=body)


@contextlib.contextmanager
def publishing(
    url: str | list[str], *, topology: Topology | None = None, **sections: Mapping[str, object]
) -> Iterator[Publisher]:
    """A publisher that is closed at the end, without waiting for what is under way."""
    publisher = Publisher(settings_for(url, **sections), topology=topology)
    try:
        yield publisher
    finally:
        publisher.close(timeout_s=0)
