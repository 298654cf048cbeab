"""Watches a queue from inside the broker: when the first message left it, and when the last one was acknowledged.

A passive declare sees ready messages only, and a queue with nothing ready may still hold hundreds that no ack has come
for. So a small Erlang process in the private broker reads the queue's own two counters, ready and unacknowledged, every
5 ms into a file; the clock is the broker's and nobody under test is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.errors import BenchError

_PROGRAM = """
spawn(fun() ->
  Name = rabbit_misc:r(<<"/">>, queue, <<"{queue}">>),
  {{ok, File}} = file:open("{path}", [write, raw]),
  End = erlang:monotonic_time(second) + {limit_s},
  Loop = fun Loop(Busy) ->
    Now = erlang:monotonic_time(microsecond),
    Counts = try
      {{ok, Queue}} = rabbit_amqqueue:lookup(Name),
      [{{_, R}}, {{_, U}}] = rabbit_amqqueue:info(Queue, [messages_ready, messages_unacknowledged]),
      {{R, U}}
    catch _:_ -> gone end,
    case Counts of
      {{Ready, Unacked}} ->
        file:write(File, io_lib:format("~B ~B ~B~n", [Now, Ready, Unacked])),
        case (Busy andalso Ready + Unacked =:= 0) orelse erlang:monotonic_time(second) > End of
          true -> file:close(File);
          false -> timer:sleep(5), Loop(Busy orelse Ready + Unacked > 0)
        end;
      gone -> file:close(File)
    end
  end,
  Loop(false)
end), ok.
"""


class Evaluates(Protocol):
    """A broker node that runs an Erlang expression, as the test harness's does."""

    def eval(self, expression: str) -> str:
        """Evaluate it and give the printed value."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The queue's counters at one moment of the broker's monotonic clock, in seconds."""

    at_s: float
    ready: int
    unacked: int


def parse(text: str) -> list[Sample]:
    """Read the samples; a line that is still being written is left out."""
    samples = []
    for line in text.split("\n")[:-1]:
        at_us, ready, unacked = (int(word) for word in line.split())
        samples.append(Sample(at_us / 1e6, ready, unacked))
    return samples


def drained_in(samples: list[Sample], count: int) -> float | None:
    """Seconds from the first delivery of `count` messages to the last ack; None while something is left.

    The start is the last sample at which all were still ready, the end the first at which none was ready or
    unacknowledged: too long by at most two sampling intervals, never too short.
    """
    begun = None
    for sample in samples:
        if sample.ready == count and not sample.unacked:
            begun = sample.at_s
        elif begun is not None and not sample.ready and not sample.unacked:
            return sample.at_s - begun
    return None


class Watch:
    """Samples of one queue, from now on."""

    def __init__(self, broker: Evaluates, queue: str, path: Path, *, limit_s: int = 900) -> None:
        self._path = path
        self._queue = queue
        broker.eval(_PROGRAM.format(queue=queue, path=path, limit_s=limit_s))
        end = time.monotonic() + 10
        while not self.samples():
            if time.monotonic() > end:
                raise BenchError(f"the broker's watch on {queue!r} wrote nothing")
            time.sleep(0.02)

    def samples(self) -> list[Sample]:
        """All that was seen so far."""
        return parse(self._path.read_text()) if self._path.exists() else []

    def wait_drained(self, count: int, *, timeout_s: float, check: Callable[[], None] = lambda: None) -> float:
        """Wait until all `count` messages are acknowledged; seconds from the first delivery to then.

        `check` is called meanwhile and raises when there is nobody left to wait for.
        """
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if self._looks_empty():
                took = drained_in(self.samples(), count)
                if took is not None:
                    return took
            check()
            time.sleep(0.25)
        last = self.samples()[-1]
        raise BenchError(
            f"queue {self._queue!r} was not drained in {timeout_s:.0f} s: {last.ready} ready, {last.unacked} unacked"
        )

    def _looks_empty(self) -> bool:
        # The last line only: a long run has thousands, and reading them all would take time from the run itself.
        with self._path.open("rb") as file:
            file.seek(max(0, self._path.stat().st_size - 40))
            return file.read().endswith(b" 0 0\n")
