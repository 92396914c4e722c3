"""The simulation's event loop: virtual time, connections in memory, and lives that can be ended."""

import asyncio
import weakref
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any

from tests.simulation.memory_network import Listener, MemoryNetwork
from tests.virtual_time import VirtualLoop


class SimulatedProcess:
    """One process from its start to its end; everything it starts inherits it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.has_ended = False
        self.tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        # What a killed process held must not be collected: its `finally` blocks would run.
        self.killed_tasks: list[asyncio.Task[Any]] = []
        # What it would have done next.
        self.unrun_handles: list[asyncio.Handle] = []


CURRENT_PROCESS: ContextVar[SimulatedProcess | None] = ContextVar("life", default=None)


class SimulationLoop(VirtualLoop):
    """Runs processes side by side, each with a life of its own.

    A life that is over stops where it stands, as after `kill -9`: nothing it has planned is run any
    more, not even what cleans up.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = MemoryNetwork(self)
        self.set_task_factory(_make_task)

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As every loop's, but nothing for a life that is over."""
        handle = super().call_soon(callback, *args, context=context)
        life = _process_of(handle._context)
        if life is not None and life.has_ended:
            life.unrun_handles.append(self._ready.pop())
        return handle

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As every loop's, but nothing for a life that is over."""
        handle = super().call_at(when, callback, *args, context=context)
        life = _process_of(handle._context)
        if life is not None and life.has_ended:
            handle.cancel()
        return handle

    def kill(self, process: SimulatedProcess) -> None:
        """End a life here and now."""
        assert not process.has_ended, "nobody dies twice"
        process.killed_tasks = list(process.tasks)
        process.has_ended = True
        for handle in self._scheduled:
            if _process_of(handle._context) is process:
                handle.cancel()
        ready = list(self._ready)
        self._ready.clear()
        for handle in ready:
            is_his = _process_of(handle._context) is process
            (process.unrun_handles if is_his else self._ready).append(handle)
        self.network.disconnect_process(process)

    def release_killed(self, process: SimulatedProcess) -> None:
        """Let the remains of a life be ended in order, after everything that matters."""
        process.has_ended = False
        self._ready.extend(process.unrun_handles)

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, *_args: Any, **_options: Any
    ) -> Any:
        """Connect to who listens under the name of a host."""
        return await self.network.connect(protocol_factory, host, CURRENT_PROCESS.get())

    async def create_unix_connection(
        self, protocol_factory: Any, path: Any = None, **_options: Any
    ) -> Any:
        """Connect to who listens under a name."""
        return await self.network.connect(protocol_factory, path, CURRENT_PROCESS.get())

    async def create_server(
        self, protocol_factory: Any, *_args: Any, sock: Any = None, **_options: Any
    ) -> Any:
        """Listen; `sock` is a `Plug`."""
        return self.network.listen(Listener(protocol_factory, sock, CURRENT_PROCESS.get()))


def _process_of(context: Context) -> SimulatedProcess | None:
    return context.get(CURRENT_PROCESS)


def _make_task(
    loop: asyncio.AbstractEventLoop, work: Any, context: Context | None = None
) -> "asyncio.Task[Any]":
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
    life = CURRENT_PROCESS.get() if context is None else _process_of(context)
    if life is not None:
        life.tasks.add(task)
    return task
