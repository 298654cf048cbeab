"""App: one program's settings, tasks, routes and publisher. Explicit: nothing is found by looking at who calls.

Building an app (settings, declarations, imports) belongs to one thread; sending is for every thread, and in every
process forked from it.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Concatenate, Literal, ParamSpec, TypeVar, Unpack, cast, overload

from amqtask.app.discover import Discovery, import_modules
from amqtask.app.pipeline import Pipeline
from amqtask.app.planner import Planned, Planner
from amqtask.clock import SYSTEM, Clock
from amqtask.errors import SettingsError, TaskError
from amqtask.routing.router import Router
from amqtask.settings import Conf, Settings, load
from amqtask.tasks.declare import BoundTask, as_callable, declare
from amqtask.tasks.default import DEFAULT
from amqtask.tasks.handle import AsyncResult
from amqtask.tasks.options import DeclareOptions, SendOptions
from amqtask.tasks.registry import Registry, check_outermost
from amqtask.tasks.signature import Signature
from amqtask.tasks.task import Task, plain_arguments
from amqtask.topology.model import Topology

if TYPE_CHECKING:
    from amqtask.publish.confirmation import Confirmation
    from amqtask.publish.publisher import Publisher

P = ParamSpec("P")
R = TypeVar("R")


class App:
    """A program's tasks and its way to the broker.

    `main` prefixes the names of tasks that `__main__` defines. `broker` is a URL, or several hosts' (`url;url`, a
    list). `include` lists modules with tasks, imported when a worker loads the app. `config` is a TOML file,
    `config_source` (also `settings`) a module, object, dict or import path with settings; any other keyword is a
    setting, by our name or Celery's. The app made last is the default one of `shared_task`, unless `set_as_current`
    is false. Raises SettingsError for settings that are unknown or cannot be.
    """

    def __init__(
        self,
        main: str | None = None,
        *,
        broker: str | Iterable[str] | None = None,
        backend: str | None = None,
        include: str | Iterable[str] = (),
        config: str | None = None,
        config_source: object = None,
        settings: object = None,
        namespace: str | None = None,
        changes: Mapping[str, object] | None = None,
        set_as_current: bool = True,
        strict_typing: bool = True,
        task_cls: type[Task[..., object]] | None = None,
        clock: Clock = SYSTEM,
        **values: object,
    ) -> None:
        if backend is not None:
            raise SettingsError(f"this version of amqtask stores no results: {backend!r} is of no use", where="backend")
        self.main = main
        self.conf = Conf()
        for source in (config_source, settings):
            if source is not None:
                self.conf.add_object(source, namespace=namespace)
        given = {**(changes or {}), **values}
        if broker is not None:
            given["broker.url"] = broker if isinstance(broker, str) else list(broker)
        if given:
            self.conf.update(given)
        self._include = [include] if isinstance(include, str) else list(include)
        self._config_file = config
        self._overrides: dict[str, object] = {}
        self._environ: Mapping[str, str] | None = None
        self._typing = strict_typing
        self._task_class = task_cls or Task
        self._clock = clock
        self._registry = Registry()
        self._shared = 0
        self._discoveries: list[Discovery] = []
        self._lock = threading.RLock()
        self._settings: Settings | None = None
        self._topology: Topology | None = None
        self._router: Router | None = None
        self._planner: Planner | None = None
        self._publisher: Publisher | None = None
        if hasattr(os, "register_at_fork"):
            forked = weakref.WeakMethod(self._after_fork)
            os.register_at_fork(after_in_child=lambda: _call(forked))
        if set_as_current:
            DEFAULT.set(self)

    # Settings

    def configure(
        self,
        *,
        config_file: str | None = None,
        overrides: Mapping[str, object] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """What the command line says: a file instead of the app's own, and values above every other source's.

        Raises SettingsError when the settings are in use already.
        """
        if config_file is None and not overrides and environ is None:
            return
        with self._lock:
            if self._settings is not None:
                raise SettingsError("the app was used while it was imported, so its settings can no longer be changed")
            self._config_file = config_file or self._config_file
            self._overrides.update(overrides or {})
            self._environ = environ

    def config_from_object(self, source: object, *, namespace: str | None = None) -> None:
        """Take settings from a module, an object, a dict, or the import path of one."""
        self.conf.add_object(source, namespace=namespace)

    @property
    def settings(self) -> Settings:
        """The settings; read at the first use and fixed from then on. Raises SettingsError."""
        if self._settings is None:
            with self._lock:
                if self._settings is None:
                    settings = load(
                        config_file=self._config_file,
                        environ=self._environ,
                        overrides=self._overrides,
                        python=self.conf,
                    )
                    self.conf.freeze(settings)
                    self._settings = settings
        return self._settings

    # Tasks

    @overload
    def task(self, function: Callable[P, R], /, **options: Unpack[DeclareOptions]) -> Task[P, R]: ...
    @overload
    def task(
        self, /, *, bind: Literal[True], **options: Unpack[DeclareOptions]
    ) -> Callable[[Callable[Concatenate[BoundTask, P], R]], Task[P, R]]: ...
    @overload
    def task(
        self, /, *, bind: Literal[False] = False, **options: Unpack[DeclareOptions]
    ) -> Callable[[Callable[P, R]], Task[P, R]]: ...
    def task(self, function: object = None, /, **options: object) -> object:
        """Declare a task: `@app.task` or `@app.task(name=..., bind=True, queue=...)`, outermost of all decorators.

        Its name is `module.function` unless it is given one. With `bind` the function's first argument is the task.
        Raises TaskError for an unknown option, a name that another function has, or a function that cannot be a task.
        """

        def decorate(function: Callable[..., object]) -> Task[..., object]:
            given = options if self._typing else {"typing": False, **options}
            task = declare(function, given, app=lambda: self, main=self.main, base=self._task_class)
            self.tasks.register(task)
            return task

        return decorate if function is None else decorate(as_callable(function))

    @property
    def tasks(self) -> Registry:
        """The tasks that are declared so far, by name; shared ones among them."""
        for task in DEFAULT.shared_after(self._shared):
            self._shared += 1
            self._registry.register(task)
        return self._registry

    def autodiscover_tasks(
        self, packages: list[str] | tuple[str, ...] | Callable[[], Iterable[str]], related_name: str | None = "tasks"
    ) -> None:
        """When the app is loaded, import the module `related_name` of each package that has one."""
        if isinstance(packages, str):
            raise TaskError(f"autodiscover_tasks takes a list of packages, not {packages!r}")
        self._discoveries.append(Discovery(packages, related_name))

    def load(self) -> None:
        """Import every module that holds tasks: `include`, the setting `tasks.imports`, and what is discovered.

        Raises SettingsError for a module that does not exist, TaskError for a task under another decorator, and
        whatever a module raises while it is imported.
        """
        import_modules(self._include, where="include")
        import_modules(self.settings.tasks.imports, where="tasks.imports")
        for discovery in self._discoveries:
            import_modules(discovery.modules(), where="autodiscover_tasks")
        check_outermost(self.tasks)
        with self._lock:
            self._topology = self._router = self._planner = None  # tasks may have named queues

    # Routing

    @property
    def topology(self) -> Topology:
        """The exchanges, queues and bindings that settings and tasks name. Raises TopologyError."""
        with self._lock:
            if self._topology is None:
                queues = [task.options.queue for task in self.tasks.values()]
                self._topology = Topology.from_settings(
                    self.settings, extra_queues=dict.fromkeys(name for name in queues if isinstance(name, str))
                )
            return self._topology

    @property
    def router(self) -> Router:
        """Where tasks go. Raises TopologyError for rules that name what does not exist."""
        with self._lock:
            if self._router is None:
                self._router = Router(self.settings, self.topology)
            return self._router

    def declare(self, *things: object) -> None:
        """Declare exchanges, queues and bindings at once: `amqtask.topology`'s, or kombu's `Exchange` and `Queue`.

        For what only a running program knows; each is declared exactly as it is given, and blocks until it is there.
        Raises the first failure (TopologyConflict, TopologyUnsupported, AccessRefused) after the others were tried,
        ConnectionLost when no broker answers.
        """
        from amqtask.provision.declare import declare  # a connection of its own: only for who declares

        declare(self.settings, *things)

    # Sending

    @property
    def publisher(self) -> Publisher:
        """The publisher; it connects when something is sent."""
        if self._publisher is None:
            from amqtask.publish.publisher import Publisher  # pika and its threads: only for who sends

            with self._lock:
                if self._publisher is None:
                    self._publisher = Publisher(self.settings, topology=self.topology, clock=self._clock)
        return self._publisher

    def send(self, call: Signature) -> AsyncResult[object]:
        """Send one planned call; returns when the broker has it. Raises as `Task.delay` does."""
        confirmation = self._submit(call)
        confirmation.result()
        return AsyncResult(confirmation.id, call.task)

    async def asend(self, call: Signature) -> AsyncResult[object]:
        """`send` for coroutines."""
        confirmation = self._submit(call)
        await confirmation
        return AsyncResult(confirmation.id, call.task)

    def send_task(
        self,
        name: str,
        args: tuple[object, ...] | list[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        **options: Unpack[SendOptions],
    ) -> AsyncResult[object]:
        """Send a task by its name; its code need not be here. If it is, its options hold and arguments are checked."""
        return self.send(self.signature(name, args, kwargs, **options))

    async def asend_task(
        self,
        name: str,
        args: tuple[object, ...] | list[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        **options: Unpack[SendOptions],
    ) -> AsyncResult[object]:
        """`send_task` for coroutines."""
        return await self.asend(self.signature(name, args, kwargs, **options))

    def send_many(self, calls: Iterable[Signature]) -> list[AsyncResult[object]]:
        """Send many calls and wait for the broker's answers together; each message has a whole deadline.

        Every call is tried. Raises BatchFailed when some were not accepted, with the error of each by its position.
        """
        return self.pipeline().send_all(calls)

    def pipeline(self) -> Pipeline:
        """For a `with` block that sends without waiting; see Pipeline."""
        return Pipeline(self._plan, self.publisher.pipeline())

    def signature(
        self,
        name: str,
        args: tuple[object, ...] | list[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        **options: Unpack[SendOptions],
    ) -> Signature:
        """A call by name, to be sent later."""
        if not isinstance(name, str) or not name:
            raise TaskError(f"a task's name must be a text, not {name!r:.80}")
        positional, named = plain_arguments(name, args, kwargs)
        given = MappingProxyType(cast("dict[str, object]", options))
        return Signature(name, positional, named, given, sender=self)

    def close(self) -> None:
        """Let go of the connection, after what was sent has been answered. Sending again opens another."""
        with self._lock:
            publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.close()

    def __enter__(self) -> App:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<App {self.main!r}: {len(self._registry)} tasks>"

    @property
    def _planner_now(self) -> Planner:
        planner = self._planner
        if planner is None:
            with self._lock:
                planner = self._planner = Planner(self.settings, self.router, self._clock)
        return planner

    def _plan(self, call: Signature) -> Planned:
        task = call.type if call.type is not None else self.tasks.get(call.task)
        return self._planner_now.plan(call, task)

    def _submit(self, call: Signature) -> Confirmation:
        planned = self._plan(call)
        return self.publisher.publish(
            planned.message,
            exchange=planned.route.exchange,
            routing_key=planned.route.routing_key,
            deadline_s=planned.deadline_s,
            retry=planned.retry,
            retry_policy=planned.retry_policy,
        )

    def _after_fork(self) -> None:
        self._lock = threading.RLock()  # another thread of the parent may have held it


def _call(method: weakref.WeakMethod[Callable[[], None]]) -> None:
    function = method()
    if function is not None:
        function()
