"""Private RabbitMQ nodes for tests: Debian's package (or another version's folder) on free loopback ports.

A node has a folder, ports, an Erlang port mapper and a cookie of its own, so that nothing else on the machine is
touched or can disturb it, the machine's own RabbitMQ included. Used from the session's main thread, save `ctl`, `eval`
and `api`, which any thread may call.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from tests.support.sandbox import Sandbox

LATEST_OF_THIS_MACHINE = "3.10"
TOOLS = Path("/usr/lib/rabbitmq/bin")
COOKIE = "amqtask-tests"
START_S = 120.0
STOP_S = 60.0

# In a mount namespace of its own, so that /proc and /dev appear in the folder for this one program and nothing needs
# to be unmounted afterwards.
ENTER = """
for d in proc sys dev; do mount --rbind "/$d" "$0/$d" || exit 70; done
exec chroot "$0" "$@"
"""


class BrokerFailed(Exception):
    """A test broker cannot be had, or one of its tools failed; the text says what to do or what it printed."""


class Roots:
    """Where each RabbitMQ version's files are: `/` for the machine's own package, a folder to chroot into for others.

    The folders come from the environment, `AMQTASK_TEST_RABBIT_ROOTS="4.0=/path,4.3=/path"`: each a Debian tree with
    rabbitmq-server in it, as debootstrap makes one.
    """

    def __init__(self, text: str) -> None:
        self._folders: dict[str, Path] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            version, equals, folder = part.partition("=")
            if not equals:
                raise BrokerFailed(f"AMQTASK_TEST_RABBIT_ROOTS: {part!r} is not VERSION=FOLDER")
            self._folders[version.strip()] = Path(folder.strip())

    def find(self, version: str) -> Path:
        """The folder that holds that version, or `BrokerFailed` with what is missing."""
        root = self._folders.get(version, Path("/") if version == LATEST_OF_THIS_MACHINE else None)
        if root is None:
            raise BrokerFailed(
                f"RabbitMQ {version} is asked for, and AMQTASK_TEST_RABBIT_ROOTS names no folder for it "
                f"(known: {', '.join([LATEST_OF_THIS_MACHINE, *self._folders])})"
            )
        if not (root / TOOLS.relative_to("/") / "rabbitmq-server").exists():
            how = "`make setup` as root, or `apt-get install rabbitmq-server`" if root == Path("/") else "debootstrap"
            raise BrokerFailed(f"the tests need RabbitMQ {version}, and {root} holds no rabbitmq-server: {how}")
        if root != Path("/") and os.geteuid() != 0:
            raise BrokerFailed(f"RabbitMQ {version} lives in {root}, which only root can chroot into")
        return root


class Rabbits:
    """Makes nodes. Owns the Erlang port mapper (epmd) that they share, apart from the machine's own."""

    def __init__(self, sandbox: Sandbox, roots: Roots) -> None:
        self._sandbox = sandbox
        self._roots = roots
        self._epmd_port: int | None = None
        self._made = 0

    def make(self, version: str, *, conf: Sequence[str] = (), name: str | None = None) -> Rabbit:
        """A new node, not started. `conf` are more lines of its rabbitmq.conf."""
        root = self._roots.find(version)
        self._made += 1
        port = self._sandbox.port()
        return Rabbit(
            self._sandbox,
            version=version,
            root=root,
            name=name or f"amqtask-test-{port}",
            port=port,
            epmd_port=self._epmd(root),
            conf=conf,
        )

    def _epmd(self, root: Path) -> int:
        if self._epmd_port is None:
            self._epmd_port = self._sandbox.port()
            command = ["/usr/bin/epmd", "-address", "127.0.0.1", "-port", str(self._epmd_port)]
            self._sandbox.spawn(inside(root, command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for _ in until(START_S, "epmd did not start"):
                if answers(self._epmd_port):
                    break
        return self._epmd_port


class Rabbit:
    """One RabbitMQ node on loopback, user guest/guest, management plugin on.

    Public: `port` (AMQP), `management_port`, `version`, `name`. Data outlives `kill` and `stop`, until `remove`.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        *,
        version: str,
        root: Path,
        name: str,
        port: int,
        epmd_port: int,
        conf: Sequence[str] = (),
    ) -> None:
        self.version = version
        self.name = name
        self.port = port
        self.management_port = sandbox.port()
        self._dist_port = sandbox.port()
        self._epmd_port = epmd_port
        self._sandbox = sandbox
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = sandbox.folder("rabbit", parent=None if root == Path("/") else root / "var/tmp")
        self._inside = Path("/") / self._folder.relative_to(root)
        self._write_files(conf)

    # --- life ---------------------------------------------------------------------------------------------------

    def start(self, *, timeout_s: float = START_S) -> Rabbit:
        """Start the node, again with its data if it ran before; returns when AMQP and the management API answer."""
        if self.running:
            return self
        self._pid_file.unlink(missing_ok=True)
        with (self._folder / "output").open("ab") as output:
            self._process = self._sandbox.spawn(
                inside(self._root, [TOOLS / "rabbitmq-server"]), env=self._env(), stdout=output, stderr=output
            )
        for _ in until(timeout_s, f"RabbitMQ {self.version} ({self.name}) did not answer", detail=self._log_tail):
            if self._process.poll() is not None:
                raise BrokerFailed(f"RabbitMQ {self.version} ({self.name}) ended at start:\n{self._log_tail()}")
            if speaks_amqp(self.port) and self._management_is_up():
                return self
        raise AssertionError("unreachable: until() raises")

    def stop(self) -> None:
        """Stop the node as its administrator would: connections are closed, all is written, then it ends."""
        process, pid = self._process, self.pid
        if process is None or pid is None:
            return
        os.kill(pid, signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            raise BrokerFailed(f"{self.name} did not stop in {STOP_S:.0f} s:\n{self._log_tail()}") from None
        finally:
            self._gone(process)

    def kill(self) -> None:
        """SIGKILL the node: no goodbye to anybody. Returns when it is dead."""
        if self._process is not None:
            self._gone(self._process)

    def restart(self) -> Rabbit:
        """A clean stop and a new start."""
        self.stop()
        return self.start()

    def remove(self) -> None:
        """Kill the node and delete its data."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def freeze(self) -> None:
        """SIGSTOP: sockets stay open, nothing answers, until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT after `freeze`."""
        self._signal(signal.SIGCONT)

    @property
    def pid(self) -> int | None:
        """The pid of the Erlang VM, None when the node does not run."""
        if not self.running:
            return None
        with contextlib.suppress(OSError, ValueError):
            return int(self._pid_file.read_text())
        return None

    @property
    def running(self) -> bool:
        """Whether the node's processes are there (it may be frozen or still starting)."""
        return self._process is not None and self._process.poll() is None

    # --- addresses ----------------------------------------------------------------------------------------------

    def url(self, vhost: str = "/", *, port: int | None = None) -> str:
        """The amqp:// URL of a virtual host; `port` puts something in between, a proxy say."""
        return f"amqp://guest:guest@127.0.0.1:{port or self.port}/{quote(vhost, safe='')}"

    @property
    def management_url(self) -> str:
        """The management API's address, with user and password."""
        return f"http://guest:guest@127.0.0.1:{self.management_port}"

    # --- administration -----------------------------------------------------------------------------------------

    def ctl(self, *args: str, check: bool = True) -> str:
        """Run rabbitmqctl against this node; gives what it printed. About a second: the API is quicker."""
        return self._tool("rabbitmqctl", "-q", "-n", f"{self.name}@localhost", *args, check=check)

    def eval(self, expression: str) -> str:
        """Evaluate an Erlang expression in the node, `rabbit:version().` say; gives the printed value."""
        return self.ctl("eval", expression if expression.rstrip().endswith(".") else expression + ".").strip()

    def api(self, method: str, path: str, body: object = None) -> object:
        """Call the management API, path below /api; gives the decoded JSON, None for an empty answer.

        `BrokerFailed` on any status from 400 up.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.management_port, timeout=30)
        try:
            connection.request(
                method,
                f"/api/{path}",
                body=None if body is None else json.dumps(body),
                headers={
                    "Authorization": "Basic " + base64.b64encode(b"guest:guest").decode(),
                    "Content-Type": "application/json",
                },
            )
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            raise BrokerFailed(f"{method} /api/{path}: {answer.status} {answer.reason} {text.decode()[:500]}")
        return json.loads(text) if text else None

    def add_vhost(self, name: str) -> str:
        """A new virtual host that guest may do everything in; gives its URL."""
        vhost = quote(name, safe="")
        self.api("PUT", f"vhosts/{vhost}")
        self.api("PUT", f"permissions/{vhost}/guest", {"configure": ".*", "write": ".*", "read": ".*"})
        return self.url(name)

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host with all that is in it; its connections are closed by the broker."""
        self.api("DELETE", f"vhosts/{quote(name, safe='')}")

    def block(self) -> None:
        """Raise the memory alarm: publishing connections get connection.blocked and are read no more."""
        self.ctl("set_vm_memory_high_watermark", "0.0000001")

    def unblock(self) -> None:
        """Clear the memory alarm."""
        self.ctl("set_vm_memory_high_watermark", "0.6")

    def log(self) -> str:
        """The node's log so far."""
        return "".join(path.read_text(errors="replace") for path in sorted((self._folder / "log").glob("*.log")))

    # --- inside -------------------------------------------------------------------------------------------------

    @property
    def _pid_file(self) -> Path:
        return self._folder / "pid"

    def _write_files(self, conf: Sequence[str]) -> None:
        lines = [
            f"listeners.tcp.default = 127.0.0.1:{self.port}",
            "management.tcp.ip = 127.0.0.1",
            f"management.tcp.port = {self.management_port}",
            "loopback_users = none",
            *conf,
        ]
        (self._folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self._folder / "advanced.config").write_text("[].\n")
        (self._folder / "rabbitmq-env.conf").write_text("")
        (self._folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        cookie = self._folder / ".erlang.cookie"
        cookie.write_text(COOKIE)
        cookie.chmod(0o400)

    def _env(self) -> dict[str, str]:
        """A whole environment of its own: nothing of the caller's, and nothing of /etc/rabbitmq, reaches the node."""
        here = str(self._inside)
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": here,
            "LANG": "C.UTF-8",
            "ERL_CRASH_DUMP": f"{here}/erl_crash.dump",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": f"{self.name}@localhost",
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_CTL_DIST_PORT_MIN": "30000",
            "RABBITMQ_CTL_DIST_PORT_MAX": "32767",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CTL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_BASE": here,
            "RABBITMQ_MNESIA_BASE": f"{here}/data",
            "RABBITMQ_LOG_BASE": f"{here}/log",
            "RABBITMQ_CONF_ENV_FILE": f"{here}/rabbitmq-env.conf",
            "RABBITMQ_CONFIG_FILE": f"{here}/rabbitmq.conf",
            "RABBITMQ_CONFIG_FILES": f"{here}/conf.d",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{here}/advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{here}/enabled_plugins",
            "RABBITMQ_PID_FILE": f"{here}/pid",
        }

    def _tool(self, tool: str, *args: str, check: bool) -> str:
        done = subprocess.run(
            inside(self._root, [TOOLS / tool, *args]),
            env=self._env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=START_S,
        )
        if check and done.returncode:
            raise BrokerFailed(f"{tool} {' '.join(args)} on {self.name} ended {done.returncode}:\n{done.stdout}")
        return done.stdout

    def _signal(self, number: signal.Signals) -> None:
        pid = self.pid
        if pid is None:
            raise BrokerFailed(f"{self.name} does not run")
        os.kill(pid, number)

    def _gone(self, process: subprocess.Popen[bytes]) -> None:
        # The whole group: the start script, the VM, and the VM's own helpers.
        self._sandbox.kill(process)
        self._process = None
        for _ in until(STOP_S, f"{self.name} still holds port {self.port} after its end"):
            if not answers(self.port):
                return

    def _management_is_up(self) -> bool:
        try:
            overview = self.api("GET", "overview")
        except (OSError, BrokerFailed, http.client.HTTPException):
            return False
        real = str(overview["rabbitmq_version"]) if isinstance(overview, dict) else ""
        if not re.match(re.escape(self.version) + r"(\.|$)", real):
            raise BrokerFailed(f"{self._root} was to hold RabbitMQ {self.version} and holds {real}")
        return True

    def _log_tail(self) -> str:
        output = self._folder / "output"
        said = (output.read_text(errors="replace") if output.exists() else "") + self.log()
        complaints = [line for line in said.splitlines() if "[error]" in line]
        return "\n".join([*complaints[:15], "...", *said.splitlines()[-15:]])


def inside(root: Path, command: Sequence[str | os.PathLike[str]]) -> list[str]:
    """The command line that runs a program within a version's folder."""
    words = [os.fspath(word) for word in command]
    if root == Path("/"):
        return words
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER, str(root), *words]


def answers(port: int) -> bool:
    """Whether something accepts connections there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def speaks_amqp(port: int) -> bool:
    """Whether an AMQP 0-9-1 server greets there: a node that still boots accepts and hangs up."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as link:
        link.sendall(b"AMQP\0\0\x09\x01")
        return link.recv(1) == b"\x01"
    return False


def until(timeout_s: float, complaint: str, *, detail: object = None) -> Iterator[None]:
    """Go round every 50 ms until the caller breaks out; `BrokerFailed` with the complaint when time is up."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        yield
        time.sleep(0.05)
    more = f":\n{detail()}" if callable(detail) else ""
    raise BrokerFailed(f"{complaint} in {timeout_s:.0f} s{more}")
