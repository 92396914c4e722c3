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
TOGETHER_MAX = 8

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Waiting = tuple[Request, asyncio.Future[Answer]]


class Crowds(Generic[Request, Answer]):
    """Lets the first of each crowd go alone, and those who came meanwhile together.

    `together` answers None where they must go one by one after all. Bounded by the callers, each of
    whom waits for his own answer.
    """

    def __init__(
        self,
        alone: Callable[[Request], Awaitable[Answer]],
        together: Callable[[Sequence[Request]], Awaitable[Sequence[Answer] | None]],
    ) -> None:
        self._alone = alone
        self._together = together
        self._waiting: dict[str, deque[Waiting[Request, Answer]]] = {}
        self._pumps: set[asyncio.Task[None]] = set()

    async def join(self, name: str, request: Request) -> Answer:
        """Carry out a request in the crowd of that name.

        Errors: whatever the request alone would raise.
        """
        crowd = self._waiting.get(name)
        if crowd is not None:
            answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            crowd.append((request, answer))
            return await answer
        self._waiting[name] = deque()
        try:
            return await self._alone(request)
        finally:
            self._leave(name)

    def __len__(self) -> int:
        return len(self._waiting)

    def _leave(self, name: str) -> None:
        if not self._waiting[name]:
            del self._waiting[name]
            return
        pump = asyncio.ensure_future(self._pump(name))
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)

    async def _pump(self, name: str) -> None:
        crowd = self._waiting[name]
        while crowd:
            taken = [crowd.popleft() for _ in range(min(TOGETHER_MAX, len(crowd)))]
            # Whoever has gone before his turn wants nothing more.
            group = [(request, answer) for request, answer in taken if not answer.done()]
            if group:
                await self._serve(group)
        del self._waiting[name]

    async def _serve(self, group: list[Waiting[Request, Answer]]) -> None:
        if len(group) > 1:
            answers = await self._together([request for request, _ in group])
            if answers is not None:
                for (_, future), answer in zip(group, answers, strict=True):
                    _tell(future, answer)
                return
        for request, future in group:
            alone = asyncio.ensure_future(self._alone(request))
            await asyncio.wait([alone])
            _hand_on(alone, future)


def _tell(future: asyncio.Future[Answer], answer: Answer) -> None:
    if not future.done():
        future.set_result(answer)


def _hand_on(done: asyncio.Future[Answer], future: asyncio.Future[Answer]) -> None:
    """Give the caller what came of his request, good or bad, if he still waits."""
    if done.cancelled():
        future.cancel()
        return
    error = done.exception()
    if future.done():
        return
    if error is None:
        future.set_result(done.result())
    else:
        future.set_exception(error)
