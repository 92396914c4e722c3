"""Fix sources: which of a rider's phones shows where the rider is; pure.

A rider may be signed in on two phones, of which one lies in a shop. Their positions must not be
mixed: one of them is active, and the others are paused.
"""

from dispatch.model import Position
from dispatch.tracking.fixes.model import FixStream
from matching.geo import distance_m

# A source that has sent no fix for so long has stopped.
# Source: docs/contract.md, 15 s without a fix make a rider stale.
SILENT_MS = 15_000
# A source that has come so far has moved. Source: tracking.checks, two fixes at one place may be
# reported 100 m apart.
MOVED_M = 100.0
# How much newer the sign of a rider at a paused source must be while the active one is moving.
# Source: chosen; the time in which a vehicle at 5 m/s comes MOVED_M far.
MARGIN_MS = 20_000


class FixSource:
    """One socket that sends a rider's fixes, and when it showed that the rider has it in hand.

    Units: Unix milliseconds.
    """

    __slots__ = (
        "_anchor", "connected_at_ms", "fix_at_ms", "heard_at_ms", "is_told_active", "moved_at_ms",
        "replaced", "sid", "stream", "tapped_at_ms",
    )  # fmt: skip

    def __init__(self, sid: str, now_ms: int, stream: FixStream) -> None:
        self.sid = sid
        self.connected_at_ms = now_ms
        self.fix_at_ms = 0
        # When its node was last heard of, where that is another one; 0 for a socket of this node.
        self.heard_at_ms = 0
        self.tapped_at_ms = 0
        self.moved_at_ms = 0
        # The fixes of a paused source, checked apart from those that are shown.
        self.stream = stream
        # The source that this one followed as a later socket of the same phone.
        self.replaced: FixSource | None = None
        # What the app was told last; an app is active unless it is told otherwise.
        self.is_told_active = True
        self._anchor: Position | None = None

    @property
    def sign_at_ms(self) -> int:
        """When it last moved, or the rider last used it."""
        return max(self.moved_at_ms, self.tapped_at_ms)

    def follow(self, position: Position) -> None:
        """Note a position that was accepted."""
        anchor = self._anchor
        if anchor is None:
            self._anchor = position
        elif distance_m(anchor, position) >= MOVED_M:
            self._anchor = position
            self.moved_at_ms = position.received_at

    def replace(self, other: "FixSource") -> None:
        """Follow a source that seems to be an earlier socket of the same phone."""
        self.replaced = other
        self.tapped_at_ms, self.moved_at_ms = other.tapped_at_ms, other.moved_at_ms

    def was_mistaken_for(self, other: "FixSource") -> bool:
        """Whether this source took the place of another phone, which sends fixes again."""
        return self.replaced is other and self.sign_at_ms <= other.sign_at_ms


def wins_over(active: FixSource, other: FixSource, now_ms: int) -> bool:
    """Whether another node's active source stays, where both nodes have one.

    Both nodes come to the same answer. Units: Unix milliseconds.
    """
    # A phone that has sent nothing since the other one connected seems to have reconnected there.
    if active.fix_at_ms < other.connected_at_ms:
        return True
    if other.fix_at_ms < active.connected_at_ms:
        return False
    return _rank(other, now_ms) > _rank(active, now_ms)


def _rank(source: FixSource, now_ms: int) -> tuple[bool, int, int, str]:
    """By what the sources of two nodes are compared: one that reports, seen last, there first."""
    has_stopped = now_ms - source.fix_at_ms > SILENT_MS
    return (not has_stopped, source.sign_at_ms, -source.connected_at_ms, source.sid)


def takes_over(active: FixSource, other: FixSource, now_ms: int) -> bool:
    """Whether a paused source that has just sent a fix becomes the active one.

    It does where the active one has stopped, or where the rider was seen at the other one later: by
    a tap at once, unless the active one is moving; by moving while the active one does not.

    Units: Unix milliseconds.
    """
    if now_ms - active.fix_at_ms > SILENT_MS:
        return True
    is_tap = other.tapped_at_ms >= other.moved_at_ms
    is_moving = now_ms - active.moved_at_ms <= MARGIN_MS
    margin_ms = 0 if is_tap and not is_moving else MARGIN_MS
    return other.sign_at_ms > active.sign_at_ms + margin_ms
