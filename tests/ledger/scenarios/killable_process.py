"""A process that dies at an await: after it, none of its tasks runs on."""

import asyncio
from collections.abc import Coroutine, Generator
from contextvars import Context, ContextVar
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_running: ContextVar["KillableProcess | None"] = ContextVar("process", default=None)


class KillableProcess:
    """Counts the awaits of all its tasks that suspended, and dies at one of them.

    Requests that were sent are executed, its memory is lost, and nothing is cleaned up.
    """

    def __init__(self, dies_at_await: int | None = None) -> None:
        self.awaits = 0
        self.is_dead = False
        self._dies_at_await = dies_at_await
        self._tasks: set[asyncio.Task[Any]] = set()
        self._died: asyncio.Event = asyncio.Event()

    async def run(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Run the process; None if it died."""
        loop = asyncio.get_running_loop()
        loop.set_task_factory(_make_task)
        token = _running.set(self)
        try:
            main = asyncio.ensure_future(work)
        finally:
            _running.reset(token)
        end = asyncio.ensure_future(self._died.wait())
        await asyncio.wait([main, end], return_when=asyncio.FIRST_COMPLETED)
        if self.is_dead:
            await self._cancel_tasks()
            return None
        end.cancel()
        return await main

    def wrap(self, work: Coroutine[Any, Any, T]) -> "_KillableAwaitable[T]":
        """The same work, which stops when the process dies."""
        return _KillableAwaitable(self, work)

    def add_task(self, task: asyncio.Task[Any]) -> None:
        """Register a task of the process."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def count_await(self) -> None:
        """Count one await; dies at the chosen one."""
        self.awaits += 1
        if self.awaits == self._dies_at_await:
            self.is_dead = True
            self._died.set()

    async def _cancel_tasks(self) -> None:
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


class _KillableAwaitable(Generic[T]):
    """Drives a coroutine step by step."""

    def __init__(self, process: KillableProcess, work: Coroutine[Any, Any, T]) -> None:
        self._process = process
        self._work = work

    def __await__(self) -> Generator[Any, Any, T | None]:
        awaited = self._step(None)
        while not isinstance(awaited, _Finished):
            self._process.count_await()
            error: BaseException | None = None
            try:
                yield awaited
            except BaseException as thrown:  # noqa: BLE001 (any error is thrown into the work)
                error = thrown
            if self._process.is_dead:
                self._close()
                return None
            awaited = self._step(error)
        return awaited.answer

    def _step(self, error: BaseException | None) -> Any:
        try:
            return self._work.send(None) if error is None else self._work.throw(error)
        except StopIteration as stop:
            return _Finished(stop.value)

    def _close(self) -> None:
        try:
            self._work.close()
        except RuntimeError:
            # It would have awaited something while closing; a dead process does not.
            return


class _Finished:
    """The result of the finished work."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer


def _make_task(
    loop: asyncio.AbstractEventLoop,
    coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    context: Context | None = None,
) -> asyncio.Task[Any]:
    process = _running.get() if context is None else context.get(_running)
    if process is None or not asyncio.iscoroutine(coro):
        return asyncio.Task(coro, loop=loop, context=context)
    task = asyncio.Task(_drive(process.wrap(coro)), loop=loop, context=context)
    process.add_task(task)
    return task


async def _drive(watched: "_KillableAwaitable[Any]") -> Any:
    return await watched
