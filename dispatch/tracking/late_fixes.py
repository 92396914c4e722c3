"""Late fixes: made too long ago to move the marker; kept for trails, or until a newer one comes."""

import msgspec

from dispatch.model import Position
from dispatch.tracking.checks import AGE_MAX_MS, check_fix, to_doubtful_fix
from dispatch.tracking.fixes.model import AcceptedFix, Drop, FixHistory
from dispatch.tracking.fixes.rules import FixRules
from dispatch.tracking.rider_state import RiderState
from dispatch.wire.commands import Fix


class LateFixes:
    """Checks late fixes apart from the marker's, and keeps the newest of each rider to be shown."""

    def __init__(self, rules: FixRules) -> None:
        # A fix for the trail may be old.
        self.rules = rules._replace(fresh_ms=AGE_MAX_MS)
        self._newest: dict[str, tuple[RiderState, AcceptedFix]] = {}

    def check(self, rider: RiderState, fix: Fix, now_ms: int) -> AcceptedFix | Drop:
        """Check a fix that is STALE for the marker against others like it.

        Units: Unix milliseconds.
        """
        if rider.last_fix is not None and _is_same(fix, rider.last_fix):
            return Drop.STALE
        late = rider.late or rider.new_stream()
        late.clock.offset_ms = rider.clock.offset_ms
        result = check_fix(late, fix, now_ms, self.rules)
        if result is Drop.STALE:
            # It is older than the last late one: an app may send the newest ones first.
            late = rider.new_stream()
            result = check_fix(late, fix, now_ms, self.rules)
        if isinstance(result, Drop):
            note_doubt(late, fix, result, now_ms)
        else:
            late.advance(result)
        rider.late = late
        return result

    def catch_up(self, rider: RiderState, late: AcceptedFix) -> bool:
        """Keep a position that is old, yet newer than the one that is known, to be shown."""
        if not _is_after(late, rider):
            return False
        self._newest[rider.rider_id] = (rider, late)
        return True

    def take_newest(self) -> list[tuple[RiderState, AcceptedFix]]:
        """The newest old positions of riders for whom nothing newer has come since.

        They are received when they were made: their age counts from then, so that they are never
        live. Where nothing is known of a phone, its clock may be slow: its first fix is received
        when it came, so that its rider may be offered orders.
        """
        newest, self._newest = self._newest, {}
        return [
            (rider, msgspec.structs.replace(late, position=_dated(late.position, rider)))
            for rider, late in newest.values()
            if _is_after(late, rider)
        ]


def note_doubt(history: FixHistory, fix: Fix, drop: Drop, now_ms: int) -> None:
    """Remember a fix that was too far away: a second one near it is accepted.

    Units: Unix milliseconds.
    """
    if drop is Drop.TELEPORT:
        history.doubtful_fix = to_doubtful_fix(history, fix, now_ms)


def _dated(position: Position, rider: RiderState) -> Position:
    # A millisecond earlier: the clock takes an accepted fix for one that fits it.
    received_at = position.received_at - 1 if rider.last_fix is None else position.ts
    return msgspec.structs.replace(position, received_at=received_at)


def _is_after(late: AcceptedFix, rider: RiderState) -> bool:
    """Whether an old position is newer than the one that is known."""
    return rider.position is None or late.position.ts > rider.position.ts


def _is_same(fix: Fix, last: AcceptedFix) -> bool:
    """Whether a packet was sent twice."""
    return (fix.lat, fix.lng, fix.seq) == (last.position.lat, last.position.lng, last.position.seq)
