"""Load shedding: while the event loop lags, only the newest fix of each socket is handled.

The loop's lag is measured here; each socket's `FastPath` asks `is_shedding` and holds its fixes.
"""

import asyncio
from collections import deque
from typing import Protocol

from dispatch import metrics
from dispatch.clock import Clock

# How often the loop's lag is measured, and above which lag load is shed.
# Source: docs/promises.md, positions are at most 250 ms old in an overload; a frame that comes at
# the worst moment has waited for two measurements.
CHECK_EVERY_S = 0.05
LAG_THRESHOLD_S = 0.05
# Shedding goes on for this long after the last lag. Source: chosen; without it a queue that was
# worked off would form again in the next moment.
RECOVERY_S = 1.0
# Held fixes that run in one tick of the loop; fixes that come meanwhile replace those still held.
# Source: 10 ms of work at 40 us each.
FIXES_PER_TICK = 256

_COALESCED = metrics.FIXES_DROPPED.labels("coalesced")


class FixHolder(Protocol):
    """Holds the newest fix of one socket until its turn."""

    def run_held_fix(self) -> None:
        """Run the fix that is held now."""
        ...


class LoadShedder:
    """Measures the loop's lag and runs the held fixes, a bounded number per tick."""

    def __init__(self, clock: Clock) -> None:
        # A steady clock, seconds.
        self.now_s = clock.monotonic_s
        self.is_shedding = False
        # Fixes replaced by newer ones since the last measurement; counted by their holders.
        self.coalesced_count = 0
        self._queue: deque[FixHolder] = deque()
        self._lagged_at_s = 0.0

    async def run(self) -> None:
        """Measure the loop's lag until cancelled."""
        while True:
            before_s = self.now_s()
            await asyncio.sleep(CHECK_EVERY_S)
            self.record_lag(self.now_s() - before_s - CHECK_EVERY_S)

    def record_lag(self, lag_s: float) -> None:
        """Start or stop shedding after one measurement. Units: seconds."""
        now_s = self.now_s()
        if lag_s > LAG_THRESHOLD_S:
            self._lagged_at_s = now_s
            if not self.is_shedding:
                metrics.LOAD_SHEDDING_STARTS.inc()
            self.is_shedding = True
        elif self.is_shedding and now_s - self._lagged_at_s > RECOVERY_S:
            self._stop_shedding()
        _COALESCED.inc(self.coalesced_count)
        metrics.FIXES_RECEIVED.inc(self.coalesced_count)
        self.coalesced_count = 0

    def enqueue(self, holder: FixHolder) -> None:
        """Run a holder's fix in its turn; called once for each fix that it begins to hold."""
        if not self._queue:
            asyncio.get_running_loop().call_soon(self._process_queue)
        self._queue.append(holder)

    def _process_queue(self) -> None:
        for _ in range(min(FIXES_PER_TICK, len(self._queue))):
            self._queue.popleft().run_held_fix()
        if self._queue:
            asyncio.get_running_loop().call_soon(self._process_queue)

    def _stop_shedding(self) -> None:
        self.is_shedding = False
        while self._queue:
            self._queue.popleft().run_held_fix()
