"""What goes wrong on the way to the fake DynamoDB and back, and how long everything takes."""

import random
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

import msgspec

_WRITE = "transact_write_items"
_TRANSACTIONS = frozenset({_WRITE, "transact_get_items"})


class Fault(StrEnum):
    """One way for a call to go wrong."""

    # The request never arrives.
    LOSE_REQUEST = "lose_request"
    # It is carried out, and the caller never hears of it.
    LOSE_REPLY = "lose_reply"
    # Refused for its rate, and nothing done.
    THROTTLE = "throttle"
    # An internal error before, or after it was carried out; the caller cannot tell which.
    INTERNAL_ERROR = "break"
    INTERNAL_ERROR_LATE = "break_late"
    # It met another transaction: one of somebody else's, outside of this program.
    CONFLICT = "conflict"
    # It arrives late.
    DELAY = "delay"
    # A batch comes back with a part left for later.
    PARTIAL_BATCH = "partial"


class Latencies(msgspec.Struct, frozen=True, kw_only=True):
    """How long things take; `spread` 0.5 lets each time vary evenly by half of it. Units: seconds.

    `round_trip_s` is a call's way there and back, `hold_s` the time between a transaction's prepare
    and its commit, `index_lag_s` what an index is behind, at most, `delay_s` the longest delay.
    Source of the first two: ledger design, the model of 12 ms hold and 6 ms round trip.
    """

    round_trip_s: float = 0.006
    hold_s: float = 0.012
    index_lag_s: float = 0.0
    delay_s: float = 2.0
    spread: float = 0.0

    def jitter(self, seconds: float, rng: random.Random) -> float:
        """A time near `seconds`."""
        if not self.spread:
            return seconds
        return seconds * rng.uniform(1 - self.spread, 1 + self.spread)


class FaultInjector:
    """Which call goes wrong, and how: by chance from a seed, or by the call's number from 1 on.

    `crash_at` names one await of the fake's callers by its number, from 1 on; it raises
    `crash_with` there instead of coming back.
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
        # How often each has happened.
        self.counts: Counter[Fault] = Counter()

    def next_fault(self, operation: str) -> Fault | None:
        """What happens to the next call; a fault that cannot happen to it does not."""
        self.calls += 1
        fault = self.scripted.get(self.calls) or self._draw_random()
        if fault is None or not _can_happen(fault, operation):
            return None
        self.counts[fault] += 1
        return fault

    def count_await(self) -> None:
        """Count one await of a caller, or crash him.

        Errors: `crash_with`.
        """
        self.awaits += 1
        if self.awaits == self.crash_at_await and self.crash_error is not None:
            raise self.crash_error

    def stop_random_faults(self) -> None:
        """From now on nothing goes wrong by chance."""
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
        return operation in _TRANSACTIONS
    if fault is Fault.PARTIAL_BATCH:
        return operation == "batch_get_item"
    return True
