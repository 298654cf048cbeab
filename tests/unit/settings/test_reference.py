"""The generated reference: complete, true, and the same as what the repository holds."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from amqtask.settings import PoolSettings, QueueSettings
from amqtask.settings.masking import masked, masked_text
from amqtask.settings.reference import as_markdown, as_toml, docstrings, groups, toml_value
from amqtask.settings.schema import default_leaves, dotted, place_of, undotted
from tests.unit.settings.helpers import loaded

ROOT = Path(__file__).parents[3]


def test_the_reference_page_is_what_the_models_say() -> None:
    kept = (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
    assert kept == as_markdown(), "run: amqtask config reference > docs/reference/settings.md"


def test_the_commented_configuration_is_what_the_models_say() -> None:
    kept = (ROOT / "config/amqtask.toml").read_text(encoding="utf-8")
    assert kept == as_toml(), "run: amqtask config reference --toml > config/amqtask.toml"


def test_the_commented_configuration_sets_nothing() -> None:
    settings = loaded(config_file=str(ROOT / "config/amqtask.toml"))
    assert set(settings.origins.values()) == {"default"}


def test_what_is_commented_out_are_the_defaults() -> None:
    """Each table with its comments taken off gives the values that hold without a file."""
    checked = 0
    for block in as_toml().split("\n\n")[1:]:
        lines = [line for line in block.splitlines() if not line.startswith("#:")]
        keys = [line.removeprefix("# ") for line in lines if re.match(r"# \w+ = ", line)]
        heading = next((match[1] for line in lines if (match := re.match(r"(?:# )?\[+([\w.]+)\]+$", line))), "")
        content = tomllib.loads("\n".join(keys))
        place = place_of(undotted(heading))
        if place.model is not None and content:
            needed = {name: ["q"] for name, field in place.model.model_fields.items() if field.is_required()}
            assert place.model.model_validate({**needed, **content}) == place.model.model_validate(needed)
            checked += 1
    assert checked == 10


def test_every_setting_is_in_both_with_a_sentence() -> None:
    rows = [row for group in groups() for row in group.rows]
    assert all(row.text.endswith(".") and row.kind for row in rows)
    assert {dotted(row.path) for row in rows} >= {dotted(path) for path, _ in default_leaves()} - {"routes"}
    assert set(docstrings(QueueSettings)) == set(QueueSettings.model_fields)
    text = as_toml()
    assert all(f"# {name} " in text for name in (*PoolSettings.model_fields, *QueueSettings.model_fields))


@pytest.mark.parametrize(
    "value", [True, 3, 10_000, 2.5, "a \"quote\" and ü", ["a", 1], {"x-match": "all", "k": {"a": [1]}}, {}, []]
)  # fmt: skip
def test_values_are_written_as_toml_reads_them(value: object) -> None:
    assert tomllib.loads(f"value = {toml_value(value)}")["value"] == value


@pytest.mark.parametrize("path", [("queues", "a.b", "type"), ("queues", 'a"b\\c', "type"), ("broker", "url")])
def test_a_key_is_read_as_it_is_written(path: tuple[str, ...]) -> None:
    assert undotted(dotted(path)) == path
    assert undotted("queues.file.text.type") == ("queues", "file.text", "type")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("amqp://u:p@h/v", "amqp://u:**@h/v"),
        ("amqp://u:p@ss:w@h:1/v;amqps://x:y@z", "amqp://u:**@h:1/v;amqps://x:**@z"),
        ("amqp://u@h/v", "amqp://u@h/v"),
        ("amqp://h/v", "amqp://h/v"),
        ("amqp://:p@h", "amqp://:**@h"),
        ("https://h/?password=geheim&a=1", "https://h/?password=**&a=1"),
        ("no address: a:b@c", "no address: a:b@c"),
    ],
)
def test_passwords_are_masked(text: str, shown: str) -> None:
    assert masked_text(text) == shown


def test_secrets_are_masked_however_deep() -> None:
    assert masked({"a": [{"password": "x", "url": "amqp://u:p@h"}], "n": 1}) == {
        "a": [{"password": "**", "url": "amqp://u:**@h"}],
        "n": 1,
    }
