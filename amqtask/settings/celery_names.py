"""Which Celery setting a name is: new names as they are, old upper-case ones and Django's CELERY_ form by rule."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from amqtask.settings.celery_table import HOLDS, INVENTED, LATER, MAPPED, NEVER, OLD, SPECIAL

_LOOKS_LIKE = re.compile(
    r"(task|worker|broker|result|beat|celery|celeryd|celerybeat|amqtask|event|control)_.+", re.IGNORECASE
)


@cache
def new_names() -> frozenset[str]:
    """Every Celery setting by its new name."""
    return frozenset({*MAPPED, *SPECIAL, *HOLDS, *NEVER, *LATER})


@cache
def _by_old_name() -> dict[str, str]:
    names = dict(OLD)
    for new in sorted(new_names()):
        for old in _old_forms(new):
            names.setdefault(old, new)
    return names


def _old_forms(new: str) -> Iterator[str]:
    """The upper-case names of a setting: what Celery 3 called it, and what Django projects write."""
    group, _, rest = new.partition("_")
    yield f"CELERY_{new.upper()}"
    match group:
        case "task":
            yield f"CELERY_{rest.upper()}"
        case "worker":
            yield f"CELERYD_{rest.upper()}"
            yield f"CELERY_{rest.upper()}"
        case "beat":
            yield f"CELERYBEAT_{rest.upper()}"
        case "broker":
            yield new.upper()
        case _:
            # Other groups kept their word: CELERY_RESULT_BACKEND is covered by the first form.
            return


def canonical(name: str) -> str | None:
    """The new name of the Celery setting that `name` is, or None when it is none."""
    return name if name in new_names() else _by_old_name().get(name)


def all_names() -> tuple[str, ...]:
    """Every name that is understood, to find the nearest in."""
    return (*new_names(), *_by_old_name())


def invented(name: str) -> str | None:
    """What to do instead, for a name that people take for a Celery setting."""
    if name.lower() in INVENTED:
        return INVENTED[name.lower()]
    short = re.sub(r"^celery_", "", name.lower())
    return INVENTED.get(short) or INVENTED.get(f"task_{short}")


def looks_like_setting(name: str) -> bool:
    """Whether a variable's name says that it is meant for a task system."""
    return _LOOKS_LIKE.fullmatch(name) is not None
