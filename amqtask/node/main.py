"""The node's process from its start to its exit code: template, plan, log, pid file, node."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Any

import structlog

from amqtask.clock import SYSTEM
from amqtask.node import log as node_log
from amqtask.node.node import Node
from amqtask.node.notify import Notifier
from amqtask.node.pidfile import PidFile, PidFileTaken
from amqtask.pool import executor, process
from amqtask.pool.forks import BootFailed, BootTimedOut, Template
from amqtask.pool.plan import NodePlan

log = structlog.get_logger("amqtask.node")

WRONG_SETTINGS = 2  # as every command's: what a restart cannot mend
BUG = 70  # EX_SOFTWARE: the node's own code failed; a restart begins with a whole state
CANNOT_CREATE = 73  # EX_CANTCREAT: pid or log file
BOOT_FAILED = 78  # EX_CONFIG: the app's import failed or hung; deploy/systemd does not restart on it


FILES_PER_EXECUTOR = 2  # both ends of its socket
FILES_BESIDE = 64  # connections, template, signals, log, and what is opened for a moment


class _ToldToStop(BaseException):
    """SIGTERM before there is a loop that could hear of it."""


def main(request: dict[str, Any], *, environ: Mapping[str, str], debug: bool = False) -> int:
    """Run a node until it is stopped. `request` says what to import and what the command line decided."""
    process.open_standard_streams()
    process.become_subreaper()
    signal.signal(signal.SIGTERM, _stop_early)
    template = Template(request, clock=SYSTEM)
    try:
        answer = template.boot()
        return _leave(_run(NodePlan.from_document(answer["plan"]), answer, template, environ))
    except BootFailed as failure:
        return _boot_failed(failure, debug=debug)
    except BootTimedOut as late:
        return _say(f"{late}", BOOT_FAILED)
    except _ToldToStop:
        template.close()
        return 0


def _run(plan: NodePlan, answer: Mapping[str, Any], template: Template, environ: Mapping[str, str]) -> int:
    slots = sum(pool.concurrency for pool in plan.pools)
    files = FILES_PER_EXECUTOR * slots + FILES_BESIDE
    allowed = process.allow_files(files)
    if allowed < files:
        template.close()
        return _say(
            f"{slots} executors take {files} open files; the limit here is {allowed} (ulimit -n)", WRONG_SETTINGS
        )
    try:
        writer = node_log.configure(level=plan.log_level, style=plan.log_format, path=plan.log_file, node=plan.name)
    except OSError as error:
        template.close()
        return _say(f"log.file: {plan.log_file}: {error.strerror}", CANNOT_CREATE)
    pidfile = PidFile(plan.pidfile) if plan.pidfile else None
    try:
        if pidfile is not None:
            pidfile.take()
        _say_what_starts(plan, answer)
        node = Node(plan, template, notifier=Notifier(environ), clock=SYSTEM, reopen_log=writer.reopen)
        return work(node)
    except PidFileTaken as taken:
        template.close()
        return _say(str(taken), CANNOT_CREATE)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends already
        if pidfile is not None:
            pidfile.release()
        writer.close()


def work(node: Node) -> int:
    """Run it. A failure of its loop is never taken for a wrong setting, whatever error it ended in."""
    try:
        node.run()
    except Exception as error:
        log.critical("node.failed", error=f"{type(error).__name__}: {error}", exc_info=True)
        return BUG
    return 0


def _say_what_starts(plan: NodePlan, answer: Mapping[str, Any]) -> None:
    log.info(
        "node.starting",
        tasks=len(plan.tasks),
        queues=list(plan.queues),
        pools={pool.name: pool.concurrency for pool in plan.pools},
        import_s=answer["took_s"],
    )
    for note in plan.notes:
        log.info("settings.note", note=note)
    if answer["threads"]:
        log.warning(
            "template.has_threads",
            threads=answer["threads"],
            hint="a fork copies none of them: start them in the task",
        )


def _stop_early(_number: int, _frame: object) -> None:
    raise _ToldToStop


def _leave(code: int) -> int:
    """Give the exit code back, unless a thread of a connection's would hold the process: a name look-up that hangs."""
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        executor.end(code)
    return code


def _boot_failed(failure: BootFailed, *, debug: bool) -> int:
    if failure.ours:
        if debug:
            sys.stderr.write(failure.traceback)
        return _say(str(failure), WRONG_SETTINGS)
    # The user's own code raised: its traceback is what helps, and a restart will not.
    sys.stderr.write(failure.traceback)
    return _say(f"the app could not be imported: {failure}", BOOT_FAILED)


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"amqtask: {text}\n")
    sys.stderr.flush()
    return code


def environment() -> Mapping[str, str]:
    """The process's environment."""
    return os.environ
