"""The harness's proxy: what each way of breaking a link looks like from both of its ends."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest

from tests.conftest import ProxyTo
from tests.support.proxy import Proxy
from tests.support.rabbit import Rabbit, speaks_amqp
from tests.support.sandbox import Sandbox


class Echo(socketserver.ThreadingTCPServer):
    """Sends back what it hears, and remembers how many bytes that were and how each link ended."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), EchoHandler)
        self.heard = 0
        self.endings: list[str] = []
        self.ended = threading.Condition()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def wait_ending(self, count: int = 1) -> list[str]:
        with self.ended:
            assert self.ended.wait_for(lambda: len(self.endings) >= count, 10), "the server's side did not end"
            return self.endings


class EchoHandler(socketserver.BaseRequestHandler):
    server: Echo

    def handle(self) -> None:
        ending = "end"
        try:
            while data := self.request.recv(65536):
                self.server.heard += len(data)
                self.request.sendall(data)
        except OSError:
            ending = "reset"
        with self.server.ended:
            self.server.endings.append(ending)
            self.server.ended.notify_all()


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def front(echo: Echo, proxy_to: ProxyTo) -> Proxy:
    return proxy_to(echo.port)


@contextlib.contextmanager
def client(proxy: Proxy, *, timeout_s: float = 10) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout_s) as link:
        yield link


def ask(link: socket.socket, data: bytes) -> bytes:
    """Send, and receive as many bytes back."""
    link.sendall(data)
    return receive(link, len(data))


def receive(link: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        data = link.recv(65536)
        if not data:
            break
        got += data
    return got


def test_it_forwards_and_counts(front: Proxy, echo: Echo) -> None:
    with client(front) as one, client(front) as two:
        assert ask(one, b"hello") == b"hello"
        assert ask(two, b"there!") == b"there!"
        assert (front.links, front.opened) == (2, 2)
        assert (front.bytes_up, front.bytes_down) == (11, 11)
    front.wait_links(0)
    assert echo.wait_ending(2) == ["end", "end"]


def test_it_carries_more_than_the_sockets_hold(front: Proxy) -> None:
    data = bytes(range(256)) * 64 * 1024  # 16 MiB, while the client sends and does not read
    with client(front) as link:
        sender = threading.Thread(target=link.sendall, args=(data,))
        sender.start()
        assert receive(link, len(data)) == data
        sender.join()


def test_an_orderly_end_passes_one_way_at_a_time(front: Proxy) -> None:
    with client(front) as link:
        link.sendall(b"last words")
        link.shutdown(socket.SHUT_WR)
        assert receive(link, 100) == b"last words"


def test_a_cut_resets_both_sides_and_takes_new_links(front: Proxy, echo: Echo) -> None:
    with client(front) as one, client(front) as two:
        assert ask(one, b"a") + ask(two, b"b") == b"ab"
        assert front.cut() == 2
        assert front.links == 0
        for link in (one, two):
            with pytest.raises(ConnectionResetError):
                link.recv(1)
        assert echo.wait_ending(2) == ["reset", "reset"]
    with client(front) as again:
        assert ask(again, b"c") == b"c"


@pytest.mark.parametrize("reset", [True, False])
def test_a_cut_after_so_many_bytes_lets_just_those_pass(front: Proxy, echo: Echo, *, reset: bool) -> None:
    with client(front) as one, client(front) as two:
        assert ask(one, b"12345") + ask(two, b"6") == b"123456"
        done = front.cut_after(3, direction="up", reset=reset)
        one.sendall(b"abcdefgh")
        assert done.wait(10)
        endings = echo.wait_ending()
        assert endings == ["reset"] if reset else echo.heard == 9
        assert front.bytes_up == 9
        assert ask(two, b"not cut") == b"not cut"


def test_a_cut_after_answer_bytes_loses_the_answer_only(front: Proxy, echo: Echo) -> None:
    with client(front) as link:
        done = front.cut_after(2, direction="down", reset=False)
        link.sendall(b"abcdef")
        assert done.wait(10)
        assert receive(link, 6) == b"ab"
        echo.wait_ending()
        assert echo.heard == 6


def test_a_stall_holds_back_and_a_resume_delivers(front: Proxy, echo: Echo) -> None:
    with client(front, timeout_s=0.3) as link:
        assert ask(link, b"a") == b"a"
        front.stall()
        link.sendall(b"held")
        with client(front, timeout_s=0.3) as late:
            late.sendall(b"also")
            for one in (link, late):
                with pytest.raises(TimeoutError):
                    one.recv(1)
            assert echo.heard == 1
            front.resume()
            assert receive(link, 4) == b"held"
            assert receive(late, 4) == b"also"


def test_a_stall_of_one_way_leaves_the_other(front: Proxy, echo: Echo) -> None:
    with client(front, timeout_s=0.3) as link:
        assert ask(link, b"a") == b"a"
        front.stall("down")
        link.sendall(b"there")
        with pytest.raises(TimeoutError):
            link.recv(1)
        assert echo.heard == 6
        front.resume()
        assert receive(link, 5) == b"there"


def test_a_stalled_link_can_be_cut(front: Proxy, echo: Echo) -> None:
    with client(front) as link:
        assert ask(link, b"a") == b"a"
        front.stall()
        assert front.cut() == 1
        with pytest.raises(ConnectionResetError):
            link.recv(1)
        echo.wait_ending()
        front.resume()


def test_half_open_keeps_the_client_and_swallows(front: Proxy, echo: Echo) -> None:
    with client(front, timeout_s=0.3) as link:
        assert ask(link, b"a") == b"a"
        assert front.half_open() == 1
        echo.wait_ending()
        for _ in range(3):
            link.sendall(b"nobody hears this")
        with pytest.raises(TimeoutError):
            link.recv(1)
        assert echo.heard == 1
        with client(front) as fresh:
            assert ask(fresh, b"b") == b"b"
    front.wait_links(0)


def test_half_open_keeps_the_server(front: Proxy, echo: Echo) -> None:
    with client(front) as link:
        assert ask(link, b"a") == b"a"
        front.half_open(keep="server")
        assert receive(link, 1) == b""
        assert front.links == 1
        assert echo.endings == []
        front.cut()
        echo.wait_ending()


def test_refusing_turns_new_links_away_and_keeps_the_open_ones(front: Proxy) -> None:
    with client(front) as link:
        assert ask(link, b"a") == b"a"
        front.refuse()
        with pytest.raises(ConnectionRefusedError), client(front):
            pass
        assert ask(link, b"still") == b"still"
        front.accept()
        with client(front) as again:
            assert ask(again, b"b") == b"b"


def test_a_target_that_refuses_resets_the_client(proxy_to: ProxyTo, sandbox: Sandbox) -> None:
    front = proxy_to(sandbox.port())
    with pytest.raises(ConnectionResetError), client(front) as link:
        link.recv(1)
    front.wait_links(0)


def test_it_closes_with_links_open(front: Proxy) -> None:
    with client(front) as link:
        assert ask(link, b"a") == b"a"
        front.close()
        front.close()
        with pytest.raises(ConnectionResetError):
            link.recv(1)
    with pytest.raises(RuntimeError, match="closed"):
        front.cut()


def test_the_broker_answers_through_it(proxy: Proxy, broker: Rabbit) -> None:
    assert speaks_amqp(proxy.port)
    assert proxy.opened == 1
    assert proxy.bytes_down > 8
    assert proxy.target_port == broker.port
