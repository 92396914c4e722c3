"""Event loop of the simulation: virtual time, in-memory connections, processes to kill."""

import asyncio
import weakref
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any

from tests.simulation.memory_network import Listener, MemoryNetwork
from tests.virtual_time import VirtualLoop


class SimulatedProcess:
    """One process from start to end; its tasks and callbacks carry it in their context."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.has_ended = False
        self.tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        # Tasks of a killed process must not be collected, because their `finally` blocks would run.
        self.killed_tasks: list[asyncio.Task[Any]] = []
        # Callbacks it would have run next.
        self.unrun_handles: list[asyncio.Handle] = []


CURRENT_PROCESS: ContextVar[SimulatedProcess | None] = ContextVar("process", default=None)


class SimulationLoop(VirtualLoop):
    """Event loop that runs several processes, each of which can be killed.

    A killed process stops at once, as after `kill -9`: none of its callbacks runs any more, not
    even its cleanup.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = MemoryNetwork(self)
        self.set_task_factory(_make_task)

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Schedule a callback, unless its process has been killed."""
        handle = super().call_soon(callback, *args, context=context)
        process = _process_of(handle._context)
        if process is not None and process.has_ended:
            process.unrun_handles.append(self._ready.pop())
        return handle

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Schedule a timer, unless its process has been killed."""
        handle = super().call_at(when, callback, *args, context=context)
        process = _process_of(handle._context)
        if process is not None and process.has_ended:
            handle.cancel()
        return handle

    def kill(self, process: SimulatedProcess) -> None:
        """Kill a process now."""
        assert not process.has_ended, "the process is still running"
        process.killed_tasks = list(process.tasks)
        process.has_ended = True
        for handle in self._scheduled:
            if _process_of(handle._context) is process:
                handle.cancel()
        ready = list(self._ready)
        self._ready.clear()
        for handle in ready:
            is_own = _process_of(handle._context) is process
            (process.unrun_handles if is_own else self._ready).append(handle)
        self.network.disconnect_process(process)

    def release_killed(self, process: SimulatedProcess) -> None:
        """Let the killed process's tasks end in order, after the run's evidence is collected."""
        process.has_ended = False
        self._ready.extend(process.unrun_handles)

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, *_args: Any, **_options: Any
    ) -> Any:
        """Connect to the listener with the name of a host."""
        return await self.network.connect(protocol_factory, host, CURRENT_PROCESS.get())

    async def create_unix_connection(
        self, protocol_factory: Any, path: Any = None, **_options: Any
    ) -> Any:
        """Connect to the listener with a name."""
        return await self.network.connect(protocol_factory, path, CURRENT_PROCESS.get())

    async def create_server(
        self, protocol_factory: Any, *_args: Any, sock: Any = None, **_options: Any
    ) -> Any:
        """Listen; `sock` is a `BoundSocket`."""
        return self.network.listen(Listener(protocol_factory, sock, CURRENT_PROCESS.get()))


def _process_of(context: Context) -> SimulatedProcess | None:
    return context.get(CURRENT_PROCESS)


def _make_task(
    loop: asyncio.AbstractEventLoop, work: Any, context: Context | None = None
) -> "asyncio.Task[Any]":
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
    process = CURRENT_PROCESS.get() if context is None else _process_of(context)
    if process is not None:
        process.tasks.add(task)
    return task
