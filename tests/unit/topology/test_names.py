"""Names of queues, and the lists of them that a command line holds."""

from __future__ import annotations

import pytest

from amqtask.errors import SettingsError
from amqtask.topology.names import check_name, join_queue_words, parse_queue_list


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (("a",), ("a",)),
        (("a,b",), ("a", "b")),
        (("a, b",), ("a", "b")),
        (("a, b,",), ("a", "b")),
        ((" a ,, b , ",), ("a", "b")),
        (("a", "b,a"), ("a", "b")),
        (("with blank inside",), ("with blank inside",)),
    ],
)
def test_c02_a_list_of_queues_is_trimmed(texts: tuple[str, ...], names: tuple[str, ...]) -> None:
    assert parse_queue_list(*texts) == names


@pytest.mark.parametrize("text", ["", ",", " , "])
def test_c02_a_list_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="-Q: names no queue"):
        parse_queue_list(text)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["worker", "-Q", "a,", "b", "-c", "2"], ["worker", "-Q", "a,b", "-c", "2"]),
        (["-Q", "a,", "b,", "c"], ["-Q", "a,b,c"]),
        (["-Qa,", "b"], ["-Qa,b"]),
        (["--queues=a,", "b"], ["--queues=a,b"]),
        (["--queues", "a,", "-c", "2"], ["--queues", "a,", "-c", "2"]),
        (["-A", "app,", "b"], ["-A", "app,", "b"]),
        (["-Q", "a", "b"], ["-Q", "a", "b"]),
    ],
)
def test_c02_a_trailing_comma_joins_the_next_word(given: list[str], meant: list[str]) -> None:
    assert join_queue_words(given) == meant


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "needs a name"),
        (" b", "blank at its edge"),
        ("b ", "blank at its edge"),
        ("a\nb", "control character"),
        ("é" * 128, "longer than 255 bytes"),
        ("amq.gen-x", "keeps names"),
    ],
)
def test_names_that_no_queue_should_have_are_refused(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        check_name(name)
