"""The whole way of a fix through this node, in one plain function that awaits nothing.

Step 1 of a fix's way: handlers.sockets.rider → [here] → tracking.intake, .watch, .drain.
"""

from collections import Counter
from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from dispatch import metrics
from dispatch.model import Position
from dispatch.tracking.checks import (
    Admitted,
    Drop,
    Track,
    admit,
    doubted,
)
from dispatch.tracking.redis_writer import Drain, count_lost
from dispatch.tracking.reporting_interval import IDLE
from dispatch.tracking.rider_state import Roster, Seat, State
from dispatch.tracking.stores.geo_cells import cell_of
from dispatch.tracking.tracking_policy import Guide
from dispatch.tracking.watchers import Watchers
from dispatch.wire.commands import Fix

_DROPPED = {drop: metrics.FIXES_DROPPED.labels(drop.value) for drop in Drop}


class Whereabouts(NamedTuple):
    """Where a rider is, and how honest it is to show him there."""

    position: Position
    state: State


class _Way:
    """The fixes of a batch one after the other, apart from what the map shows."""

    __slots__ = ("anchor", "doubt", "last", "speed_max_mps")

    def __init__(self, speed_max_mps: float) -> None:
        self.last: Admitted | None = None
        self.doubt: Admitted | None = None
        self.anchor: Position | None = None
        self.speed_max_mps = speed_max_mps

    def take(self, admitted: Admitted) -> None:
        """Go on from a fix that was taken."""
        self.last, self.doubt = admitted, None
        if admitted.has_moved:
            self.anchor = admitted.position


class Lane:
    """Takes fixes in: each is checked, told to its watchers here, and left for the drain."""

    def __init__(self, roster: Roster, watchers: Watchers, drain: Drain, guide: Guide) -> None:
        self._roster = roster
        self._watchers = watchers
        self._drain = drain
        self._guide = guide
        # Counted here and exported by `sweep`: a counter's lock costs as much as a check.
        self._received = 0
        self._relayed = 0
        self._ahead = 0
        self._unmoved = 0

    def report(self, rider_id: str, fix: Fix, now_ms: int) -> Drop | None:
        """A rider says where he is; None where the fix was taken."""
        self._received += 1
        seat = self._roster.get(rider_id)
        if seat is None:
            _DROPPED[Drop.ABSENT].inc()
            return Drop.ABSENT
        verdict = _judged(seat, fix, now_ms)
        if isinstance(verdict, Drop):
            return verdict
        self._take(seat, verdict)
        return None

    def report_batch(self, rider_id: str, fixes: Sequence[Fix], now_ms: int) -> dict[str, int]:
        """A rider sends what he kept while he was away: how many were taken, and dropped by reason.

        All that are taken complete the trails of his orders; the newest moves the marker where it
        is fresh and newer than what the map shows.
        """
        self._received += len(fixes)
        seat = self._roster.get(rider_id)
        if seat is None:
            _DROPPED[Drop.ABSENT].inc(len(fixes))
            return {"accepted": 0, Drop.ABSENT.value: len(fixes)}
        counts = Counter(accepted=0)
        way, taken = _Way(seat.speed_max_mps), list[tuple[Fix, Admitted]]()
        for fix in sorted(fixes, key=_moment):
            verdict = _judged(way, fix, now_ms)
            if isinstance(verdict, Drop):
                counts[verdict.value] += 1
            else:
                way.take(verdict)
                taken.append((fix, verdict))
        counts["accepted"] = len(taken)
        self._complete(seat, taken, now_ms)
        return dict(counts)

    def restore(self, rider_id: str, position: Position) -> None:
        """What Redis still knows of a rider who has just come to this node."""
        seat = self._roster.get(rider_id)
        if seat is not None and seat.last is None:
            seat.last = Admitted(position, position.ts)
            # It was counted by a connection that is over.
            seat.forget_count()
            seat.flushed = seat.position
            seat.cell = cell_of(position.lat, position.lng)
            self._drain.touch(seat)

    def greet(self, rider_id: str) -> None:
        """An app of the rider has connected and is told how often to report."""
        seat = self._roster.get(rider_id)
        if seat is not None:
            self._guide.greet(seat)

    def last_position(self, rider_id: str) -> Whereabouts | None:
        """Where a rider of this node is, None where this node does not know."""
        seat = self._roster.get(rider_id)
        if seat is None or seat.last is None:
            return None
        return Whereabouts(seat.last.position, seat.state)

    def sweep(self, now_ms: int) -> int:
        """Tell the watchers of riders who went silent, and export what was counted.

        Called every second: a rider is stale or lost at most that much too late, also one of
        another node that fell silent itself. Returns how many fixes were received since the last
        call.
        """
        for seat in self._roster.sweep(now_ms):
            # The other nodes shall hear of it although he has not moved.
            seat.flushed = None
            assert seat.last is not None, "a seat without a fix cannot fall silent"
            self._relayed += self._watchers.relay(seat, seat.last.position)
        self._watchers.fade(now_ms, self._roster.fresh_ms, self._roster.lost_ms)
        metrics.FIXES_RECEIVED.inc(self._received)
        metrics.FIXES_RELAYED.inc(self._relayed)
        metrics.FIXES_AHEAD.inc(self._ahead)
        _DROPPED[Drop.NOT_MOVED].inc(self._unmoved)
        received = self._received
        self._received = self._relayed = self._ahead = self._unmoved = 0
        return received

    async def settle(self) -> None:
        """Bring what has changed here to Redis now, rather than within the drain's pause.

        Errors: StoreUnavailable; nothing is lost, the drain tries again.
        """
        await self._drain.flush()

    def _take(self, seat: Seat, admitted: Admitted) -> None:
        seat.last, seat.doubt = admitted, None
        self._ahead += admitted.was_ahead
        if not seat.is_served or seat.state != "live":
            self._roster.serve(seat)
        if seat.orders:
            self._relayed += self._watchers.relay(seat, admitted.position)
            if admitted.has_moved:
                seat.anchor = admitted.position
                count_lost(seat.keep(admitted.position))
            else:
                self._unmoved += 1
            if admitted.position.received_at >= seat.guide_due_ms:
                self._guide.follow(seat, admitted.position)
            self._drain.offer(seat)
            return
        if seat.cadence is not IDLE:
            self._guide.rest(seat)
        if seat.available:
            self._drain.offer(seat)

    def _complete(self, seat: Seat, taken: list[tuple[Fix, Admitted]], now_ms: int) -> None:
        """Move the marker to the newest fix of a batch where it may be, keep the others."""
        newest: Admitted | None = None
        if taken and taken[-1][1].position.ts >= now_ms - self._roster.fresh_ms:
            # The one before it agrees, should he have gone far.
            seat.doubt = taken[-2][1] if len(taken) > 1 else seat.doubt
            verdict = admit(seat, taken[-1][0], now_ms)
            newest = None if isinstance(verdict, Drop) else verdict
        for _, late in taken[:-1] if newest else taken:
            if late.has_moved:
                count_lost(seat.keep(late.position))
            else:
                self._unmoved += 1
        if newest:
            self._take(seat, newest)
        elif seat.trail and seat.last is not None:
            self._drain.touch(seat)


def _judged(track: Track, fix: Fix, now_ms: int) -> Admitted | Drop:
    """A fix after those before it; a refusal is counted, a doubt remembered."""
    verdict = admit(track, fix, now_ms)
    if isinstance(verdict, Drop):
        if verdict is Drop.TELEPORT:
            track.doubt = doubted(track, fix, now_ms)
        _DROPPED[verdict].inc()
    return verdict


def _moment(fix: Fix) -> tuple[float, int]:
    """When a fix was made, for sorting; one that does not say counts as made last."""
    said = fix.ts
    # NaN is not above 0 either; it could not be sorted.
    return (said if said is not None and said > 0 else inf, fix.seq or 0)
