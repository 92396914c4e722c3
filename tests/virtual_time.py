"""Event loop without sockets whose time jumps to the next timer when nothing is ready."""

import asyncio
from asyncio import base_events
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

# Start of the virtual wall clock, as of dispatch.clock.ManualClock. Units: Unix milliseconds.
START_MS = 1_763_000_000_000

_T = TypeVar("_T")


class Stalled(Exception):
    """Nothing is ready and no timer is set, so the awaited result can never come."""


async def sleep(seconds: float) -> None:
    """Sleep on the running loop; takes no real time on a virtual loop. Units: seconds."""
    await asyncio.sleep(seconds)


class VirtualClock:
    """A virtual loop's time, with the interface of dispatch.clock.Clock."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def now_ms(self) -> int:
        """Wall-clock time. Units: Unix milliseconds."""
        return START_MS + round(self._loop.time() * 1000)

    def monotonic_s(self) -> float:
        """Monotonic time. Units: seconds."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Sleep in virtual time. Units: seconds."""
        await sleep(seconds)


class VirtualLoop(base_events.BaseEventLoop):
    """Event loop that runs ready callbacks in order, then jumps to the next timer.

    A program on it behaves the same every time, unless it uses unseeded randomness or another
    clock, or iterates over a set of strings or of objects.

    Errors: Stalled out of `run_until_complete`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        # Coarser than the system's, so that timers stay exact after years of virtual seconds.
        self._clock_resolution = 1e-6
        # BaseEventLoop calls its `select` to wait for sockets between two rounds of callbacks.
        self._selector = self
        self.clock = VirtualClock(self)

    def time(self) -> float:
        """Time since the loop was created. Units: seconds."""
        return self._now_s

    def select(self, timeout: float | None) -> list[Any]:
        """Advance the time instead of waiting. Errors: Stalled."""
        if timeout is None:
            raise Stalled("nothing is ready and no timer is set")
        if timeout > 0:
            # The timer's own time: adding differences could fall short of it by rounding.
            self._now_s = self._scheduled[0].when()
        return []

    def run_in_executor(
        self, executor: Any, func: Callable[..., _T], *args: Any
    ) -> "asyncio.Future[_T]":
        """Run the function here and at once, because the order of threads cannot be repeated."""
        future: asyncio.Future[_T] = self.create_future()
        try:
            future.set_result(func(*args))
        # The awaiting caller gets the error, as from a thread.
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)
        return future

    def _process_events(self, event_list: list[Any]) -> None:
        assert not event_list, "this loop has no sockets"

    def _write_to_self(self) -> None:
        """Nothing to do: `select` never blocks."""


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run on a new loop that starts at time 0, and close it, as asyncio.run does."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def clock() -> VirtualClock:
    """The clock of the running virtual loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop), "asked outside a virtual loop"
    return loop.clock
