"""Work queues: bounded, in order, with so many items at a time and no more."""

import asyncio
from contextlib import suppress

import pytest

from concurrency.work_queue import WorkQueue


def test_a_full_queue_refuses_more():
    """The caller learns of the overflow; what was queued stays."""
    queue = WorkQueue[int](capacity=2, workers=1)

    assert [queue.offer(number) for number in range(3)] == [True, True, False]
    assert len(queue) == 2


async def test_items_are_handled_in_order_by_so_many_workers():
    """With two workers two items run at a time, and all of them begin in order."""
    queue, started, release = WorkQueue[int](10, workers=2), list[int](), asyncio.Event()

    async def handle(item: int) -> None:
        started.append(item)
        await release.wait()

    for number in range(5):
        queue.offer(number)
    running = asyncio.ensure_future(queue.run(handle))
    for _ in range(5):
        await asyncio.sleep(0)
    assert started == [0, 1]
    release.set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert started == [0, 1, 2, 3, 4]
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_an_error_of_the_handler_ends_the_loop():
    """A bug rises to the supervisor, which restarts the loop; queued items are still there."""
    queue = WorkQueue[int](10, workers=1)

    async def handle(item: int) -> None:
        raise ValueError(item)

    queue.offer(1)
    queue.offer(2)
    with pytest.raises(ExceptionGroup):
        await queue.run(handle)
    assert len(queue) == 1
