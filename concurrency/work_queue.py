"""Work queue: a bounded queue whose items are handled by a fixed number of concurrent workers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class WorkQueue(Generic[ItemT]):
    """Items wait here until a worker is free; a full queue refuses more.

    What an overflow means is the caller's: `offer` returns False, and the caller counts the loss or
    leaves the item to a sweep.
    """

    def __init__(self, capacity: int, workers: int) -> None:
        """Hold up to `capacity` items, and handle `workers` of them at a time."""
        self._queue: asyncio.Queue[ItemT] = asyncio.Queue(capacity)
        self._workers = workers

    def __len__(self) -> int:
        return self._queue.qsize()

    def offer(self, item: ItemT) -> bool:
        """Queue an item; False, with nothing done, where the queue is full. Never blocks."""
        if self._queue.full():
            return False
        self._queue.put_nowait(item)
        return True

    async def run(self, handle: Callable[[ItemT], Awaitable[None]]) -> None:
        """Background loop: handle items until cancelled.

        Errors: whatever `handle` raises ends the loop and its other workers.
        """
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._run_worker(handle))

    async def _run_worker(self, handle: Callable[[ItemT], Awaitable[None]]) -> None:
        while True:
            await handle(await self._queue.get())
