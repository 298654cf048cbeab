"""Where a message would go, told from the topology alone: the matching rules of AMQP's four exchange types.

Follows bindings among exchanges and alternate exchanges as the broker does. What a plugin's exchange type would do is
not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from amqtask.topology.model import Topology
from amqtask.topology.values import Binding, Exchange

_KNOWN_TYPES = frozenset({"direct", "topic", "fanout", "headers"})


def queues_reached(
    topology: Topology, exchange: str, routing_key: str, *, headers: Mapping[str, object] | None = None
) -> frozenset[str] | None:
    """The queues that one message published there ends in, each getting one copy however many bindings match.

    None when an exchange on the way is of a plugin's type, or of type headers and no `headers` are given: then only
    the broker knows. Raises TopologyError for an exchange that is not declared.
    """
    reached: set[str] = set()
    seen: set[str] = set()
    ahead = [exchange]
    while ahead:
        name = ahead.pop()
        if name in seen:
            continue
        seen.add(name)
        if name == "":
            reached |= {routing_key} & set(topology.queues)
            continue
        here = topology.require_exchange(name)
        if here.type not in _KNOWN_TYPES or (here.type == "headers" and headers is None):
            return None
        matched = [b for b in topology.bindings if b.source == name and matches(here, b, routing_key, headers or {})]
        reached |= {b.destination for b in matched if b.destination_type == "queue"}
        ahead += [b.destination for b in matched if b.destination_type == "exchange"]
        # Only when no binding matches here, wherever those that match lead to.
        if not matched and here.alternate is not None:
            ahead.append(here.alternate)
    return frozenset(reached)


def matches(source: Exchange, binding: Binding, routing_key: str, headers: Mapping[str, object]) -> bool:
    """Whether `source`, of one of AMQP's four types, sends a message through `binding`."""
    match source.type:
        case "fanout":
            return True
        case "topic":
            return topic_matches(binding.routing_key, routing_key)
        case "headers":
            return headers_match(binding.arguments, headers)
        case _:
            return binding.routing_key == routing_key


def topic_matches(pattern: str, routing_key: str) -> bool:
    """Whether a topic binding's `pattern` takes `routing_key`: `*` is one word, `#` any number of words, also none."""
    return _topic(_words(pattern), _words(routing_key))


def _words(text: str) -> tuple[str, ...]:
    """The words of a pattern or key; an empty one has none, as in the broker."""
    return tuple(text.split(".")) if text else ()


def _topic(pattern: Sequence[str], words: Sequence[str]) -> bool:
    # One row of the usual table: `here[i]` says whether the pattern so far takes the first i words.
    here = [True, *([False] * len(words))]
    for part in pattern:
        if part == "#":
            for i in range(1, len(here)):
                here[i] = here[i] or here[i - 1]
        else:
            here = [False, *(here[i] and part in ("*", words[i]) for i in range(len(words)))]
    return here[-1]


def patterns_overlap(one: str, other: str) -> bool:
    """Whether some routing key is taken by both topic patterns."""
    return _overlap(_words(one), _words(other), {})


def _overlap(
    one: tuple[str, ...], other: tuple[str, ...], known: dict[tuple[tuple[str, ...], tuple[str, ...]], bool]
) -> bool:
    key = (one, other)
    if key not in known:
        if not one or not other:
            known[key] = all(part == "#" for part in (*one, *other))
        elif one[0] == "#":
            known[key] = _overlap(one[1:], other, known) or _overlap(one, other[1:], known)
        elif other[0] == "#":
            known[key] = _overlap(one, other[1:], known) or _overlap(one[1:], other, known)
        else:
            same = one[0] == other[0] or "*" in (one[0], other[0])
            known[key] = same and _overlap(one[1:], other[1:], known)
    return known[key]


def headers_match(arguments: Mapping[str, object], headers: Mapping[str, object]) -> bool:
    """Whether a headers binding takes a message with `headers`.

    `x-match` is `all` when absent. `all` and `any` leave names that begin with `x-` out, the forms with `-with-x` look
    at them too. A value of None asks only that the header is there.
    """
    form = str(arguments.get("x-match", "all"))
    with_x = form.endswith("-with-x")
    asked = {k: v for k, v in arguments.items() if k != "x-match" and (with_x or not k.startswith("x-"))}
    found = (name in headers and (value is None or headers[name] == value) for name, value in asked.items())
    return any(found) if form.startswith("any") else all(found)
