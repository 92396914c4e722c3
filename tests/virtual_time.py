"""An event loop without sockets, whose time jumps to the next timer when nothing is ready."""

import asyncio
from asyncio import base_events
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

# Where the virtual wall clock starts, Unix milliseconds; as dispatch.clock.ManualClock does.
START_MS = 1_763_000_000_000

_T = TypeVar("_T")


class Stalled(Exception):
    """Nothing is ready and no timer is set: what is awaited will never come."""


async def sleep(seconds: float) -> None:
    """Come back after that much time of the loop, which takes none where the loop is virtual."""
    await asyncio.sleep(seconds)


class VirtualClock:
    """The time of a virtual loop, as dispatch.clock.Clock is asked for it."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def now_ms(self) -> int:
        """Wall-clock time, Unix milliseconds."""
        return START_MS + round(self._loop.time() * 1000)

    def monotonic_s(self) -> float:
        """A steady clock for durations, seconds."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Come back after that much virtual time."""
        await sleep(seconds)


class VirtualLoop(base_events.BaseEventLoop):
    """Runs what is ready in the order it became ready, then jumps to the next timer.

    A program on it does the same every time, unless it draws unseeded randomness, asks another
    clock, or walks through a set of strings or of objects.

    Errors: Stalled out of `run_until_complete`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        # Coarser than the system's, so that years of virtual seconds keep their timers.
        self._clock_resolution = 1e-6
        # BaseEventLoop asks it, between two rounds of callbacks, to wait for sockets.
        self._selector = self
        self.clock = VirtualClock(self)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._now_s

    def select(self, timeout: float | None) -> list[Any]:
        """Let the time pass that BaseEventLoop would wait."""
        if timeout is None:
            raise Stalled("nothing is ready and no timer is set")
        if timeout > 0:
            # The timer's own time: a sum of differences could fall short of it by rounding.
            self._now_s = self._scheduled[0].when()
        return []

    def run_in_executor(
        self, executor: Any, func: Callable[..., _T], *args: Any
    ) -> "asyncio.Future[_T]":
        """Run it here and at once: threads have no order that could be repeated."""
        future: asyncio.Future[_T] = self.create_future()
        try:
            future.set_result(func(*args))
        # Whoever awaits gets it, as from a thread.
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)
        return future

    def _process_events(self, event_list: list[Any]) -> None:
        assert not event_list, "this loop has no sockets"

    def _write_to_self(self) -> None:
        """Nobody sleeps in `select` who would have to be woken."""


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run on a loop of its own from time 0 on and close it, as asyncio.run does."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def clock() -> VirtualClock:
    """The clock of the virtual loop that runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop), "asked outside a virtual loop"
    return loop.clock
