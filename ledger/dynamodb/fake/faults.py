"""Injected faults and latencies of the fake DynamoDB."""

import random
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

import msgspec

_WRITE = "transact_write_items"


class Fault(StrEnum):
    """A way in which a call fails."""

    # The request does not arrive.
    LOSE_REQUEST = "lose_request"
    # The request is executed, and its reply is lost.
    LOSE_REPLY = "lose_reply"
    # Refused because of the request rate; nothing is executed.
    THROTTLE = "throttle"
    # An internal error before or after the execution; the caller cannot tell which.
    INTERNAL_ERROR = "internal_error"
    INTERNAL_ERROR_LATE = "internal_error_late"
    # A conflict with a transaction of another program.
    CONFLICT = "conflict"
    # The request arrives late.
    DELAY = "delay"
    # A batch is processed in part.
    PARTIAL_BATCH = "partial"


class Latencies(msgspec.Struct, frozen=True, kw_only=True):
    """Latencies of calls; with `spread` 0.5 each varies evenly by half of it. Units: seconds.

    `round_trip_s` is a call's time on the network, `hold_s` the time between a transaction's
    prepare and its commit, `index_lag_s` the largest lag of an index, `delay_s` the longest
    injected delay.
    Source of the first two: chosen; a round trip of 6 ms and a hold of 12 ms.
    """

    round_trip_s: float = 0.006
    hold_s: float = 0.012
    index_lag_s: float = 0.0
    delay_s: float = 2.0
    spread: float = 0.0

    def jitter(self, seconds: float, rng: random.Random) -> float:
        """A random time near `seconds`. Units: seconds."""
        if not self.spread:
            return seconds
        return seconds * rng.uniform(1 - self.spread, 1 + self.spread)


class FaultInjector:
    """Decides which calls fail and how: by chance from a seed, or by the call's number from 1 on.

    `crash_at_await` is the number, from 1 on, of one await of the fake's callers; `crash_error` is
    raised there.
    """

    def __init__(
        self,
        seed: int = 0,
        rates: Mapping[Fault, float] | None = None,
        scripted: Mapping[int, Fault] | None = None,
    ) -> None:
        self.rng = random.Random(seed)  # noqa: S311 (a test is to be repeatable, not secret)
        self.rates = dict(rates or {})
        self.scripted = dict(scripted or {})
        self.calls = 0
        self.awaits = 0
        self.crash_at_await: int | None = None
        self.crash_error: BaseException | None = None
        # How often each fault was injected.
        self.counts: Counter[Fault] = Counter()

    def next_fault(self, operation: str) -> Fault | None:
        """The fault of the next call; None for none, or where the fault cannot happen to it."""
        self.calls += 1
        fault = self.scripted.get(self.calls) or self._draw_random()
        if fault is None or not _can_happen(fault, operation):
            return None
        self.counts[fault] += 1
        return fault

    def count_await(self) -> None:
        """Count one await of a caller; raises `crash_error` at the scripted one."""
        self.awaits += 1
        if self.awaits == self.crash_at_await and self.crash_error is not None:
            raise self.crash_error

    def stop_random_faults(self) -> None:
        """Inject no more random faults."""
        self.rates.clear()

    def _draw_random(self) -> Fault | None:
        if not self.rates:
            return None
        drawn = self.rng.random()
        for fault, rate in self.rates.items():
            if drawn < rate:
                return fault
            drawn -= rate
        return None


def _can_happen(fault: Fault, operation: str) -> bool:
    if fault is Fault.CONFLICT:
        return operation == _WRITE
    if fault is Fault.PARTIAL_BATCH:
        return operation == "batch_get_item"
    return True
