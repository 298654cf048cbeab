"""What stands between a topology and a broker, and in which order it is carried out."""

from __future__ import annotations

import pytest

from amqtask.errors import AmqtaskError, BrokerError, TopologyConflict, TopologyUnsupported
from amqtask.provision.apply import Allowed, apply
from amqtask.provision.live import Live, QueueCounts, queue_from
from amqtask.provision.management import Management
from amqtask.provision.plan import Plan, plan
from amqtask.settings import Settings
from amqtask.topology.model import Binding, Exchange, Policy, Queue, Topology

DECLARED: dict[str, object] = {
    "exchanges": {"files": {"type": "topic"}},
    "queues": {"text": {"exchange": "files", "routing_key": "text.#", "max_length": 5}},
}


def topology(**values: object) -> Topology:
    return Topology.from_settings(Settings.model_validate({**DECLARED, **values}))


def as_live(made: Topology, **changes: object) -> Live:
    parts: dict[str, object] = {
        "exchanges": dict(made.exchanges),
        "queues": dict(made.queues),
        "bindings": {binding: f"key{number}" for number, binding in enumerate(made.bindings)},
        "policies": dict(made.policies),
        "counts": {name: QueueCounts() for name in made.queues},
    }
    return Live("/", "3.10.8", **{**parts, **changes})  # type: ignore[arg-type]


def shown(made: Plan) -> list[str]:
    return [f"{change.action} {change.kind} {change.name}" for change in made.changes if change.action != "unchanged"]


def test_k05_an_empty_broker_lacks_everything() -> None:
    made = plan(topology(), Live("/", "3.10.8"))
    assert shown(made) == [
        "create exchange files",
        "create queue text.dlq",
        "create queue text",
        "create binding exchange 'files' -> queue 'text' by 'text.#'",
        "create policy amqtask.text",
    ]
    assert made.drift


def test_k05_a_broker_that_is_as_declared_has_no_drift() -> None:
    made = plan(topology(), as_live(topology()))
    assert shown(made) == []
    assert not made.drift


def test_k05_one_changed_argument_is_one_conflict_with_its_two_values() -> None:
    wanted = topology()
    there = as_live(wanted, counts={"text": QueueCounts(ready=3, unacked=1, consumers=2)})
    there.queues["text"] = Queue("text", arguments={"x-max-length": 9})  # type: ignore[index]
    made = plan(wanted, there)
    (change,) = made.of("conflict")
    assert change.differences == {"x-max-length": (5, 9)}
    assert list(change.lines()) == [
        "max_length (x-max-length): declared 5, live 9",
        "it holds 4 messages and has 2 consumers",
    ]
    assert made.drift


def test_k05_what_a_4_x_broker_writes_into_classic_queues_is_no_difference() -> None:
    row = {"name": "q", "durable": True, "auto_delete": False, "arguments": {"x-queue-type": "classic"}}
    assert queue_from(row) == Queue("q")


def test_k05_a_queue_of_the_virtual_hosts_default_type_is_no_difference() -> None:
    wanted = topology()
    there = as_live(wanted)
    there.queues["text.dlq"] = Queue("text.dlq", arguments={"x-queue-type": "quorum"})  # type: ignore[index]
    assert plan(wanted, there).of("conflict")
    by_default = as_live(wanted, queues=there.queues, default_queue_type="quorum")
    (change,) = plan(wanted, by_default).of("conflict")
    assert change.name == "text", "the classic one is the odd one there"


def test_k05_extras_are_told_and_only_bindings_and_our_policies_are_drift() -> None:
    wanted = topology()
    there = as_live(
        wanted,
        exchanges={**wanted.exchanges, "theirs": Exchange("theirs")},
        queues={
            **wanted.queues,
            "theirs": Queue("theirs"),
            "amq.gen-1": Queue("amq.gen-1"),
            "mine": Queue("mine", exclusive=True),
        },
    )
    made = plan(wanted, there)
    assert shown(made) == ["extra queue theirs", "extra exchange theirs"]
    assert not made.drift
    bound = {**there.bindings, Binding("theirs", "text"): "k", Binding("theirs", "theirs"): "k"}
    ours = {**wanted.policies, "amqtask.gone": Policy("amqtask.gone", "^gone$"), "ha": Policy("ha", ".*")}
    made = plan(wanted, as_live(wanted, bindings=bound, policies=ours))
    assert shown(made) == ["extra binding exchange 'theirs' -> queue 'text' by ''", "extra policy amqtask.gone"]
    assert made.drift


def test_k04_a_policy_that_differs_is_replaced_and_one_that_is_outdone_is_told() -> None:
    wanted = topology()
    old = Policy("amqtask.text", "^text$", {"max-length": 1}, priority=1)
    made = plan(wanted, as_live(wanted, policies={"amqtask.text": old}, policy_of={"text": "ha"}))
    (change,) = made.of("update")
    assert change.differences == {
        "dead-letter-exchange": ("", None),
        "dead-letter-routing-key": ("text.dlq", None),
        "max-length": (None, 1),
    }
    assert change.note == "policy 'ha' is applied to queue 'text' instead: it has a higher priority"


def test_an_exclusive_queue_is_left_to_its_connection() -> None:
    wanted = topology(queues={"mine": {"exclusive": True}})
    assert plan(wanted, Live("/", "3.10.8")).of("create") == (
        *[change for change in plan(wanted, Live("/", "3.10.8")).changes if change.kind == "exchange"],
    )


class Recorder(Management):
    """Stands in for the API: writes down what is asked of it."""

    def __init__(self, *, failing: dict[str, BrokerError] | None = None, rows: dict[str, object] | None = None) -> None:
        super().__init__(())
        self.calls: list[str] = []
        self._failing = failing or {}
        self._rows = rows or {}

    def _call(self, method: str, path: object, body: object, query: str = "", *, missing_ok: bool = False) -> object:
        words = " ".join(path)  # type: ignore[call-overload]
        if method == "GET":
            return self._rows.get(words)
        self.calls.append(f"{method} {words}{'?' + query if query else ''}")
        for part, error in self._failing.items():
            if part in words:
                raise error
        return None


def test_k05_apply_makes_in_an_order_without_voids() -> None:
    api = Recorder()
    applied = apply(plan(topology(), Live("/", "3.10.8")), api)
    assert api.calls == [
        "PUT exchanges / files",
        "PUT policies / amqtask.text",
        "PUT queues / text.dlq",
        "PUT queues / text",
        "POST bindings / e files q text",
    ]
    assert len(applied.done) == 5


def drifted() -> Plan:
    wanted = topology()
    there = as_live(
        wanted,
        exchanges={**wanted.exchanges, "theirs": Exchange("theirs")},
        queues={
            **wanted.queues,
            "text": Queue("text", arguments={"x-max-length": 9}),
            "theirs": Queue("theirs", arguments={"x-queue-type": "quorum"}),
        },
        bindings={Binding("files", "text", "queue", "text.#"): "text.%23", Binding("theirs", "text"): "~"},
    )
    return plan(wanted, there)


def test_k05_apply_destroys_nothing_without_being_told() -> None:
    api = Recorder()
    applied = apply(drifted(), api)
    assert api.calls == []
    assert [change.action for change in applied.left] == ["conflict", "extra", "extra", "extra"]


def test_k05_unbind_takes_bindings_only() -> None:
    api = Recorder()
    apply(drifted(), api, allowed=Allowed(unbind=True))
    assert api.calls == ["DELETE bindings / e theirs q text ~"]


def test_k05_recreate_binds_again_what_was_bound() -> None:
    api = Recorder()
    apply(drifted(), api, allowed=Allowed(recreate=True))
    assert api.calls == [
        "DELETE queues / text?if-empty=true&if-unused=true",
        "PUT queues / text",
        "POST bindings / e files q text",
        "POST bindings / e theirs q text",
    ]
    api = Recorder()
    apply(drifted(), api, allowed=Allowed(recreate=True, unbind=True))
    assert "POST bindings / e theirs q text" not in api.calls


def test_k05_a_queue_that_holds_messages_is_kept() -> None:
    api = Recorder(rows={"queues / theirs": {"messages": 3}, "queues / text": {"messages": 0, "consumers": 1}})
    applied = apply(drifted(), api, allowed=Allowed(recreate=True, delete=True))
    assert [change.name for change, _ in applied.failed] == ["text", "theirs"]
    assert all(isinstance(error, TopologyConflict) for _, error in applied.failed)
    assert "it holds 3 messages and has 0 consumers" in str(applied.failed[1][1])
    assert not any("queues" in call for call in api.calls)
    apply(drifted(), api, allowed=Allowed(recreate=True, delete=True, discard_messages=True))
    assert "DELETE queues / theirs" in api.calls


def test_pain_15_one_failure_does_not_keep_the_others_from_being_made() -> None:
    text = "400: inequivalent arg 'x-max-length' for queue 'text' in vhost '/': received '5' but current is '4'"
    errors = {"queues / text.dlq": BrokerError("no", code=500), "queues / text": BrokerError(text, code=400)}
    api = Recorder(failing=errors)
    applied = apply(plan(topology(), Live("/", "3.10.8")), api)
    assert applied.done[0].name == "files"
    assert [change.name for change, _ in applied.failed] == ["text.dlq", "text"]
    conflict: AmqtaskError = applied.failed[1][1]
    assert isinstance(conflict, TopologyConflict)
    assert conflict.differences == {"x-max-length": (5, 4)}


def test_k02_what_this_broker_would_silently_ignore_is_not_sent_to_it() -> None:
    wanted = topology(queues={"q": {"type": "quorum", "delivery_limit": -1}})
    made = plan(wanted, Live("/", "3.10.8"))
    assert [type(fault) for fault in made.faults] == [TopologyUnsupported]
    api = Recorder()
    with pytest.raises(TopologyUnsupported, match=r"needs RabbitMQ 4\.0"):
        apply(made, api)
    assert api.calls == []
    assert plan(wanted, Live("/", "4.0.5")).faults == ()
