"""Promises that a mutation found without a witness: each of these was the first test to notice its break."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

from amqtask.pool import link
from tests.conftest import OwnBroker, ProxyTo
from tests.node.scenes import Q, id_of, send, wait_ids, wait_runs, wait_until
from tests.support.checker import read_runs
from tests.support.messages import task_message
from tests.support.rabbit import Rabbit
from tests.support.raw import Raw
from tests.support.worker import ROOT, StartWorker, Worker
from tests.unit.pool.conftest import world
from tests.unit.pool.world import World

__all__ = ["world"]

ONE_POOL = """
[queues.work]

[pools.work]
queues = ["work"]
concurrency = {concurrency}
prefetch = {prefetch}
"""


def pool_of(folder: Path, *, concurrency: int, prefetch: int) -> str:
    """A configuration whose only pool is handed that many messages, whatever its tasks last."""
    path = folder / "amqtask.toml"
    path.write_text(ONE_POOL.format(concurrency=concurrency, prefetch=prefetch))
    return str(path)


def test_no_process_runs_code_that_marks_itself(start_worker: StartWorker) -> None:
    """For the mutation that marks each process which runs a copy's code: whoever is not marked ran other code."""
    worker = start_worker("-Q", Q, "-c", "2")
    program = subprocess.run(
        [sys.executable, "-c", "import os, amqtask.pool.link; print(os.getpid())"], capture_output=True, check=True
    )
    marks = Path(f"{link.__file__}.marked")
    marked = {int(word) for word in marks.read_text().split()} if marks.exists() else set()
    pids = [
        ("test", os.getpid()),
        ("program", int(program.stdout)),
        ("node", worker.pid),
        ("template", worker.template()),
        *(("executor", pid) for pid in worker.executors()),
    ]
    assert not any(pid in marked for _, pid in pids), " ".join(name for name, pid in pids if pid in marked)


def test_k14_a_task_whose_dead_letter_cannot_be_published_is_kept(
    start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    worker = start_worker("-Q", Q, "-c", "1")
    raw.delete_queue(f"{Q}.dlq")
    send(raw, "rec.fail")
    wait_runs(record_folder, 1)
    time.sleep(0.5)
    worker.kill()
    raw.wait_count(Q, 1)
    assert "dead_letter.unroutable" in worker.log()


def test_k22_a_draining_node_gives_back_at_once_what_it_could_not_start(
    start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    worker = start_worker("-Q", Q, "-c", "2")
    os.kill(worker.executors()[0], signal.SIGSTOP)  # what it is handed does not start, and is not given back for 1 s
    send(raw, "rec.sleep", 20, count=2)
    wait_runs(record_folder, 1, ended=False)
    worker.signal(signal.SIGTERM)
    raw.wait_count(Q, 1, timeout_s=4)
    assert worker.process.poll() is None
    assert [run.cut for run in read_runs(record_folder)] == [True]


def test_k22_a_dead_letter_that_cannot_be_published_does_not_hold_the_node(
    start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    raw.declare_queue(Q)  # and no queue for its dead letters
    verify = {"AMQTASK_TOPOLOGY__MODE": "verify", "AMQTASK_WORKER__DRAIN_S": "0.5"}
    worker = start_worker("-Q", Q, "-c", "1", env=verify)
    send(raw, "rec.fail")
    wait_until(lambda: "dead_letter.unroutable" in worker.log(), "the dead letter found a queue")
    worker.signal(signal.SIGTERM)
    wait_until(lambda: worker.process.poll() is not None, "it did not end", timeout_s=10)
    assert worker.process.returncode == 0
    assert raw.count(Q) == 1


def test_k10_what_waited_in_the_node_at_a_cut_does_not_run_twice(
    broker: Rabbit,
    vhost: str,
    proxy_to: ProxyTo,
    start_worker: StartWorker,
    raw: Raw,
    record_folder: Path,
    tmp_path: Path,
) -> None:
    proxy = proxy_to(broker.port)
    config = pool_of(tmp_path, concurrency=1, prefetch=50)
    start_worker("--config", config, url=broker.url(vhost, port=proxy.port))
    ids = send(raw, "rec.sleep", 0.02, count=100)
    wait_runs(record_folder, 10)
    proxy.cut()
    wait_ids(record_folder, ids)
    wait_until(lambda: raw.count(Q) == 0, "the queue is not empty")
    time.sleep(0.5)
    # One was running, and a few acknowledgements were under way.
    extra = len(read_runs(record_folder)) - len(ids)
    assert extra <= 5, f"{extra} times too often"


def test_k11_what_waits_behind_a_task_that_kills_its_process_is_not_charged(
    start_worker: StartWorker, raw: Raw, record_folder: Path, tmp_path: Path
) -> None:
    config = pool_of(tmp_path, concurrency=1, prefetch=100)
    start_worker("--config", config, env={"AMQTASK_WORKER__MAX_CRASHES": "1"})
    wait_ids(record_folder, send(raw, "rec.noop", count=500))  # now several are handed over at once
    # While the first one runs, the others arrive, and some of them are in the process when it dies.
    tasks = [("rec.sleep", 0.02), ("rec.die",), *[("rec.noop",)] * 50]
    together = [task_message(str(name), args, queue=Q) for name, *args in tasks]
    raw.publish_many(together)
    first, poison, *good = map(id_of, together)
    wait_ids(record_folder, [first, *good])
    wait_until(lambda: raw.count(f"{Q}.dlq") > 0, "it was not given up")
    assert [letter.correlation_id for letter in raw.drain(f"{Q}.dlq")] == [poison]


def test_k11_a_task_that_outlasts_the_brokers_patience_runs_once(
    own_broker: OwnBroker, start_worker: StartWorker, record_folder: Path
) -> None:
    node = own_broker(conf=["consumer_timeout = 1000"])
    node.eval("application:set_env(rabbit, channel_tick_interval, 200)")  # when the broker looks: else once a minute
    url = node.add_vhost("impatient")
    worker = start_worker("-Q", Q, "-c", "1", url=url)
    with Raw(url) as raw:
        ids = send(raw, "rec.sleep", 2.0)
        wait_until(lambda: "consumer.lost" in worker.log(), "the broker has not closed the channel")
        wait_until(lambda: "delivery.adopted" in worker.log(), "it did not come back")
        wait_ids(record_folder, send(raw, "rec.noop", count=10))
        assert worker.stop() == 0
        assert raw.count(Q) == 0
    assert len(read_runs(record_folder)) == len(ids) + 10


def test_k12_a_pool_that_is_busy_for_long_gives_back_what_waits_in_it(
    start_worker: StartWorker, raw: Raw, record_folder: Path, tmp_path: Path
) -> None:
    start_worker("--config", pool_of(tmp_path, concurrency=1, prefetch=50))
    send(raw, "rec.sleep", 2.0)
    waiting = send(raw, "rec.noop", count=5)
    raw.wait_count(Q, 5, timeout_s=10)
    wait_ids(record_folder, waiting, timeout_s=10)


def test_k12_what_arrives_while_a_busy_pool_takes_nothing_is_given_back(
    broker: Rabbit,
    vhost: str,
    proxy_to: ProxyTo,
    start_worker: StartWorker,
    raw: Raw,
    record_folder: Path,
    tmp_path: Path,
) -> None:
    proxy = proxy_to(broker.port)
    config = pool_of(tmp_path, concurrency=1, prefetch=50)
    start_worker("--config", config, url=broker.url(vhost, port=proxy.port))
    proxy.stall("up")  # the broker does not hear that its consumer is cancelled
    send(raw, "rec.sleep", 20)
    send(raw, "rec.noop")
    wait_runs(record_folder, 1, ended=False)
    time.sleep(0.5)
    send(raw, "rec.noop", count=5)
    wait_until(lambda: raw.count(Q) == 0, "the broker has heard of it")
    proxy.resume()
    raw.wait_count(Q, 6, timeout_s=10)


def test_k10_after_a_cut_all_slots_get_work_again(
    broker: Rabbit, vhost: str, proxy_to: ProxyTo, start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    proxy = proxy_to(broker.port)
    start_worker("-Q", Q, "-c", "2", url=broker.url(vhost, port=proxy.port))
    first = send(raw, "rec.sleep", 0.5, count=2)
    wait_runs(record_folder, 2, ended=False)
    proxy.cut()
    wait_ids(record_folder, first)
    time.sleep(0.5)
    send(raw, "rec.sleep", 20, count=2)
    wait_runs(record_folder, 4, ended=False, timeout_s=10)


def test_k11_a_late_dead_letter_of_a_lost_session_acknowledges_nothing_of_the_next(
    broker: Rabbit, vhost: str, proxy_to: ProxyTo, start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    proxy = proxy_to(broker.port)
    worker = start_worker("-Q", Q, "-c", "2", url=broker.url(vhost, port=proxy.port))
    wait_ids(record_folder, send(raw, "rec.noop"))
    raw.delete_queue(f"{Q}.dlq")
    send(raw, "rec.fail")  # delivery tag 2; its dead letter fails, and is tried again in 2 s
    wait_until(lambda: "dead_letter.unroutable" in worker.log(), "the dead letter found a queue")
    proxy.cut()
    # It comes back as tag 1: adopted, or else run again.
    again = "delivery.adopted"
    wait_until(lambda: again in worker.log() or len(read_runs(record_folder)) > 2, "it did not come back")
    (running,) = send(raw, "rec.sleep", 60)  # tag 2
    time.sleep(2.5)
    assert raw.count(f"{Q}.dlq") > 0
    worker.kill()
    raw.wait_count(Q, 1)
    assert [letter.correlation_id for letter in raw.drain(Q)] == [running]
    assert len(read_runs(record_folder)) == 3, "it ran again"


def test_k11_what_ends_while_the_link_is_down_is_settled_when_it_comes_back(
    broker: Rabbit, vhost: str, proxy_to: ProxyTo, start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    proxy = proxy_to(broker.port)
    worker = start_worker("-Q", Q, "-c", "1", url=broker.url(vhost, port=proxy.port))
    send(raw, "rec.sleep", 0.5)
    wait_runs(record_folder, 1, ended=False)
    proxy.refuse()
    proxy.cut()
    wait_runs(record_folder, 1)
    proxy.accept()
    wait_until(lambda: "delivery.adopted" in worker.log(), "it did not come back")
    wait_ids(record_folder, send(raw, "rec.noop"))  # the slot is free again
    assert worker.stop() == 0
    assert raw.count(Q) == 0
    assert len(read_runs(record_folder)) == 2


def test_k11_what_is_killed_while_the_link_is_down_runs_again(
    broker: Rabbit, vhost: str, proxy_to: ProxyTo, start_worker: StartWorker, raw: Raw, record_folder: Path
) -> None:
    proxy = proxy_to(broker.port)
    worker = start_worker("-Q", Q, "-c", "1", url=broker.url(vhost, port=proxy.port))
    ids = send(raw, "rec.sleep", 1.0)
    wait_runs(record_folder, 1, ended=False)
    proxy.refuse()
    proxy.cut()
    wait_until(lambda: "connection.lost" in worker.log(), "it has not noticed")
    os.kill(worker.executors()[0], signal.SIGKILL)
    wait_until(lambda: "executor.died" in worker.log(), "it has not noticed")
    proxy.accept()
    wait_ids(record_folder, ids, timeout_s=10)


def test_an_executor_that_speaks_another_version_gets_no_work(world: World) -> None:
    world.pool.reaped(world.pool.executors[0].pid or 0, 9)
    _, again = world.timers.pop()
    again()
    new = world.asked[-1]
    hello = bytearray(link.pack_hello(77))
    struct.pack_into(">H", hello, 1, link.VERSION + 1)
    world.say(new, bytes(hello))
    assert world.killed == [77]
    world.offer(2)
    assert not new.outstanding


# A node whose hand-over stops for good after its first task.
WEDGE = """
import sys
if "worker" in sys.orig_argv:
    from amqtask.pool.pool import Pool
    dispatch = Pool.dispatch
    Pool.dispatch = lambda pool: None if pool.ended else dispatch(pool)
"""


def pings(worker: Worker, for_s: float) -> int:
    """How often the node said within `for_s` that it is alive."""
    notify = worker._notify
    notify.settimeout(0.05)
    count, until = 0, time.monotonic() + for_s
    while time.monotonic() < until:
        try:
            count += b"WATCHDOG=1" in notify.recv(4096)
        except TimeoutError:
            continue
    return count


def test_c22_a_node_that_gets_nowhere_stops_telling_the_service_manager_that_it_lives(
    start_worker: StartWorker, raw: Raw, record_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "wedge").mkdir()
    (tmp_path / "wedge" / "sitecustomize.py").write_text(WEDGE)
    environ = {"WATCHDOG_USEC": "800000", "PYTHONPATH": f"{tmp_path / 'wedge'}:{ROOT}"}
    worker = start_worker("-Q", Q, "-c", "1", env=environ)
    send(raw, "rec.sleep", 1.5)
    wait_runs(record_folder, 1, ended=False)
    assert pings(worker, 1.0) >= 2, "a long task is no stall"
    wait_runs(record_folder, 1)
    send(raw, "rec.noop")
    pings(worker, 1.0)
    assert pings(worker, 1.0) == 0, "it says that it lives"
