"""Supervisor of background loops: restarts those that crash and stops all in order."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from dispatch import metrics

Loop = Callable[[], Awaitable[None]]

# Pause before a restart: the minimum at first, then doubled with each crash in a row up to the
# maximum. Source: docs/promises.md, the first event comes at most 2 s after Redis is back.
BACKOFF_S_MIN = 0.1
BACKOFF_S_MAX = 2.0
# A loop that ran this long before it crashed counts as recovered: the pause starts over.
HEALTHY_S = 10.0

_log = structlog.get_logger(__name__)


class Supervisor:
    """Runs the background loops of a server.

    A loop that raises is counted, logged with its error and restarted; one that returns is done.
    `clock_s` is a steady clock and `pause` sleeps; tests pass their own. Units: seconds.
    """

    def __init__(
        self,
        clock_s: Callable[[], float],
        pause: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._clock_s = clock_s
        self._pause = pause
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the running loops, in the order of their start."""
        return tuple(name for name, task in self._tasks.items() if not task.done())

    def spawn(self, name: str, loop: Loop) -> None:
        """Start a loop under a name that no running loop has."""
        assert name not in self.names, f"a loop named {name} is running"
        assert not self._stopping, f"{name} was started while the server stops"
        # A reused name moves to the end of the order: it was started last.
        self._tasks.pop(name, None)
        self._tasks[name] = asyncio.create_task(self._supervise(name, loop), name=name)

    async def stop(self, deadline_s: float) -> None:
        """Cancel every loop, last started first, and wait for each before the next.

        All loops together have `deadline_s` to clean up. A loop still running after that is
        logged, and ends with the process. Units: seconds.
        """
        self._stopping = True
        until_s = self._clock_s() + deadline_s
        for name, task in reversed(self._tasks.items()):
            task.cancel()
            await asyncio.wait([task], timeout=max(0.0, until_s - self._clock_s()))
            if not task.done():
                _log.error("loop_outlived_stop", loop=name, deadline_s=deadline_s)

    async def _supervise(self, name: str, loop: Loop) -> None:
        backoff_s = BACKOFF_S_MIN
        while True:
            started_s = self._clock_s()
            try:
                await loop()
            except asyncio.CancelledError:
                if _is_cancelled():
                    raise
                # Something the loop awaited was cancelled, not the loop itself.
                _report_crash(name, retry_in_s=backoff_s)
            except Exception:  # noqa: BLE001 (one of the two places that catch every error)
                if self._clock_s() - started_s >= HEALTHY_S:
                    backoff_s = BACKOFF_S_MIN
                _report_crash(name, retry_in_s=backoff_s)
            else:
                return
            if self._stopping:
                return
            await self._pause(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _report_crash(name: str, *, retry_in_s: float) -> None:
    metrics.LOOP_CRASHES.labels(name).inc()
    _log.exception("loop_crashed", loop=name, retry_in_s=retry_in_s)
