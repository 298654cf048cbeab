"""Whatever stands in a source, reading it gives settings or a SettingsError that names it: never another exception."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from amqtask.errors import SettingsError
from amqtask.settings import Conf, Settings, load
from amqtask.settings.celery_names import new_names
from amqtask.settings.environ import known_variables
from amqtask.settings.reference import toml_value
from amqtask.settings.schema import default_leaves, dotted

words = st.sampled_from(
    ["queues", "exchanges", "pools", "routes", "queue", "task", "type", "bindings", "arguments", "a", "", " a", "a.b",
     "url", "max_length", "exchange", "files", "re:(", "*.toml", "/", "none", "amqp://u:geheim@h", "\x00", "[1", "{}"]
)  # fmt: skip
scalars = st.one_of(
    words, st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=3)
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3), st.tuples(inner, inner)
    ),
    max_leaves=8,
)
ours = st.one_of(
    st.sampled_from([*Settings.model_fields, *(dotted(path) for path, _ in default_leaves())]),
    st.tuples(st.sampled_from(["queues", "exchanges", "pools"]), words, words).map(".".join),
    words,
)
few = hypothesis_settings(
    max_examples=50, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def refusal(call: Callable[[], object]) -> SettingsError | None:
    """The error of ours that `call` raises, if it raises one; any other goes through."""
    try:
        call()
    except SettingsError as error:
        return error
    return None


def read(**sources: object) -> None:
    """Load, and look at what a refusal says."""
    error = refusal(lambda: load(**{"environ": {}, **sources}))  # type: ignore[arg-type]
    assert error is None or (error.problems and "geheim" not in str(error))


@few
@given(said=st.dictionaries(st.one_of(ours, st.sampled_from(sorted(new_names()))), values, max_size=4))
def test_python_may_hold_anything(said: dict[str, object]) -> None:
    read(python=said)
    error = refusal(lambda: Conf(said))
    assert error is None or (error.problems and "geheim" not in str(error))


@few
@given(said=st.dictionaries(ours, values, max_size=3))
def test_the_command_line_may_hold_anything(said: dict[str, object]) -> None:
    read(overrides=said)


@few
@given(
    said=st.dictionaries(
        st.one_of(
            st.sampled_from([*known_variables(), "AMQTASK_BROKER__URL_FILE", "AMQTASK_QUEUES__A__BINDINGS"]),
            st.lists(words, min_size=1, max_size=4).map(lambda parts: "AMQTASK_" + "__".join(parts).upper()),
        ),
        st.one_of(words, values.map(lambda value: json.dumps(value, default=str))),
        max_size=3,
    )
)
def test_the_environment_may_hold_anything(said: dict[str, str]) -> None:
    said.pop("AMQTASK_CONFIG", None)
    read(environ=said)


@few
@given(said=st.dictionaries(st.sampled_from(sorted(Settings.model_fields)), values, max_size=3))
def test_a_file_may_hold_anything(said: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("".join(f"{key} = {toml_value(value)}\n" for key, value in said.items()), encoding="utf-8")
    read(config_file=str(path))


@few
@given(text=st.text(max_size=40))
def test_a_file_need_not_be_toml(text: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    read(config_file=str(path))
