"""The reference of all settings, made from the models: a Markdown page and a commented configuration file.

Both are kept in the repository and a test compares them with what this makes, so they cannot go stale.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from amqtask.settings.celery_table import HOLDS, LATER, MAPPED, NEVER, SPECIAL
from amqtask.settings.environ import variable_of
from amqtask.settings.models import ExchangeBinding, QueueBinding, RouteSettings, Settings
from amqtask.settings.schema import Kind, Model, Path, dotted, place_of_field

_LISTED: Mapping[str, Model] = {  # the tables that stand in lists: (table's heading: model)
    "exchanges.NAME.bindings": ExchangeBinding,
    "queues.NAME.bindings": QueueBinding,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One setting of the reference. `default` is TOML, or a word in parentheses where TOML has no value for it."""

    path: Path
    kind: str
    default: str
    text: str

    @property
    def key(self) -> str:
        """The key inside its table."""
        return self.path[-1]


@dataclass(frozen=True, slots=True)
class Group:
    """One table of the configuration: its heading as TOML writes it, what it is, and its settings."""

    heading: str
    text: str
    rows: tuple[Row, ...]


def groups() -> list[Group]:
    """Every table, in the order of the models."""
    return list(_groups(Settings, ()))


def _groups(model: Model, path: Path) -> Iterator[Group]:
    texts = docstrings(model)
    rows: list[Row] = []
    below: list[Group] = []
    for name, field in model.model_fields.items():
        place = place_of_field(field)
        if place.kind is Kind.SECTION and place.model is not None:
            below += _groups(place.model, (*path, name))
        elif place.kind is Kind.NAMED and place.model is not None:
            below += _groups(place.model, (*path, name, "NAME"))
        elif (*path, name) == ("routes",):
            below.append(_listed("[[routes]]", ("routes",), RouteSettings))
        else:
            rows.append(_row((*path, name), field, texts.get(name, "")))
    heading = f"[{'.'.join(path)}]" if path else ""
    yield Group(heading, _summary(model) if path else "", tuple(rows))
    yield from below
    for listed, inner in _LISTED.items():
        if listed.split(".")[:-1] == list(path):
            yield _listed(f"[[{listed}]]", tuple(listed.split(".")), inner)


def _listed(heading: str, path: Path, model: Model) -> Group:
    texts = docstrings(model)
    rows = tuple(_row((*path, name), field, texts.get(name, "")) for name, field in model.model_fields.items())
    return Group(heading, _summary(model), rows)


def _summary(model: Model) -> str:
    return (inspect.getdoc(model) or "").splitlines()[0]


def docstrings(model: Model) -> dict[str, str]:
    """The sentence below each field of a model, from its source."""
    tree = ast.parse(inspect.getsource(sys.modules[model.__module__]))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == model.__name__)
    found: dict[str, str] = {}
    for field, text in itertools.pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        ):
            found[field.target.id] = " ".join(text.value.value.split())
    return found


def _row(path: Path, field: FieldInfo, text: str) -> Row:
    return Row(path, kind_words(field), _default(path, field), text)


def _default(path: Path, field: FieldInfo) -> str:
    if path[-1] == "concurrency" and path[0] == "pools":
        return "(number of CPUs)"
    if field.is_required():
        return "(needed)"
    value = field.get_default(call_default_factory=True)
    return "(unset)" if value is None else toml_value(value)


def toml_value(value: object) -> str:
    """A value as TOML writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return f"{value:_}" if value >= 10_000 else str(value)
        case float():
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list() | tuple():
            return f"[{', '.join(toml_value(part) for part in value)}]"
        case dict():
            inner = ", ".join(f"{dotted((str(key),))} = {toml_value(part)}" for key, part in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case BaseModel():
            return toml_value(value.model_dump(exclude_unset=True))
        case None:
            return '"none"'
        case _:
            return json.dumps(str(value))


def kind_words(field: FieldInfo) -> str:
    """What may stand at a field, in words."""
    return _words(field.annotation, tuple(field.metadata))


def _words(annotation: object, metadata: tuple[object, ...]) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    inner = getattr(annotation, "__metadata__", None)
    if inner is not None:
        flat = [one for item in inner for one in (item.metadata if isinstance(item, FieldInfo) else (item,))]
        return _words(args[0], (*flat, *metadata))
    if origin is Literal:
        return _either([toml_value(arg) for arg in args])
    if origin is tuple:
        if isinstance(args[0], type) and issubclass(args[0], BaseModel):
            return "list of tables"
        return f"list of {_words(args[0], ())}"
    if origin is dict:
        return "table"
    if args and origin is not None:
        return _either(list(dict.fromkeys(_words(arg, metadata) for arg in args if arg is not NoneType)))
    words = {str: "text", bool: "true or false", int: "whole number", float: "number"}
    base = words.get(annotation if isinstance(annotation, type) else object, str(annotation))
    return base + _bounds(metadata)


def _either(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


def _bounds(metadata: tuple[object, ...]) -> str:
    low = next((one.ge for one in metadata if isinstance(one, Ge)), None)
    above = next((one.gt for one in metadata if isinstance(one, Gt)), None)
    high = next((one.le for one in metadata if isinstance(one, Le)), None)
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f", {low} or more"
    return f" above {above}" if above is not None else ""


def as_toml() -> str:
    """The configuration file with every setting in it, commented out, at its default."""
    lines = [
        "# amqtask: every setting, commented out, at its default. Made from the models by",
        "# `amqtask config reference --toml`. What a value means is docs/reference/settings.md at more length.",
        "#",
        "# A file is looked for as --config, AMQTASK_CONFIG, ./amqtask.toml, ./config/amqtask.toml,",
        "# ~/.config/amqtask/amqtask.toml and /etc/amqtask/amqtask.toml; the first that exists is read.",
        "# Every key can be given as a variable, too: broker.url is AMQTASK_BROKER__URL, and AMQTASK_BROKER__URL_FILE",
        "# names a file that holds the value. `amqtask config show --origin` prints what holds, and why.",
    ]
    for group in groups():
        named = "NAME" in group.heading or group.heading.startswith("[[")
        lines.append("")
        if group.heading:
            lines += [f"# {group.text}", f"# {group.heading}" if named else group.heading]
        for row in group.rows:
            lines += _comment(f"{row.text} ({row.kind})")
            lines.append(
                f"# {row.key} = {row.default}"
                if not row.default.startswith("(")
                else f"# {row.key} is {row.default[1:-1]}"
            )
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    lines: list[str] = []
    line = "#:"
    for word in text.split():
        if len(line) + 1 + len(word) > 118:
            lines.append(line)
            line = "#:"
        line += f" {word}"
    return [*lines, line]


def as_markdown() -> str:
    """The reference page."""
    parts = [_HEAD]
    for group in groups():
        title = f"`{group.heading}`" if group.heading else "At the top"
        parts.append(f"\n## {title}\n")
        if group.text:
            parts.append(f"{group.text}\n")
        parts += ["| key | what it takes | default | meaning |", "|---|---|---|---|"]
        for row in group.rows:
            default = row.default[1:-1] if row.default.startswith("(") else f"`{row.default}`"
            parts.append(f"| `{row.key}` | {_cell(_ticked(row.kind))} | {_cell(default)} | {_cell(row.text)} |")
    parts.append(_celery_part())
    return "\n".join(parts) + "\n"


def _ticked(kind: str) -> str:
    return re.sub(r'"[^"]*"', lambda word: f"`{word[0]}`", kind)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _celery_part() -> str:
    parts = [_CELERY_HEAD, "| Celery | here |", "|---|---|"]
    ours: dict[str, str] = {name: key for name, (key, _) in MAPPED.items()} | dict(SPECIAL)
    parts += [f"| `{name}` | `{ours[name]}` |" for name in sorted(ours)]
    parts += ["\n### What holds anyway\n", "| Celery | accepted | what holds |", "|---|---|---|"]
    for name in sorted(HOLDS):
        values, text = HOLDS[name]
        shown = ", ".join(f"`{value!r}`" for value in values) if len(values) < 10 else f"`{values[0]}` and more"
        parts.append(f"| `{name}` | {_cell(shown)} | {_cell(text)} |")
    parts += ["\n### What means nothing here\n", "| Celery | why |", "|---|---|"]
    parts += [f"| `{name}` | {_cell(NEVER[name])} |" for name in sorted(NEVER)]
    parts += ["\n### What this version does not have\n", "| not yet | Celery's settings |", "|---|---|"]
    reasons = dict.fromkeys(LATER.values())
    for reason in reasons:
        names = ", ".join(f"`{name}`" for name in sorted(LATER) if LATER[name] == reason)
        parts.append(f"| {reason} | {names} |")
    return "\n".join(parts)


_HEAD = f"""# Settings

This page is made from the models by `amqtask config reference`; do not edit it.

Settings come from several sources; a stronger one overrides a weaker one value by value:

1. built-in defaults
2. Python: a module or object handed to the app, then `app.conf` and the arguments of `App(...)`
3. the configuration file, and the files that `topology.files` names
4. variables: `{variable_of(("broker", "url"))}` is `broker.url`; two underscores stand where a key has a dot
5. files that hold a value: `{variable_of(("broker", "url"))}_FILE` names a file with the broker's URL in it
6. the command line

The configuration file is the first that exists of `--config`, `AMQTASK_CONFIG`, `./amqtask.toml`,
`./config/amqtask.toml`, `~/.config/amqtask/amqtask.toml` and `/etc/amqtask/amqtask.toml`; one that is named and missing
is an error. Lists are replaced as a whole, except for routes: those of a stronger source come first, and the others
stay. Unknown keys, variables and names are errors. Where TOML or a variable has to say that an optional number, word or
path is not set, it says `none`. A variable gives a list or a table as JSON; a list of words may have commas instead.

`amqtask config show --origin` prints what holds and where it came from; `amqtask config check` prints every mistake
at once."""

_CELERY_HEAD = """
## Celery's settings

In Python settings, Celery's names work beside ours: the lower-case ones, the upper-case ones of Celery 3
(`CELERY_ACKS_LATE`, `CELERYD_CONCURRENCY`, `BROKER_URL`) and the form that Django projects write
(`CELERY_TASK_ACKS_LATE`), mixed as they come. Each leaves a note that `amqtask config check` prints. A setting given
twice in one source with two values is an error. What is refused is refused with its reason, unless its value asks for
nothing (`None`, `False`, `0`, empty).
"""
