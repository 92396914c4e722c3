"""Shared result: callers at about the same time get the result of one run of slow work."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedResult(Generic[T]):
    """Runs `work` once for all callers of `max_age_s`, counted from the run's start.

    A caller that is cancelled leaves the run to the others; an error of the work is every caller's.

    Units: seconds of a monotonic clock.
    """

    def __init__(self, work: Callable[[], Awaitable[T]], max_age_s: float) -> None:
        self._work = work
        self._max_age_s = max_age_s
        self._run: asyncio.Task[T] | None = None
        self._started_s = 0.0

    async def get(self, now_s: float) -> T:
        """The result of the current run, or of a new one where the last is too old.

        Errors: those of the work.
        """
        run = self._run
        if run is None or (run.done() and now_s - self._started_s >= self._max_age_s):
            self._started_s = now_s
            run = self._run = asyncio.ensure_future(self._call())
        return await asyncio.shield(run)

    async def _call(self) -> T:
        return await self._work()
