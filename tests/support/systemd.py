"""A real systemd (PID 1) in a throw-away container over this machine's own files, for tests of units.

The container sees the machine's files through an overlay that keeps all writes in memory, shares the machine's network,
and has its own processes. It boots sysinit.target and nothing else: no service of the machine starts a second time in
it. All of it (mounts, processes, writes) hangs on one process of the session's sandbox and ends with that. Used from
the session's main thread.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from tests.support.sandbox import Sandbox

UNSHARE = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc")
PROGRAMS = {"systemd-nspawn": "systemd-container", "systemctl": "systemd", "nsenter": "util-linux", "mount": "mount"}
ROOT = Path(__file__).resolve().parents[2]
BOOT_S = 60.0
TARGET = "amqtask-test-box.target"

# In a mount namespace of its own: the mounts vanish with the last process in it. In a PID namespace of its own: all
# processes vanish with the first, which the kernel kills when `unshare` ends; what nspawn itself starts would live on.
# In memory, because an overlay cannot lie on another one, and a machine that is a container has nothing else.
BOOT = f"""
set -e
folder=$1; shift
for group in $CGROUPS; do echo 0 >"$group/cgroup.procs"; done
mount -t tmpfs -o mode=755 tmpfs "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
printf '[Unit]\\nRequires=sysinit.target\\nAfter=sysinit.target\\n' >"$folder/root/etc/systemd/system/{TARGET}"
rm -f "$folder/root/etc/machine-id"
echo "$MACHINE_ID" >"$folder/root/etc/machine-id"
exec systemd-nspawn --directory="$folder/root" --machine=amqtask-test-box --hostname=box --register=no --keep-unit \\
    --quiet --console=pipe "$@" --boot systemd.unit={TARGET}
"""


class SystemdFailed(Exception):
    """There can be no systemd for tests here, or a command in it failed; the text says what to do or what was said."""


def check_machine() -> None:
    """Raise SystemdFailed, with what to do, where a container cannot be made."""
    missing = {package for program, package in PROGRAMS.items() if shutil.which(program) is None}
    if missing:
        packages = " ".join(sorted(missing))
        raise SystemdFailed(f"tests of units need a systemd: `make setup` as root, or `apt-get install {packages}`")
    if os.geteuid() != 0:
        raise SystemdFailed("tests of units run a systemd in a container, which only root can make: run them as root")


class SystemdBox:
    """One container. `amqtask` of the tests' own Python is /opt/amqtask/bin/amqtask in it."""

    def __init__(self, sandbox: Sandbox) -> None:
        check_machine()
        self._sandbox = sandbox
        self._folder = sandbox.folder("systemd")
        self._log = self._folder.with_suffix(".log")
        self._binds: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._leader: int | None = None
        self._cgroups: list[Path] = []

    def share(self, folder: Path, inside: str) -> None:
        """Before the start: show a folder of the machine in the container, writable, to read what is written there."""
        self._binds.append(f"--bind={folder}:{inside}")

    def start(self) -> SystemdBox:
        """Boot it; about a second. Raises SystemdFailed when it does not come up."""
        # Its own, besides those of others: two systemds in one control group kill each other's services.
        self._cgroups = _make_cgroups(f"amqtask-test-{self._folder.name}")
        wanted = dict.fromkeys(Path(path).resolve() for path in (ROOT, sys.prefix, sys.base_prefix))
        # A virtual environment usually lies in the checkout, and comes along with it.
        needed = [path for path in wanted if not any(path.is_relative_to(other) for other in wanted if other != path)]
        # Those may lie on a mount of their own, which an overlay over / does not show, or below /tmp.
        binds = [f"--bind-ro={path}" for path in needed if not path.is_relative_to("/usr")]
        with self._log.open("wb") as output:
            self._process = self._sandbox.spawn(
                [*UNSHARE, "sh", "-c", BOOT, "boot", self._folder, *binds, *self._binds],
                env={
                    **os.environ,
                    "CGROUPS": " ".join(map(str, self._cgroups)),
                    "MACHINE_ID": uuid.uuid4().hex,
                },
                stdout=output,
                stderr=output,
            )
        self.wait_for("the container's systemd", self._is_up, BOOT_S)
        for path in needed:
            self._open_up(path)
        hidden = [path for path in needed if path.is_relative_to("/tmp") or path.is_relative_to("/var/tmp")]
        if hidden:  # from units with PrivateTmp=
            lines = "".join(f"BindReadOnlyPaths={path}\n" for path in hidden)
            self.write("/etc/systemd/system/service.d/test-box.conf", f"[Service]\n{lines}")
            self.run("systemctl", "daemon-reload")
        self.write("/opt/amqtask/bin/amqtask", f"#!{sys.executable}\n{LAUNCHER}", mode=0o755)
        return self

    def remove(self) -> None:
        """End it and all that runs in it."""
        if self._process is not None:
            self._sandbox.kill(self._process)
        for group in self._cgroups:
            _remove_cgroup(group)
        self._log.unlink(missing_ok=True)

    # --- inside -------------------------------------------------------------------------------------------------

    def run(self, *command: str, check: bool = True, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command in it. Raises SystemdFailed with what it printed when it fails and `check` is set."""
        inside = ["nsenter", "--target", str(self._leader), "--mount", "--uts", "--ipc", "--pid", *command]
        done = subprocess.run(inside, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise SystemdFailed(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def path(self, inside: str) -> Path:
        """Where a path of the container is for this process."""
        return Path(f"/proc/{self._leader}/root{inside}")

    def write(self, inside: str, content: str, *, mode: int = 0o644) -> None:
        """Write a file in it, its folder too where that is missing."""
        place = self.path(inside)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
        place.chmod(mode)

    def show(self, unit: str, name: str) -> str:
        """A property of a unit, `ActiveState` say."""
        return self.run("systemctl", "show", "--property", name, "--value", unit).stdout.strip()

    def journal(self, unit: str) -> str:
        """The last of what a unit wrote, and of what systemd says about it."""
        return self.run("journalctl", "--no-pager", "--lines=100", "--unit", unit, check=False).stdout

    def wait_for(self, what: str, true: Callable[[], bool], timeout_s: float = 30, *, unit: str | None = None) -> None:
        """Wait until `true()`; SystemdFailed, with the unit's journal or the boot's log, when it is not in time."""
        end = time.monotonic() + timeout_s
        while not true():
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > end:
                detail = self.journal(unit) if unit else self._log.read_text(errors="replace")[-4000:]
                raise SystemdFailed(
                    f"{what}: {'the container ended' if ended else f'not in {timeout_s:.0f} s'}\n{detail}"
                )
            time.sleep(0.05)

    def _is_up(self) -> bool:
        assert self._process is not None
        self._leader = self._leader or _init_below(self._process.pid)
        if self._leader is None:
            return False
        return self.run("systemctl", "is-active", "--quiet", TARGET, check=False).returncode == 0

    def _open_up(self, path: Path) -> None:
        """Let every user of the container reach a path, whatever the folders above it say on the machine."""
        for folder in path.parents:
            inside = self.path(str(folder))
            inside.chmod(inside.stat().st_mode | 0o011)


LAUNCHER = f"""
import sys
sys.path.append({str(ROOT)!r})
from amqtask.cli.main import main
main()
"""


def _init_below(pid: int) -> int | None:
    """The container's PID 1 among the descendants of `pid`: the systemd that is the first process of its namespace."""
    for child in _children(pid):
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{child}/status").read_text().splitlines()
            numbers = next(line for line in status if line.startswith("NSpid:")).split()[1:]
            if numbers[-1] == "1" and Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                return child
        if (found := _init_below(child)) is not None:
            return found
    return None


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _make_cgroups(name: str) -> list[Path]:
    """A control group of that name below this process's own, in each hierarchy that a systemd uses."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    made: list[Path] = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, mine = line.split(":", 2)
        for _, place, kind, options, *_ in mounts:
            if (kind == "cgroup2" and not controllers) or (
                controllers == "name=systemd" and controllers in options.split(",")
            ):
                group = Path(place) / mine.lstrip("/") / name
                try:
                    group.mkdir()
                except FileExistsError:
                    continue  # the same hierarchy, mounted twice
                except OSError as error:
                    raise SystemdFailed(f"a systemd in a container needs a control group: {group}: {error}") from error
                made.append(group)
                break
    return made


def _remove_cgroup(group: Path, *, timeout_s: float = 10) -> None:
    """Remove a control group and all below it, as soon as their last processes are gone."""
    end = time.monotonic() + timeout_s
    while group.exists() and time.monotonic() < end:
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        time.sleep(0.02)
