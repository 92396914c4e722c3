"""Group commit: requests for one account that arrive during another are run together.

A wallet takes one transaction at a time; several entries in one transaction let a busy vendor's
wallet take many settlements in the time of a few.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

# Requests in one batch. Source: a settlement has up to 11 writes with those of its order, a
# transaction at most 100.
BATCH_REQUESTS_MAX = 8

Request = TypeVar("Request")
Response = TypeVar("Response")
PendingRequest = tuple[Request, asyncio.Future[Response]]


class GroupCommit(Generic[Request, Response]):
    """Runs the first request of a group alone, and those that arrive meanwhile in batches.

    `run_batch` returns None where its requests must be run one by one after all. The queue is
    bounded by its callers, each of which waits for its own answer.
    """

    def __init__(
        self,
        run_one: Callable[[Request], Awaitable[Response]],
        run_batch: Callable[[Sequence[Request]], Awaitable[Sequence[Response] | None]],
    ) -> None:
        self._run_one = run_one
        self._run_batch = run_batch
        self._waiting: dict[str, deque[PendingRequest[Request, Response]]] = {}
        self._workers: set[asyncio.Task[None]] = set()

    async def submit(self, group_key: str, request: Request) -> Response:
        """Run a request in the group of that key.

        Errors: those of `run_one` for this request.
        """
        queue = self._waiting.get(group_key)
        if queue is not None:
            answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
            queue.append((request, answer))
            return await answer
        self._waiting[group_key] = deque()
        try:
            return await self._run_one(request)
        finally:
            self._start_worker(group_key)

    def __len__(self) -> int:
        return len(self._waiting)

    def _start_worker(self, group_key: str) -> None:
        if not self._waiting[group_key]:
            del self._waiting[group_key]
            return
        worker = asyncio.ensure_future(self._run_queued(group_key))
        self._workers.add(worker)
        worker.add_done_callback(self._workers.discard)

    async def _run_queued(self, group_key: str) -> None:
        queue = self._waiting[group_key]
        while queue:
            taken = [queue.popleft() for _ in range(min(BATCH_REQUESTS_MAX, len(queue)))]
            # The callers of finished futures were cancelled.
            batch = [(request, answer) for request, answer in taken if not answer.done()]
            if batch:
                await self._run_together(batch)
        del self._waiting[group_key]

    async def _run_together(self, requests: list[PendingRequest[Request, Response]]) -> None:
        if len(requests) > 1:
            answers = await self._run_batch([request for request, _ in requests])
            if answers is not None:
                for (_, future), answer in zip(requests, answers, strict=True):
                    _set_result(future, answer)
                return
        for request, future in requests:
            alone = asyncio.ensure_future(self._run_one(request))
            await asyncio.wait([alone])
            _copy_outcome(alone, future)


def _set_result(future: asyncio.Future[Response], answer: Response) -> None:
    if not future.done():
        future.set_result(answer)


def _copy_outcome(source: asyncio.Future[Response], target: asyncio.Future[Response]) -> None:
    """Give a request's result or error to its caller, if it still waits."""
    if source.cancelled():
        target.cancel()
        return
    error = source.exception()
    if target.done():
        return
    if error is None:
        target.set_result(source.result())
    else:
        target.set_exception(error)
