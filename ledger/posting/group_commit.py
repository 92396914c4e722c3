"""Requests for one busy account: whoever comes while one is under way goes with the next ones.

A wallet takes one transaction after the other; several entries in one let a hot vendor's wallet
carry as many settlements as he has, at the pace of a few.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

# Requests that go together. Source: a settlement has up to 11 writes with its order's, a
# transaction at most 100.
BATCH_REQUESTS_MAX = 8

Request = TypeVar("Request")
Response = TypeVar("Response")
PendingRequest = tuple[Request, asyncio.Future[Response]]


class GroupCommit(Generic[Request, Response]):
    """Lets the first of each crowd go alone, and those who came meanwhile together.

    `together` answers None where they must go one by one after all. Bounded by the callers, each of
    whom waits for his own answer.
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
        """Carry out a request in the crowd of that name.

        Errors: whatever the request alone would raise.
        """
        crowd = self._waiting.get(group_key)
        if crowd is not None:
            answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
            crowd.append((request, answer))
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
        pump = asyncio.ensure_future(self._run_queued(group_key))
        self._workers.add(pump)
        pump.add_done_callback(self._workers.discard)

    async def _run_queued(self, group_key: str) -> None:
        crowd = self._waiting[group_key]
        while crowd:
            taken = [crowd.popleft() for _ in range(min(BATCH_REQUESTS_MAX, len(crowd)))]
            # Whoever has gone before his turn wants nothing more.
            group = [(request, answer) for request, answer in taken if not answer.done()]
            if group:
                await self._run_together(group)
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
    """Give the caller what came of his request, good or bad, if he still waits."""
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
