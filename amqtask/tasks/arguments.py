"""Checks the arguments of a call against the function's signature before anything is sent."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence

from amqtask.errors import TaskError

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class ArgumentCheck:
    """A function's signature, `bound` without its first parameter.

    A call by position alone, which most are, is checked by counting; any other by `inspect.Signature.bind`.
    """

    __slots__ = ("_least", "_most", "_task", "signature")

    def __init__(self, task: str, function: Callable[..., object], *, bound: bool) -> None:
        self._task = task
        self.signature = inspect.signature(function)
        parameters = list(self.signature.parameters.values())
        if bound:
            if not parameters or parameters[0].kind not in (*_POSITIONAL, inspect.Parameter.VAR_POSITIONAL):
                raise TaskError(f"task {task!r} has bind=True: its function must take the task as first argument")
            if parameters[0].kind in _POSITIONAL:
                del parameters[0]
                self.signature = self.signature.replace(parameters=parameters)
        by_position = [p for p in parameters if p.kind in _POSITIONAL]
        needed_by_name = [
            p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY and p.default is inspect.Parameter.empty
        ]
        endless = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
        # With a parameter that must be named, no call by position alone is right: bind says which.
        self._least = -1 if needed_by_name else sum(p.default is inspect.Parameter.empty for p in by_position)
        self._most = -2 if needed_by_name else 1 << 30 if endless else len(by_position)

    def check(self, args: Sequence[object], kwargs: Mapping[str, object] | None) -> None:
        """Raise TaskError, naming the task and the problem, when the function cannot be called so."""
        if not kwargs and self._least <= len(args) <= self._most:
            return
        try:
            self.signature.bind(*args, **(kwargs or {}))
        except TypeError as error:
            raise TaskError(f"{self._task}{self.signature}: {error}") from None
