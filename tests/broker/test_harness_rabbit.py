"""The harness's private RabbitMQ nodes: they start, keep their data over a kill, block, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.conftest import OwnBroker
from tests.support.rabbit import BrokerFailed, Rabbit, Rabbits, Roots, answers, speaks_amqp
from tests.support.reaper import alive
from tests.support.sandbox import Sandbox


def test_the_shared_broker_is_the_version_asked_for(broker: Rabbit, broker_version: str) -> None:
    assert broker.ctl("version").startswith(broker_version)
    assert broker.eval("1 + 1") == "2"


def test_a_test_has_a_virtual_host_of_its_own(broker: Rabbit, vhost: str, vhost_url: str) -> None:
    assert vhost in broker.ctl("list_vhosts").splitlines()
    assert vhost_url == f"amqp://guest:guest@127.0.0.1:{broker.port}/{vhost}"
    assert broker.api("GET", f"queues/{vhost}") == []


def test_a_killed_node_comes_back_on_its_port_with_its_data(own_broker: OwnBroker) -> None:
    node = own_broker()
    node.add_vhost("kept")
    port, pid = node.port, node.pid
    assert pid is not None
    node.kill()
    assert not node.running
    assert not answers(port)
    assert not alive(pid)
    node.start()
    assert node.port == port
    assert "kept" in node.ctl("list_vhosts").splitlines()


def test_a_node_stops_cleanly_and_starts_again(own_broker: OwnBroker) -> None:
    node = own_broker()
    node.restart()
    assert speaks_amqp(node.port)
    assert "SIGTERM received" in node.log()


def test_configuration_lines_reach_the_node(own_broker: OwnBroker) -> None:
    node = own_broker(conf=["consumer_timeout = 61000"])
    assert node.eval("application:get_env(rabbit, consumer_timeout)") == "{ok,61000}"


def test_the_memory_alarm_is_raised_and_cleared(own_broker: OwnBroker) -> None:
    node = own_broker()
    node.block()
    assert "memory" in node.eval("rabbit_alarm:get_alarms()")
    node.unblock()
    assert node.eval("rabbit_alarm:get_alarms()") == "[]"


def test_a_frozen_node_says_nothing_until_it_thaws(own_broker: OwnBroker) -> None:
    node = own_broker()
    node.freeze()
    assert node.running
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-c", GREET, str(node.port)], timeout=1, check=True)
    node.thaw()
    assert speaks_amqp(node.port)


GREET = """
import socket, sys
link = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
link.sendall(b"AMQP\\0\\0\\x09\\x01")
link.recv(1)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_the_session_is_ended(tmp_path: Path, how: signal.Signals) -> None:
    script = tmp_path / "test_session.py"
    script.write_text(
        textwrap.dedent("""
            import os, sys, time
            def test_waits(broker, sandbox):
                print("READY", broker.pid, broker.port, broker._folder, flush=True)
                time.sleep(60)
        """)
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "pytest", "-s", "-q", "-p", "no:cacheprovider", "-p", "tests.conftest"]
    session = subprocess.Popen(
        [*command, f"--rootdir={tmp_path}", str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root), "AMQTASK_TEST_BROKERS": "3.10"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert session.stdout is not None
    with session, session.stdout as output:
        line = next((line for line in output if "READY" in line), None)
        assert line is not None, "the inner session started no broker"
        pid, port, folder = line.split("READY ")[1].split()
        assert Path(folder).exists()
        session.send_signal(how)
        session.wait(20)
    end = time.monotonic() + 10
    while time.monotonic() < end and (alive(int(pid)) or Path(folder).exists() or answers(int(port))):
        time.sleep(0.05)
    assert not alive(int(pid))
    assert not Path(folder).exists()
    assert not answers(int(port))


def test_a_version_that_no_folder_holds_is_named(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(BrokerFailed, match=r"RabbitMQ 9\.9 is asked for, and AMQTASK_TEST_RABBIT_ROOTS names no"):
        Rabbits(sandbox, Roots("")).make("9.9")
    with pytest.raises(BrokerFailed, match=r"holds no rabbitmq-server"):
        Rabbits(sandbox, Roots(f"9.9={tmp_path}")).make("9.9")


def test_a_node_that_cannot_start_says_why(rabbits: Rabbits, broker_version: str) -> None:
    node = rabbits.make(broker_version, conf=["no_such_key = 1"])
    with pytest.raises(BrokerFailed, match="no_such_key"):
        node.start()
    node.remove()
