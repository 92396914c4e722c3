"""Position sources: keep one of a rider's sockets active, and pause the fixes of the others."""

from collections.abc import Callable

import msgspec

from dispatch.model import Position
from dispatch.tracking.checks import check_fix, is_reachable
from dispatch.tracking.fixes.device_clock import DeviceClock
from dispatch.tracking.fixes.model import AcceptedFix, Drop
from dispatch.tracking.fixes.rules import FixRules
from dispatch.tracking.fixes.sources import SILENT_MS, FixSource, takes_over, wins_over
from dispatch.tracking.rider_state import RiderState
from dispatch.tracking.stores.source_claims import SourceClaim
from dispatch.wire.commands import Fix
from dispatch.wire.events import PositionSource
from dispatch.wire.frames import encode_event

# Sockets of one rider that are told apart; the one that was silent longest is forgotten.
# Source: session_registry, an identity has five, and a closed one is counted out after its jobs.
SOURCES_MAX = 8
# How long after its connect a phone sends what it kept, and from how long an absence on it does.
# Source: chosen; a round trip and 150 packets on a slow radio; docs/contract.md, a rider without a
# fix for 45 s is lost.
SETTLE_MS, AWAY_MIN_MS = 2_000, 45_000

_PACKETS = {
    is_active: encode_event("/rider", PositionSource(active=is_active))
    for is_active in (True, False)
}


class PositionSources:
    """Chooses the active source of each rider; its history of fixes is the one in the state."""

    def __init__(self, rules: FixRules) -> None:
        self._rules = rules
        # Riders whose phones other nodes must hear of.
        self._claiming: dict[str, RiderState] = {}
        self._callback: Callable[[str, str, bytes], None] = _ignore_source

    def on_source(self, callback: Callable[[str, str, bytes], None]) -> None:
        """Call back with (rider id, socket id, packet) when a socket becomes active or paused."""
        self._callback = callback

    def check(
        self, rider: RiderState, sid: str, fix: Fix, now_ms: int
    ) -> AcceptedFix | Drop | None:
        """Decide about a fix whose socket is not the rider's only source.

        None for a fix of the active source, to be checked as any other. One of a paused source is
        PAUSED, or accepted by its own history where it becomes the active one.

        Units: Unix milliseconds.
        """
        source, active = self.open(rider, sid, now_ms), rider.source
        is_first = source.fix_at_ms == 0
        source.fix_at_ms = now_ms
        if active is None or active is source:
            self._follow_active(rider, source)
            return None
        _note_last_fix(rider, active)
        if _seems_reconnected(rider, source, fix, is_first=is_first):
            source.replace(active)
            self._switch(rider, source)
            return None
        if active.was_mistaken_for(source):
            self._switch(rider, source)
            return None
        return self._check_paused(rider, source, fix, now_ms)

    def is_settling(self, rider: RiderState, sid: str, now_ms: int) -> bool:
        """Whether a socket has just connected after its rider was away, with fixes that it kept.

        Without a time of their own only the last of them can be placed. Units: Unix milliseconds.
        """
        source = rider.sources.get(sid)
        if source is None or now_ms - source.connected_at_ms >= SETTLE_MS:
            return False
        last = rider.last_fix
        if last is None:
            return bool(rider.orders)
        return source.connected_at_ms - last.position.received_at >= AWAY_MIN_MS

    def open(self, rider: RiderState, sid: str, now_ms: int) -> FixSource:
        """The source of a socket, from its connect or its first fix on. Units: Unix ms."""
        source = rider.sources.get(sid)
        if source is None:
            if len(rider.sources) >= SOURCES_MAX:
                silent = min(rider.sources.values(), key=lambda each: each.fix_at_ms)
                self.close(rider, silent.sid)
            source = rider.sources[sid] = FixSource(sid, now_ms, rider.new_stream(DeviceClock()))
            self._claiming[rider.rider_id] = rider
        return source

    def note_claim(self, rider: RiderState, claim: SourceClaim, now_ms: int) -> None:
        """Take over what another node says of a phone of the rider. Units: Unix milliseconds."""
        source = self.open(rider, f"{claim.node} {claim.sid}", now_ms)
        source.heard_at_ms, source.connected_at_ms = now_ms, claim.connected_at_ms
        source.fix_at_ms = claim.fix_at_ms
        source.tapped_at_ms, source.moved_at_ms = claim.tapped_at_ms, claim.moved_at_ms
        rider.sole_sid, active = None, rider.source
        if not claim.is_active:
            rider.source = None if active is source else active
        elif active is None or active.heard_at_ms:
            rider.source = source
        else:
            _note_last_fix(rider, active)
            if wins_over(active, source, now_ms):
                rider.keep_stream(active)
                self._switch(rider, source)

    def take_claims(self, node: str, now_ms: int) -> list[tuple[str, SourceClaim]]:
        """What other nodes must hear now, by rider; called every second.

        A rider's phone is claimed once after its connect, and as long as other nodes claim another.

        Units: Unix milliseconds.
        """
        claims: list[tuple[str, SourceClaim]] = []
        for rider in tuple(self._claiming.values()):
            self._forget_silent_nodes(rider, now_ms)
            here = [each for each in rider.sources.values() if not each.heard_at_ms]
            claimed = max(
                here, key=lambda each: (each is rider.source, each.fix_at_ms), default=None
            )
            if claimed is not None and claimed is rider.source:
                _note_last_fix(rider, claimed)
            if claimed is not None and claimed.fix_at_ms:
                claims.append((rider.rider_id, _claim(node, claimed, rider)))
            is_contested = len(here) < len(rider.sources)
            if not is_contested and (claimed is None or claimed.fix_at_ms):
                del self._claiming[rider.rider_id]
        return claims

    def _forget_silent_nodes(self, rider: RiderState, now_ms: int) -> None:
        for source in tuple(rider.sources.values()):
            if source.heard_at_ms and now_ms - source.heard_at_ms > SILENT_MS:
                self.close(rider, source.sid)

    def tap(self, rider: RiderState, sid: str, now_ms: int) -> None:
        """Note that the rider uses the app of this socket. Units: Unix milliseconds."""
        self.open(rider, sid, now_ms).tapped_at_ms = now_ms

    def close(self, rider: RiderState, sid: str) -> None:
        """Forget a socket that has closed; where it was active, the next fix of any decides."""
        closed = rider.sources.pop(sid, None)
        if closed is None:
            return
        if rider.source is closed:
            rider.source = None
        rider.sole_sid = None

    def _follow_active(self, rider: RiderState, source: FixSource) -> None:
        """Make a source active or keep it so; alone, its fixes need no further look."""
        if rider.source is None:
            self._activate(rider, source)
        others = [each for each in rider.sources.values() if each is not source and each.fix_at_ms]
        if not others:
            has_settled = source.fix_at_ms - source.connected_at_ms >= SETTLE_MS
            rider.sole_sid = source.sid if has_settled else None
        elif rider.last_fix is not None and not rider.last_fix.is_coarse:
            source.follow(rider.last_fix.position)

    def _check_paused(
        self, rider: RiderState, source: FixSource, fix: Fix, now_ms: int
    ) -> AcceptedFix | Drop:
        active = rider.source
        assert active is not None, "without an active source none is paused"
        result = check_fix(source.stream, fix, now_ms, self._rules)
        if isinstance(result, AcceptedFix):
            source.stream.advance(result)
            if not result.is_coarse:
                source.follow(result.position)
            if takes_over(active, source, now_ms):
                shown = rider.position
                rider.swap_stream(active, source)
                self._switch(rider, source)
                return _not_before(result, shown)
        self._tell(rider, source, is_active=False)
        rider.sole_sid = None
        return Drop.PAUSED

    def _switch(self, rider: RiderState, source: FixSource) -> None:
        active, rider.sole_sid = rider.source, None
        self._activate(rider, source)
        if active is not None:
            self._tell(rider, active, is_active=False)

    def _activate(self, rider: RiderState, source: FixSource) -> None:
        rider.source = source
        self._tell(rider, source, is_active=True)

    def _tell(self, rider: RiderState, source: FixSource, *, is_active: bool) -> None:
        is_here = not source.heard_at_ms
        if is_here and source.is_told_active is not is_active:
            source.is_told_active = is_active
            self._callback(rider.rider_id, source.sid, _PACKETS[is_active])


def _claim(node: str, source: FixSource, rider: RiderState) -> SourceClaim:
    return SourceClaim(
        node=node,
        sid=source.sid,
        is_active=source is rider.source,
        connected_at_ms=source.connected_at_ms,
        fix_at_ms=source.fix_at_ms,
        tapped_at_ms=source.tapped_at_ms,
        moved_at_ms=source.moved_at_ms,
    )


def _note_last_fix(rider: RiderState, active: FixSource) -> None:
    """Bring the active source up to date: alone, its fixes were not noted one by one."""
    if rider.last_fix is not None and not active.heard_at_ms:
        active.fix_at_ms = max(active.fix_at_ms, rider.last_fix.position.received_at)


def _seems_reconnected(rider: RiderState, source: FixSource, fix: Fix, *, is_first: bool) -> bool:
    """Whether a new socket seems to be the same phone's as the active one, which is silent since.

    The vehicle can have come here since the last fix.
    """
    active = rider.source
    if not is_first or active is None or active.fix_at_ms >= source.connected_at_ms:
        return False
    return is_reachable(rider, fix, source.fix_at_ms)


def _not_before(accepted: AcceptedFix, shown: Position | None) -> AcceptedFix:
    """A fix of a phone whose clock is slow, made at the earliest when the shown one was."""
    if shown is None or shown.ts <= accepted.position.ts:
        return accepted
    later = msgspec.structs.replace(accepted.position, ts=shown.ts)
    return msgspec.structs.replace(accepted, position=later)


def _ignore_source(_rider_id: str, _sid: str, _packet: bytes) -> None:
    """Default before `on_source`."""
