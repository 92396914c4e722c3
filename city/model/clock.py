"""Clock of the simulated city: its only reader of time."""

import time
from typing import Protocol


class CityClock(Protocol):
    """Time as the actors read it."""

    def now_ms(self) -> int:
        """Wall-clock time, Unix milliseconds."""
        ...

    def monotonic_s(self) -> float:
        """A steady clock for durations, seconds."""
        ...


class MachineClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Wall-clock time, Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """A steady clock for durations, seconds."""
        return time.monotonic()
