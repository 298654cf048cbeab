"""Definitions files: what is exported comes back as the same topology."""

from __future__ import annotations

import json
import tomllib

import pytest

from amqtask.errors import SettingsError
from amqtask.provision.definitions import as_toml, export_definitions, import_definitions
from amqtask.settings import Settings
from amqtask.topology.model import Topology

RICH: dict[str, object] = {
    "exchanges": {
        "in": {"type": "topic", "alternate_exchange": "rest", "arguments": {"x-own": "ü\n"}},
        "rest": {"type": "fanout", "durable": False, "auto_delete": True},
        "meta": {"type": "headers", "internal": True, "bindings": [{"source": "in", "routing_key": "meta.#"}]},
        "amq.topic": {"type": "topic", "bindings": [{"source": "in", "routing_key": "copy"}]},
    },
    "queues": {
        "text": {"bindings": [{"exchange": "in", "routing_key": key} for key in ("text.*", "t")], "message_ttl_s": 1.5},
        "file.big": {"bindings": [{"exchange": "meta", "arguments": {"x-match": "any", "size": "big", "n": 5}}]},
        "safe": {
            "type": "quorum",
            "delivery_limit": 20,
            "overflow": "reject-publish",
            "dead_letter_exchange": "rest",
            "dead_letter_strategy": "at-least-once",
            "policy": {"max-length": 100},
        },
        "log": {"type": "stream", "max_age": "7D"},
        "off": {"dead_letter": False, "expires_s": 60, "arguments": {"x-max-length": 0}},
        "text.dlq": {"message_ttl_s": 3600},
        "mine": {"exclusive": True},
    },
}


def topology(values: dict[str, object]) -> Topology:
    return Topology.from_settings(Settings.model_validate(values))


def test_k04_a_topology_survives_the_way_out_and_in() -> None:
    before = topology(RICH)
    document = json.loads(json.dumps(export_definitions(before, "/")))
    text = as_toml(import_definitions(document))
    after = topology(tomllib.loads(text))
    assert dict(after.exchanges) == dict(before.exchanges)
    without = {name: queue for name, queue in before.queues.items() if name != "mine"}
    assert dict(after.queues) == without
    assert set(after.bindings) == set(before.bindings)
    assert dict(after.policies) == dict(before.policies)
    assert dict(after.dead_letters) == dict(before.dead_letters)


def test_k04_somebody_elses_queues_get_dead_letter_queues() -> None:
    tree = import_definitions({"queues": [{"name": "theirs", "vhost": "/", "durable": True, "arguments": {}}]})
    assert tree == {"exchanges": {}, "queues": {"theirs": {}}}
    assert topology(tree).dead_letter_queue("theirs") == "theirs.dlq"  # type: ignore[arg-type]


def test_k04_several_virtual_hosts_need_a_choice() -> None:
    document = {"queues": [{"name": "a", "vhost": "one"}, {"name": "b", "vhost": "two"}]}
    with pytest.raises(SettingsError, match=r"several virtual hosts \(one, two\): say which with --vhost"):
        import_definitions(document)
    assert set(import_definitions(document, vhost="two")["queues"]) == {"b"}


@pytest.mark.parametrize("document", [[], {}, {"users": []}, {"queues": 5}, {"queues": [{"durable": True}]}])
def test_what_is_no_definitions_document_is_said_to_be_none(document: object) -> None:
    with pytest.raises(SettingsError, match="is no definitions document"):
        import_definitions(document)


def test_a_null_cannot_be_written_as_toml() -> None:
    binding = {"source": "amq.headers", "destination": "q", "destination_type": "queue", "arguments": {"a": None}}
    tree = import_definitions({"queues": [{"name": "q"}], "bindings": [binding]})
    with pytest.raises(SettingsError, match=r"queues\.q\.bindings: has a null"):
        as_toml(tree)


def test_an_exchange_that_the_file_does_not_have_is_pointed_out() -> None:
    binding = {"source": "inner", "destination": "q", "destination_type": "queue", "routing_key": "k"}
    text = as_toml(import_definitions({"queues": [{"name": "q"}], "bindings": [binding]}))
    assert text.startswith("# Exchange 'inner' is bound here and is not in the file")
    assert tomllib.loads(text)["queues"]["q"]["bindings"] == [{"exchange": "inner", "routing_key": "k"}]
