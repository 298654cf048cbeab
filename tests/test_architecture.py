"""The shape of the house: imports point downward only, in no circle, and every module says what it is for."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.support.architecture import Architecture, read_sources

ROOT = Path(__file__).parents[1]
LAYERS = [["app"], ["publish", "consume"], ["wire"]]


@pytest.fixture(scope="module")
def amqtask() -> Architecture:
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["house"]["layers"]
    return Architecture(read_sources(ROOT / "amqtask"), layers)


def test_imports_point_downward(amqtask: Architecture) -> None:
    assert amqtask.imports["amqtask.errors"] == set()
    assert any(amqtask.imports.values()), "the reader finds no import at all"
    assert amqtask.wrong_way() == []


def test_imports_run_in_no_circle(amqtask: Architecture) -> None:
    assert amqtask.cycles() == []


def test_every_part_stands_in_a_layer(amqtask: Architecture) -> None:
    assert amqtask.homeless() == []


def test_every_module_says_what_it_is_for(amqtask: Architecture) -> None:
    assert amqtask.undocumented() == []


def test_pika_is_used_in_one_place(amqtask: Architecture) -> None:
    assert amqtask.importers_of("pika") <= {"transport"}


# The same checks on a house built wrong: each must be seen.


def house(**more: str) -> Architecture:
    sound = {
        "h": '"""The whole."""\nfrom h.app import App',
        "h.app": '"""The app."""\nfrom h.publish.outbox import Outbox\nimport h.wire',
        "h.publish": '"""Publishing."""',
        "h.publish.outbox": '"""The outbox."""\nfrom ..wire import message\nfrom . import confirm',
        "h.publish.confirm": '"""Confirms."""',
        "h.consume": '"""Consuming."""',
        "h.wire": '"""Wire."""',
        "h.wire.message": '"""Messages."""',
    }
    return Architecture({**sound, **{name.replace("_", "."): source for name, source in more.items()}}, LAYERS)


def test_a_sound_house_has_nothing_wrong() -> None:
    sound = house()
    assert (sound.wrong_way(), sound.cycles(), sound.homeless(), sound.undocumented()) == ([], [], [], [])
    assert sound.imports["h.publish.outbox"] == {"h.wire.message", "h.publish.confirm"}
    assert sound.imports["h.app"] == {"h.publish.outbox", "h.wire"}


@pytest.mark.parametrize(
    "source",
    [
        "from h.publish import outbox",
        "import h.publish.outbox",
        "from ..publish.outbox import Outbox",
        "def later():\n    from h.publish.outbox import Outbox",
        "if TYPE_CHECKING:\n    import typing\nelse:\n    import h.publish.outbox",
        "import importlib\nimportlib.import_module('h.publish.outbox')",
        "try:\n    import h.publish.outbox\nexcept ImportError:\n    pass",
    ],
)
def test_an_upward_import_is_seen(source: str) -> None:
    assert house(h_wire_message=source).wrong_way() == ["h.wire.message -> h.publish.outbox"]


def test_a_sideways_import_is_seen() -> None:
    assert house(h_consume="import h.publish").wrong_way() == ["h.consume -> h.publish"]


def test_an_import_for_types_only_is_none() -> None:
    assert house(h_wire_message="if TYPE_CHECKING:\n    from h.publish import outbox").wrong_way() == []


def test_a_circle_is_seen() -> None:
    found = house(h_wire="from h.wire import frame", h_wire_frame="def f():\n    import h.wire").cycles()
    assert found == [["h.wire", "h.wire.frame"]]


def test_an_import_of_the_whole_from_its_own_part_is_a_circle() -> None:
    assert house(h_wire="from h import App").cycles() == [["h", "h.app", "h.wire"]]


def test_a_part_without_a_layer_is_seen() -> None:
    assert house(h_extra='"""Something more."""').homeless() == ["extra"]


def test_a_module_without_a_docstring_is_seen() -> None:
    assert house(h_wire_frame="x = 1").undocumented() == ["h.wire.frame"]


def test_a_library_used_elsewhere_is_seen() -> None:
    assert house(h_app="import pika.adapters", h_wire="def f():\n    from pika import spec").importers_of("pika") == {
        "app",
        "wire",
    }
