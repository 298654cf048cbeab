"""The template process: imports the app once, tells the node what it found, and forks executors on request.

It is started by the node (`python -m amqtask.pool.template FD`), has one thread and no connection, and lives on a
socket to the node: the first document says what to import, the answer is the plan or the reason why there is none, and
from then on each request carries an executor's socket. An executor is forked twice, so that it becomes the node's own
child and the node is told how it ended.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import socket
import sys
import threading
import time
import traceback
from typing import Any, NoReturn

from amqtask.pool import executor, link, process


class Template:
    """The loaded app and the socket to the node."""

    def __init__(self, control: socket.socket, node_pid: int) -> None:
        self._control = control
        self._node_pid = node_pid

    def load(self, request: dict[str, Any]) -> bool:
        """Import the app and answer with the plan. False when that failed; the node has been told why."""
        from amqtask.pool.boot import Loaded, load

        def announce(booting: dict[str, float]) -> None:
            link.send_document(self._control, {"booting": booting})

        started = time.monotonic()
        try:
            self._loaded: Loaded = load(request, announce)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the import of the user's app may raise anything
            self._refuse(error)
            return False
        threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
        link.send_document(
            self._control,
            {
                "plan": self._loaded.plan.to_document(),
                "threads": threads,
                "took_s": round(time.monotonic() - started, 3),
            },
        )
        # What was loaded is shared with every executor for as long as nobody writes to it: collect once, then keep
        # the collector's hands off it.
        gc.collect()
        gc.freeze()
        return True

    def _refuse(self, error: BaseException) -> None:
        from amqtask.app.find import AppImportFailed
        from amqtask.errors import AmqtaskError

        # Of the user's own code only its traceback says enough.
        ours = isinstance(error, AmqtaskError) and not isinstance(error, AppImportFailed)
        link.send_document(
            self._control,
            {
                "error": str(error) if isinstance(error, AmqtaskError) else f"{type(error).__name__}: {error}",
                "ours": ours,
                "traceback": "".join(traceback.format_exception(error))[-32_000:],
            },
        )

    def serve(self) -> None:
        """Fork an executor per request until the node is gone."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # gone in the middle of a request
            going = True
            while going:
                going = self._serve_one()

    def _serve_one(self) -> bool:
        request, fds = link.receive_document(self._control)
        if request is None:
            return False
        try:
            if not fds:
                raise OSError(errno.EMFILE, "too many open files to receive the executor's socket")
            with socket.socket(fileno=fds[0]) as end:
                answer = {"id": request["id"], "pid": self._fork(end)}
        except OSError as error:
            answer = {"id": request["id"], "error": error.strerror or str(error)}
        link.send_document(self._control, answer)
        return True

    def _fork(self, end: socket.socket) -> int:
        reader, writer = os.pipe()
        try:
            middle = os.fork()
            if middle == 0:
                self._be_the_middle(reader, writer, end)
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        with open(reader, "rb") as pipe:  # noqa: PTH123 - a descriptor, not a path
            pid = pipe.read(8)
        code = errno.ECHILD
        with contextlib.suppress(ChildProcessError):  # the app reaps children itself, or has the kernel do it
            code = os.waitstatus_to_exitcode(os.waitpid(middle, 0)[1])
        if len(pid) < 8:
            raise OSError(code, f"no process for an executor: {os.strerror(abs(code))}")
        return int.from_bytes(pid, "big")

    def _be_the_middle(self, reader: int, writer: int, end: socket.socket) -> NoReturn:
        """Fork the executor and end, so that it becomes the node's child. Nobody comes back from here."""
        status = errno.ECANCELED
        try:
            os.close(reader)
            grandchild = os.fork()
            if grandchild:
                os.write(writer, grandchild.to_bytes(8, "big"))
                status = 0
            else:
                os.close(writer)
                self._become_executor(end)
        except OSError as error:
            status = error.errno or status
        except BaseException as error:  # noqa: BLE001 - whatever it is, there must not be a second template
            traceback.print_exception(error)
        finally:
            os._exit(status)

    def _become_executor(self, end: socket.socket) -> None:
        os.setsid()
        self._control.close()
        process.leave_stopping_to_the_node()
        process.die_with_parent(self._node_pid)
        executor.main(end, self._loaded.runner())


def main(argv: list[str]) -> int:
    """Entry of the process; `argv[1]` is the descriptor of the socket to the node."""
    process.leave_stopping_to_the_node()
    control = socket.socket(fileno=int(argv[1]))
    node_pid = os.getppid()
    process.die_with_parent(node_pid)
    request, _ = link.receive_document(control)
    if request is None:
        return 0
    template = Template(control, node_pid)
    if not template.load(request):
        return 1
    template.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
