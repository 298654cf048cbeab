"""A TCP proxy on loopback that breaks the links through it on demand: cuts, stalls, half-opens, refuses.

One thread owns every socket. The public methods may be called from any thread: each runs on that thread and returns
when it is done, so that what follows `cut()` in a test happens after the cut. `up` is from the client to the server.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Literal, TypeVar

T = TypeVar("T")
Direction = Literal["up", "down", "both"]

CHUNK_BYTES = 256 * 1024
RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() drops what is buffered and sends RST
HOST = "127.0.0.1"


class Pipe:
    """One direction of a link: what was read from `source` and not yet written to `sink`."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.buffer = bytearray()
        self.ended = False  # the source said it sends no more
        self.told = False  # and the sink was told
        self.swallow = False  # read and forget


class Link:
    """One client's connection, and ours to the server on its behalf."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.up = Pipe(client, server)
        self.down = Pipe(server, client)
        self.connected = False
        self.half: Literal["client", "server"] | None = None  # the side that is left of a half-open link


class Cut:
    """An ordered cut: `direction` is given `left` more bytes, then the link that carried the last of them is cut."""

    def __init__(self, left: int, direction: Direction, *, reset: bool) -> None:
        self.left = left
        self.direction = direction
        self.reset = reset
        self.done = threading.Event()


class Proxy:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`target_port`. A context manager; `close` ends it.

    `bytes_up`, `bytes_down` (forwarded) and `opened` (links ever) only grow; `links` is how many are open now. A new
    `target_port` holds for the links to come.
    """

    def __init__(self, target_port: int, *, port: int = 0) -> None:
        self.target_port = target_port
        self.bytes_up = 0
        self.bytes_down = 0
        self.opened = 0
        self._links: dict[socket.socket, Link] = {}
        self._stalled: set[str] = set()
        self._cut: Cut | None = None
        self._calls: deque[Callable[[], None]] = deque()
        self._selector = selectors.DefaultSelector()
        self._closing = False
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._listener: socket.socket | None = None
        self.port = port
        self._listen()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- what tests call ----------------------------------------------------------------------------------------

    def cut(self) -> int:
        """Reset every link on both sides; gives how many there were. New ones are accepted at once."""

        def work() -> int:
            links = self._all()
            for link in links:
                self._drop(link, reset=True)
            return len(links)

        return self._call(work)

    def cut_after(self, count: int, *, direction: Direction = "up", reset: bool = True) -> threading.Event:
        """Let `count` more bytes pass in that direction, then cut the link that carried the last one: mid-frame, say.

        The event is set when it happened. Without `reset`, both sides see an orderly end and get those bytes for sure.
        A second call replaces the first.
        """
        cut = Cut(count, direction, reset=reset)

        def work() -> None:
            self._cut = cut

        self._call(work)
        return cut.done

    def stall(self, direction: Direction = "both") -> None:
        """Forward nothing more; links stay open, and new ones are accepted and hear nothing. Undone by `resume`."""
        self._call(lambda: self._stalled.update(("up", "down") if direction == "both" else (direction,)))

    def resume(self) -> None:
        """Forward again, beginning with what was held back."""
        self._call(self._stalled.clear)

    def half_open(self, keep: Literal["client", "server"] = "client") -> int:
        """Close one side of every link and keep the other open and unanswered, as when a router forgets a link.

        What the kept side sends is swallowed. Gives how many links there were. New links work as usual.
        """

        def work() -> int:
            links = [link for link in self._all() if link.half is None]
            for link in links:
                self._halve(link, keep)
            return len(links)

        return self._call(work)

    def refuse(self) -> None:
        """Refuse new connections (ECONNREFUSED); open links go on. Undone by `accept`."""
        self._call(self._stop_listening)

    def accept(self) -> None:
        """Accept new connections again, on the same port."""
        self._call(self._listen)

    @property
    def links(self) -> int:
        """How many clients are connected now, half-open ones included."""
        return self._call(lambda: len(self._all()))

    def wait_links(self, count: int, *, timeout_s: float = 10) -> None:
        """Wait until exactly `count` links are open; TimeoutError when they are not in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._all()) == count, timeout_s):
                raise TimeoutError(f"{len(self._all())} links through the proxy after {timeout_s} s, not {count}")

    def close(self) -> None:
        """Reset every link and end. May be called twice."""
        if not self._thread.is_alive():
            return

        def work() -> None:
            self._closing = True

        self._call(work)
        self._thread.join()

    # --- the thread ---------------------------------------------------------------------------------------------

    def _call(self, work: Callable[[], T]) -> T:
        """Run `work` on the proxy's thread and give its result, or raise what it raised."""
        if threading.current_thread() is self._thread:
            return work()
        if not self._thread.is_alive():
            raise RuntimeError("the proxy is closed")
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except Exception as error:  # noqa: BLE001 - handed to the caller
                future.set_exception(error)

        self._calls.append(run)
        self._wake_write.send(b"x")
        return future.result(timeout=30)

    def _run(self) -> None:
        while not self._closing:
            for link in self._all():
                self._watch(link)
            for key, events in self._selector.select():
                if key.fileobj is self._wake_read:
                    self._wake_read.recv(4096)
                elif key.fileobj is self._listener:
                    self._accept_one()
                elif isinstance(key.fileobj, socket.socket):
                    self._serve(key.fileobj, events)
            while self._calls:
                self._calls.popleft()()
            with self._changed:
                self._changed.notify_all()
        self._stop_listening()
        for link in self._all():
            self._drop(link, reset=True)
        self._selector.close()
        self._wake_read.close()
        self._wake_write.close()

    def _listen(self) -> None:
        if self._listener is not None:
            return
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, self.port))
        listener.listen(1024)
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        self._selector.register(listener, selectors.EVENT_READ)
        self._listener = listener

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None

    def _accept_one(self) -> None:
        assert self._listener is not None
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return
        server = socket.socket()
        for sock in (client, server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link(client, server)
        self._links[client] = self._links[server] = link
        self.opened += 1
        if server.connect_ex((HOST, self.target_port)) not in (0, errno.EINPROGRESS):
            self._drop(link, reset=True)

    def _watch(self, link: Link) -> None:
        """Tell the selector what is wanted of the link's sockets now."""
        if not link.connected:
            self._want(link.server, selectors.EVENT_WRITE)
            self._want(link.client, 0)
            return
        wanted = {link.client: 0, link.server: 0}
        for name, pipe in (("up", link.up), ("down", link.down)):
            if name in self._stalled and not pipe.swallow:
                continue
            if pipe.source in wanted and not pipe.ended and len(pipe.buffer) < CHUNK_BYTES:
                wanted[pipe.source] |= selectors.EVENT_READ
            if pipe.buffer:
                wanted[pipe.sink] |= selectors.EVENT_WRITE
        for sock, events in wanted.items():
            self._want(sock, events)

    def _want(self, sock: socket.socket, events: int) -> None:
        if sock.fileno() < 0:
            return
        key = self._selector.get_map().get(sock)
        # A socket that nothing is wanted of is taken out: the kernel would report its end whether asked or not.
        if key is None and events:
            self._selector.register(sock, events)
        elif key is not None and not events:
            self._selector.unregister(sock)
        elif key is not None and key.events != events:
            self._selector.modify(sock, events)

    def _serve(self, sock: socket.socket, events: int) -> None:
        link = self._links.get(sock)
        if link is None:
            return  # dropped earlier in this turn
        try:
            if not link.connected:
                problem = link.server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if problem:
                    raise OSError(problem, "the server refuses")
                link.connected = True
                return
            if events & selectors.EVENT_READ:
                self._read(link, link.up if sock is link.client else link.down)
            if events & selectors.EVENT_WRITE and sock in self._links:
                self._write(link, link.down if sock is link.client else link.up)
        except BlockingIOError:
            return
        except OSError:
            self._drop(link, reset=True)  # one side was reset: so is the other

    def _read(self, link: Link, pipe: Pipe) -> None:
        data = pipe.source.recv(CHUNK_BYTES)
        if pipe.swallow:
            if not data:
                self._drop(link, reset=False)
            return
        if data:
            pipe.buffer += data
            self._write(link, pipe)
            return
        pipe.ended = True
        self._pass_end(link, pipe)

    def _write(self, link: Link, pipe: Pipe) -> None:
        name: Literal["up", "down"] = "up" if pipe is link.up else "down"
        cut = self._cut if self._cut is not None and self._cut.direction in (name, "both") else None
        allowed = len(pipe.buffer) if cut is None else min(len(pipe.buffer), cut.left)
        sent = pipe.sink.send(memoryview(pipe.buffer)[:allowed].tobytes()) if allowed else 0
        del pipe.buffer[:sent]
        if name == "up":
            self.bytes_up += sent
        else:
            self.bytes_down += sent
        if cut is not None:
            cut.left -= sent
            if cut.left <= 0:
                self._cut = None
                self._drop(link, reset=cut.reset)
                cut.done.set()
                return
        self._pass_end(link, pipe)

    def _pass_end(self, link: Link, pipe: Pipe) -> None:
        """When a side has said its last and all of it was passed on, tell the other; close when both have."""
        if pipe.ended and not pipe.buffer and not pipe.told:
            pipe.told = True
            pipe.sink.shutdown(socket.SHUT_WR)
        if link.up.told and link.down.told:
            self._drop(link, reset=False)

    def _halve(self, link: Link, keep: Literal["client", "server"]) -> None:
        gone, pipe = (link.server, link.up) if keep == "client" else (link.client, link.down)
        self._want(gone, 0)
        del self._links[gone]
        gone.close()
        link.half = keep
        link.connected = True  # whether or not it came to that: nobody waits for it any more
        link.up.buffer.clear()
        link.down.buffer.clear()
        pipe.swallow = True

    def _drop(self, link: Link, *, reset: bool) -> None:
        for sock in (link.client, link.server):
            self._links.pop(sock, None)
            if sock.fileno() < 0:
                continue
            self._want(sock, 0)
            if reset:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.close()

    def _all(self) -> list[Link]:
        return list({id(link): link for link in list(self._links.values())}.values())
