"""Takes a Markdown page apart into its fenced blocks, and runs those of one page in order in a folder of their own.

What a block's first line says decides what is done with it:

    ```python          run as a script; with `# NAME.py` as its first line it is written to that file instead
    ```toml            read as settings; with `# NAME.toml` as its first line it is written to that file, too
    ```bash            run, must end with 0; `bash background` starts a worker that runs until the end of the page, or
                       until a block says `restart`
    ```console         each line after `$ ` is run and must print the lines below it, `...` standing for anything;
                       `console eventually` is tried again until it does
    ```json            must be JSON
    ```text            for the eye, as are all other languages; a line `make NAME` must be one of the Makefile

All blocks of a page share the folder and the environment.
"""

from __future__ import annotations

import contextlib
import doctest
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from amqtask.settings import load
from tests.support.sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[2]
READY_S = 30.0
RUN_S = 60.0
EVENTUALLY_S = 20.0
MARK = "AMQTASK_TEST_PAGE"  # in the environment of all that a page runs
_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`]*)$")
_NAME = re.compile(r"# (?P<name>[\w./-]+\.(py|toml))\s*$")


@dataclass(frozen=True, slots=True)
class Snippet:
    """One fenced block. `line` is where its text begins, counted from 1; `words` stand behind the language."""

    page: str
    line: int
    language: str
    words: tuple[str, ...]
    text: str

    @property
    def file(self) -> str | None:
        """The file that its first line names."""
        first = self.text.partition("\n")[0]
        found = _NAME.fullmatch(first)
        return found["name"] if found else None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


class Wrong(Exception):
    """A snippet does not do what its page says."""

    def __init__(self, snippet: Snippet, what: str) -> None:
        super().__init__(f"{snippet}: {what}")


def pages() -> list[Path]:
    """README and everything below docs/, but what is generated from sources of its own."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def snippets(path: Path) -> list[Snippet]:
    """The fenced blocks of a page."""
    found: list[Snippet] = []
    opened: tuple[int, str, list[str]] | None = None
    lines: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if fence and opened is None:
            opened, lines = (number + 1, fence["indent"], fence["info"].split()), []
        elif fence and opened is not None and not fence["info"].strip():
            start, _, info = opened
            page = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
            text = "".join(f"{one}\n" for one in lines)
            found.append(Snippet(page, start, info[0] if info else "", tuple(info[1:]), text))
            opened = None
        elif opened is not None:
            lines.append(line.removeprefix(opened[1]))
    if opened is not None:
        raise ValueError(f"{path}:{opened[0]}: a block is not closed")
    return found


class PageRunner:
    """Runs the snippets of one page. A context manager: workers that it started end with it."""

    def __init__(self, sandbox: Sandbox, folder: Path, environ: Mapping[str, str]) -> None:
        self._sandbox = sandbox
        self._folder = folder
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AMQTASK_", "CELERY_"))}
        self._environ = {
            **inherited,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",  # a page may write a module twice within a second
            **environ,
            MARK: str(folder),
        }
        self._workers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> PageRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_workers()
        for pid in marked(str(self._folder)):  # what went into the background by itself, and a failed page left there
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def run(self, snippet: Snippet) -> None:
        """Run or check one. Raises Wrong."""
        match snippet.language:
            case "python":
                self._python(snippet)
            case "toml":
                self._toml(snippet)
            case "bash":
                self._bash(snippet)
            case "console":
                self._console(snippet)
            case "json":
                json.loads(snippet.text)
            case "":
                raise Wrong(snippet, "a block needs a language; `text` is for what is not run")
            case _:
                check_make(snippet)

    def fault(self, snippet: Snippet) -> str | None:
        """Run or check one; gives what is wrong with it."""
        try:
            self.run(snippet)
        except Wrong as wrong:
            return str(wrong)
        return None

    def stop_workers(self) -> None:
        """End the workers that run."""
        for worker in self._workers:
            self._sandbox.terminate(worker)
        self._workers.clear()

    def _python(self, snippet: Snippet) -> None:
        if snippet.file:
            compile(snippet.text, snippet.file, "exec")
            self._write(snippet.file, snippet.text)
            return
        # Padded, so that a traceback names the page's own line.
        padded = "\n" * (snippet.line - 1) + snippet.text
        done = self._run([sys.executable, "-"], snippet, text=padded)
        if done.returncode:
            raise Wrong(snippet, f"ended with {done.returncode}:\n{done.stdout}")

    def _toml(self, snippet: Snippet) -> None:
        path = self._write(snippet.file or "snippet.toml", snippet.text)
        load(config_file=str(path), environ={})
        if not snippet.file:
            path.unlink()

    def _bash(self, snippet: Snippet) -> None:
        if "restart" in snippet.words:
            self.stop_workers()
        if "background" in snippet.words:
            self._start(snippet)
            return
        done = self._run(["bash", "-euo", "pipefail", "-c", snippet.text], snippet)
        if done.returncode:
            raise Wrong(snippet, f"ended with {done.returncode}:\n{done.stdout}")

    def _start(self, snippet: Snippet) -> None:
        place = self._folder / f".ready-{len(self._workers)}-{snippet.line}"
        log = place.with_suffix(".log")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, log.open("wb") as output:
            ready.bind(str(place))
            ready.settimeout(0.2)
            worker = self._sandbox.spawn(
                ["bash", "-c", f"exec {snippet.text.strip()}"],
                env={**self._environ, "NOTIFY_SOCKET": str(place)},
                cwd=self._folder,
                stdout=output,
                stderr=output,
            )
            self._workers.append(worker)
            end = time.monotonic() + READY_S
            while time.monotonic() < end and worker.poll() is None:
                with contextlib.suppress(TimeoutError):
                    if b"READY=1" in ready.recv(4096).split(b"\n"):
                        return
        raise Wrong(snippet, f"not ready (status {worker.poll()}):\n{log.read_text(errors='replace')[-3000:]}")

    def _console(self, snippet: Snippet) -> None:
        end = time.monotonic() + (EVENTUALLY_S if "eventually" in snippet.words else 0)
        while True:
            try:
                self._session(snippet)
            except Wrong:
                if time.monotonic() >= end:
                    raise
                time.sleep(0.2)
            else:
                return

    def _session(self, snippet: Snippet) -> None:
        first, *steps = re.split(r"^\$ ", snippet.text, flags=re.MULTILINE)
        if first or not steps:
            raise Wrong(snippet, "a console block begins with `$ ` and a command")
        for step in steps:
            command, _, wanted = step.partition("\n")
            got = self._run(["bash", "-c", command], snippet).stdout
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            if not doctest.OutputChecker().check_output(wanted, got, flags):
                raise Wrong(snippet, f"{command}\nis to print\n{wanted}and printed\n{got}")

    def _run(self, command: list[str], snippet: Snippet, *, text: str = "") -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                command,
                cwd=self._folder,
                env=self._environ,
                input=text,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=RUN_S,
            )
        except subprocess.TimeoutExpired as late:
            raise Wrong(snippet, f"did not end in {RUN_S:.0f} s:\n{late.stdout!r}") from late

    def _write(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path


def marked(mark: str) -> list[int]:
    """The processes whose environment has this mark."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}".encode() in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                found.append(int(name))
    return found


def check_make(snippet: Snippet) -> None:
    """Every `make NAME` of a block for the eye is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for name in re.findall(r"^make ([a-z]+)", snippet.text, re.MULTILINE):
        if name not in targets:
            raise Wrong(snippet, f"the Makefile has no target {name!r}")
