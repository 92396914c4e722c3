"""The simulation's event loop: virtual time, connections in memory, and lives that can be ended."""

import asyncio
import weakref
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any

from tests.simulation.transport import Listener, Network
from tests.virtual_time import VirtualLoop


class Life:
    """One process from its start to its end; everything it starts inherits it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_over = False
        self.tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        # What a killed process held must not be collected: its `finally` blocks would run.
        self.remains: list[asyncio.Task[Any]] = []
        # What it would have done next.
        self.undone: list[asyncio.Handle] = []


LIFE: ContextVar[Life | None] = ContextVar("life", default=None)


class TownLoop(VirtualLoop):
    """Runs processes side by side, each with a life of its own.

    A life that is over stops where it stands, as after `kill -9`: nothing it has planned is run any
    more, not even what cleans up.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = Network(self)
        self.set_task_factory(_make_task)

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As every loop's, but nothing for a life that is over."""
        handle = super().call_soon(callback, *args, context=context)
        life = _life_of(handle._context)
        if life is not None and life.is_over:
            life.undone.append(self._ready.pop())
        return handle

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As every loop's, but nothing for a life that is over."""
        handle = super().call_at(when, callback, *args, context=context)
        life = _life_of(handle._context)
        if life is not None and life.is_over:
            handle.cancel()
        return handle

    def kill(self, life: Life) -> None:
        """End a life here and now."""
        assert not life.is_over, "nobody dies twice"
        life.remains = list(life.tasks)
        life.is_over = True
        for handle in self._scheduled:
            if _life_of(handle._context) is life:
                handle.cancel()
        ready = list(self._ready)
        self._ready.clear()
        for handle in ready:
            is_his = _life_of(handle._context) is life
            (life.undone if is_his else self._ready).append(handle)
        self.network.cut_all(life)

    def bury(self, life: Life) -> None:
        """Let the remains of a life be ended in order, after everything that matters."""
        life.is_over = False
        self._ready.extend(life.undone)

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, *_args: Any, **_options: Any
    ) -> Any:
        """Connect to who listens under the name of a host."""
        return await self.network.connect(protocol_factory, host, LIFE.get())

    async def create_unix_connection(
        self, protocol_factory: Any, path: Any = None, **_options: Any
    ) -> Any:
        """Connect to who listens under a name."""
        return await self.network.connect(protocol_factory, path, LIFE.get())

    async def create_server(
        self, protocol_factory: Any, *_args: Any, sock: Any = None, **_options: Any
    ) -> Any:
        """Listen; `sock` is a `Plug`."""
        return self.network.listen(Listener(protocol_factory, sock, LIFE.get()))


def _life_of(context: Context) -> Life | None:
    return context.get(LIFE)


def _make_task(
    loop: asyncio.AbstractEventLoop, work: Any, context: Context | None = None
) -> "asyncio.Task[Any]":
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
    life = LIFE.get() if context is None else _life_of(context)
    if life is not None:
        life.tasks.add(task)
    return task
