"""Clocks: the only module that reads the time."""

import time
from typing import Protocol

# The largest difference between the clocks of two servers that is allowed for.
# Source: chosen; NTP keeps clocks within milliseconds.
SKEW_MS = 1_000


class Clock(Protocol):
    """Wall-clock time and a steady clock for durations."""

    def now_ms(self) -> int:
        """Wall-clock time, Unix milliseconds."""
        ...

    def monotonic_s(self) -> float:
        """A steady clock for durations, seconds."""
        ...


class SystemClock:
    """The machine's clock."""

    # The library's function itself: it is called with every command.
    monotonic_s = staticmethod(time.monotonic)

    def now_ms(self) -> int:
        """Wall-clock time, Unix milliseconds."""
        return int(time.time() * 1000)


class ManualClock:
    """A clock that only moves when it is advanced; for tests and simulations."""

    def __init__(self, start_ms: int = 1_763_000_000_000) -> None:
        self._now_ms = start_ms

    def now_ms(self) -> int:
        """Wall-clock time, Unix milliseconds."""
        return self._now_ms

    def monotonic_s(self) -> float:
        """A steady clock for durations, seconds."""
        return self._now_ms / 1000

    def advance(self, milliseconds: int) -> None:
        """Move time forward."""
        assert milliseconds >= 0, "time does not run backwards"
        self._now_ms += milliseconds
