"""Names of queues and exchanges: what is a good one, and how a command line's list of them is read."""

from __future__ import annotations

from collections.abc import Sequence

from amqtask.errors import SettingsError

MAX_NAME_BYTES = 255  # AMQP's short string


def check_name(name: str, *, kind: str = "queue", where: str | None = None) -> str:
    """`name` as it is, or SettingsError when no queue or exchange should be called that.

    Refused: an empty name, blanks at an edge, control characters, more than 255 bytes in UTF-8, and `amq.`, which
    the broker keeps for itself (AMQP 0-9-1, queue.declare and exchange.declare, rule "reserved").
    """
    if not name:
        raise SettingsError(f"a {kind} needs a name", where=where)
    if name != name.strip():
        raise SettingsError(f"{kind} name {name!r} has a blank at its edge; take it off", where=where)
    if any(ord(char) < 32 or ord(char) == 127 for char in name):
        raise SettingsError(f"{kind} name {name!r} has a control character", where=where)
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise SettingsError(f"{kind} name {name[:40]!r}... is longer than {MAX_NAME_BYTES} bytes", where=where)
    if name.startswith("amq."):
        raise SettingsError(
            f"{kind} name {name!r}: the broker keeps names that begin with 'amq.' for itself", where=where
        )
    return name


def parse_queue_list(*texts: str) -> tuple[str, ...]:
    """The queue names of one or several `-Q` values: split at commas, trimmed, in order, each once.

    A trailing comma says nothing. Raises SettingsError when no name is left or one is not a good name.
    """
    names = [part.strip() for text in texts for part in text.split(",")]
    found = tuple(dict.fromkeys(check_name(name, where="-Q") for name in names if name))
    if not found:
        raise SettingsError("names no queue", where="-Q")
    return found


def join_queue_words(args: Sequence[str], *, options: Sequence[str] = ("-Q", "--queues")) -> list[str]:
    """A command line in which `-Q a, b` is one option with one value, as whoever typed it meant.

    The shell cuts at the blank; a value that ends in a comma takes the next word to itself, unless that is an option.
    """
    joined: list[str] = []
    open_list = False
    for position, word in enumerate(args):
        if open_list and not word.startswith("-"):
            joined[-1] += word
        else:
            joined.append(word)
            open_list = False
        is_value = open_list or (position > 0 and args[position - 1] in options) or word.startswith(_glued(options))
        open_list = is_value and word.rstrip().endswith(",")
    return joined


def _glued(options: Sequence[str]) -> tuple[str, ...]:
    """What a word begins with that holds option and value at once: `-Qa,` and `--queues=a,`."""
    return tuple(f"{option}=" if option.startswith("--") else option for option in options)
