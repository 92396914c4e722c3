"""Fixes as the checks take and give them: reasons for a drop, accepted fixes, a phone's history."""

from enum import StrEnum
from typing import Protocol

import msgspec

from dispatch.model import Position
from dispatch.tracking.fixes.device_clock import DeviceClock


class Drop(StrEnum):
    """Why a fix was dropped; the label `reason` of the metric of dropped fixes."""

    ABSENT = "absent"
    MALFORMED = "malformed"
    OFF_GLOBE = "off_globe"
    # A place that stands for none, or has its axes exchanged.
    SENTINEL = "sentinel"
    SWAPPED = "swapped"
    # The receiver repeats a place although its rider moves.
    FROZEN = "frozen"
    # From another phone than the one that shows where the rider is.
    PAUSED = "paused"
    STALE = "stale"
    INACCURATE = "inaccurate"
    TELEPORT = "teleport"
    # Counted as drops although the fixes are accepted: they add no point to the trail, or no more.
    NOT_MOVED = "not_moved"
    LATE = "late"


class AcceptedFix(msgspec.Struct, frozen=True, gc=False):
    """A fix that passed all checks.

    `sort_ms` is the phone's time, which orders fixes whose sequence numbers do not.
    `was_clock_ahead`: that time lay in the future, so `position.ts` is the server's. `has_moved`:
    the trail gets a point. `is_coarse`: only a circle is known; `is_indexable`: it is small enough
    for offers. `still_since_ms`: since when the place has been the same to its last digit, 0
    where it has changed.

    Units: Unix milliseconds.
    """

    position: Position
    sort_ms: int
    was_clock_ahead: bool = False
    has_moved: bool = True
    still_since_ms: int = 0
    is_coarse: bool = False
    is_indexable: bool = True


class FixHistory(Protocol):
    """What is known of a rider before a fix.

    `doubtful_fix` is the last one dropped as TELEPORT, `trail_anchor` the last point of the trail,
    `clock` that of the phone, which the checks keep up to date.

    Units: metres per second.
    """

    last_fix: AcceptedFix | None
    doubtful_fix: AcceptedFix | None
    trail_anchor: Position | None
    speed_max_mps: float
    clock: DeviceClock


class FixStream:
    """The history of fixes that are checked apart from those that the map shows.

    Units: metres per second.
    """

    __slots__ = ("clock", "doubtful_fix", "last_fix", "speed_max_mps", "trail_anchor")

    def __init__(self, speed_max_mps: float, clock: DeviceClock) -> None:
        self.last_fix: AcceptedFix | None = None
        self.doubtful_fix: AcceptedFix | None = None
        self.trail_anchor: Position | None = None
        self.speed_max_mps = speed_max_mps
        self.clock = clock

    def advance(self, accepted: AcceptedFix) -> None:
        """Make an accepted fix the last one."""
        self.last_fix, self.doubtful_fix = accepted, None
        if accepted.has_moved:
            self.trail_anchor = accepted.position
