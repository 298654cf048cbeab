"""The node's process from its start to its exit code: template, plan, log, pid file, node."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import structlog

from amqtask.clock import SYSTEM
from amqtask.node import log as node_log
from amqtask.node.node import Node
from amqtask.node.notify import Notifier
from amqtask.node.pidfile import PidFile, PidFileTaken
from amqtask.pool import process
from amqtask.pool.forks import BootFailed, BootTimedOut, Template
from amqtask.pool.plan import NodePlan

WRONG_SETTINGS = 2  # as every command's: what a restart cannot mend
CANNOT_CREATE = 73  # EX_CANTCREAT: pid or log file
BOOT_FAILED = 78  # EX_CONFIG: the app's import failed or hung; deploy/systemd does not restart on it

MIN_BACKOFF_S = 1.0


def main(request: dict[str, Any], *, environ: Mapping[str, str], debug: bool = False) -> int:
    """Run a node until it is stopped. `request` says what to import and what the command line decided."""
    process.become_subreaper()
    template = Template(request, clock=SYSTEM)
    try:
        answer = template.boot()
    except BootFailed as failure:
        return _boot_failed(failure, debug=debug)
    except BootTimedOut as late:
        return _say(f"{late}", BOOT_FAILED)
    plan = NodePlan.from_document(answer["plan"])
    try:
        writer = node_log.configure(level=plan.log_level, style=plan.log_format, path=plan.log_file, node=plan.name)
    except OSError as error:
        template.close()
        return _say(f"log.file: {plan.log_file}: {error.strerror}", CANNOT_CREATE)
    log = structlog.get_logger("amqtask.node")
    pidfile = PidFile(plan.pidfile) if plan.pidfile else None
    try:
        if pidfile is not None:
            pidfile.take()
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
        return Node(plan, template, notifier=Notifier(environ), clock=SYSTEM).run()
    except PidFileTaken as taken:
        template.close()
        return _say(str(taken), CANNOT_CREATE)
    finally:
        if pidfile is not None:
            pidfile.release()
        writer.close()


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
