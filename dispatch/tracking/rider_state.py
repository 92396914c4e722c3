"""Rider state: what this node knows of one connected rider; one mutable object for each rider.

A fix needs one look-up for all of it. Only these modules of `dispatch.tracking` write a state:

| fields | written by |
|---|---|
| attributes, speed_max_mps | rider_registry: set_attributes |
| available, until_ms, orders, assigned_at_ms, offered_at_ms, socket_count | rider_registry |
| facts | rider_registry, by refresh_facts after each of the changes above |
| seen_at_ms | rider_registry: observe; fix_pipeline, with every fix and batch |
| dropped, dropped_accuracy | fix_pipeline, since the last accepted fix |
| flushed_seen_ms | redis_writer |
| freshness, is_marked_local | rider_registry: mark_live (for fix_pipeline), sweep, assign |
| last_fix, doubtful_fix | fix_pipeline; rider_registry: connect, by forget_seq |
| clock | checks; rider_registry: take_clock_steps |
| late, is_loaded, early_fixes | fix_pipeline |
| sources, source, sole_sid | position_source |
| trail_anchor | fix_pipeline; rider_registry: assign |
| pending_trail | fix_pipeline adds, by add_to_trail; redis_writer takes, puts back on failure |
| flushed_position | redis_writer; fix_pipeline: restore, sweep (None: publish it again) |
| indexed_cell | redis_writer; fix_pipeline: restore |
| is_watched_elsewhere | redis_writer, after each flush |
| legs | rider_registry: set_assignment, release; tracking_policy and eta write inside a leg |
| reporting_interval | tracking_policy |
| rules_due_ms | tracking_policy; rider_registry: set_assignment |
| extra_packets | tracking_policy adds, redis_writer takes; rider_registry: release |
| last_encoded | watchers |
"""

import msgspec

from dispatch.model import Position, Presence
from dispatch.tracking.fixes.device_clock import DeviceClock, SettledClock
from dispatch.tracking.fixes.model import AcceptedFix, FixStream
from dispatch.tracking.fixes.sources import FixSource
from dispatch.tracking.fixes.vehicle_speeds import SPEED_UNKNOWN_MPS
from dispatch.tracking.reporting_interval import ReportingInterval
from dispatch.tracking.route_leg import RouteLeg
from dispatch.tracking.stores.rider_facts import RiderFacts
from dispatch.wire.commands import Fix
from dispatch.wire.events import Freshness

# Source: docs/contract.md, business rules: one order at a time, at most 50 000 of collected cash.
CAPACITY_DEFAULT = 1
CASH_HEADROOM_MAX_XAF = 50_000
# Fixes of one rider's orders that may wait for Redis; 17 minutes at one fix in four seconds: a
# phone that was offline for a quarter of an hour may send all that it kept at once.
PENDING_TRAIL_MAX = 256
# A rider who carries an order and was observed this long after what Redis knows is written again.
# Source: chosen; a third of the shortest silence for which an order may be withdrawn, less the
# second until the next sweep, and seldom reached by a rider whose fixes are accepted.
PRESENCE_EVERY_MS = 3_000


class RiderAttributes(msgspec.Struct, frozen=True, kw_only=True):
    """Profile, statistics, capacity and cash headroom of a rider; None is unknown.

    Units: `completion` percent, `rating` stars out of five, `cash_headroom_xaf` whole XAF.
    """

    name: str = ""
    vehicle: str | None = None
    completion: float | None = None
    rating: float | None = None
    capacity: int = CAPACITY_DEFAULT
    cash_headroom_xaf: int = CASH_HEADROOM_MAX_XAF


class RiderState:
    """One rider of this node; the table above says which module writes which field."""

    __slots__ = (
        "assigned_at_ms",
        "attributes",
        "available",
        "clock",
        "doubtful_fix",
        "dropped",
        "dropped_accuracy",
        "early_fixes",
        "extra_packets",
        "facts",
        "flushed_position",
        "flushed_seen_ms",
        "freshness",
        "indexed_cell",
        "is_loaded",
        "is_marked_local",
        "is_watched_elsewhere",
        "last_encoded",
        "last_fix",
        "late",
        "legs",
        "offered_at_ms",
        "orders",
        "pending_trail",
        "reporting_interval",
        "rider_id",
        "rules_due_ms",
        "seen_at_ms",
        "socket_count",
        "sole_sid",
        "source",
        "sources",
        "speed_max_mps",
        "trail_anchor",
        "until_ms",
    )

    def __init__(self, rider_id: str) -> None:
        self.rider_id = rider_id
        self.attributes = RiderAttributes()
        self.facts = RiderFacts(available=False, active=0)
        self.available = False
        self.until_ms: int | None = None
        self.orders: tuple[str, ...] = ()
        self.assigned_at_ms: dict[str, int] = {}
        self.offered_at_ms: tuple[int, ...] = ()
        self.socket_count = 0
        # When this node last received anything from one of its sockets, and what Redis has of it.
        self.seen_at_ms = 0
        self.flushed_seen_ms = 0
        # Fixes since the last accepted one that were not used, by reason.
        self.dropped: dict[str, int] = {}
        self.dropped_accuracy: float | None = None
        self.last_fix: AcceptedFix | None = None
        self.doubtful_fix: AcceptedFix | None = None
        self.trail_anchor: Position | None = None
        # The clock of its phone, and the fixes that came too late for the marker.
        self.clock = DeviceClock()
        self.late: FixStream | None = None
        # Until its stored orders are loaded its fixes wait, each with its socket and arrival.
        self.is_loaded = True
        self.early_fixes: list[tuple[str, Fix, int]] = []
        # Its sockets that send fixes, the active one, and that one's id where there is no other.
        self.sources: dict[str, FixSource] = {}
        self.source: FixSource | None = None
        self.sole_sid: str | None = None
        self.speed_max_mps = SPEED_UNKNOWN_MPS
        self.freshness: Freshness = "live"
        # Whether the watchers of its orders get its fixes from this node.
        self.is_marked_local = False
        # The cell of the geo index that holds the rider, None where none does.
        self.indexed_cell: str | None = None
        # The position that Redis and the other nodes have.
        self.flushed_position: Position | None = None
        # Fixes that the trails of its orders still need, as (order id, position).
        self.pending_trail: list[tuple[str, Position]] = []
        self.legs: tuple[RouteLeg, ...] = ()
        # The interval that was last sent to the rider's app.
        self.reporting_interval: ReportingInterval | None = None
        # Fixes received before this time need no evaluation of the tracking rules.
        self.rules_due_ms = 0
        # Whether another node watches one of its orders, as of the last flush.
        self.is_watched_elsewhere = False
        # Packets for those watchers beside its position, as (order id, packet).
        self.extra_packets: list[tuple[str, bytes]] = []
        # The last encoded packet and what it was made of: position, freshness, order id, packet.
        self.last_encoded: tuple[Position, Freshness, str, bytes] | None = None

    @property
    def position(self) -> Position | None:
        """The last position."""
        return self.last_fix.position if self.last_fix else None

    @property
    def is_indexed(self) -> bool:
        """Whether the geo index should have the rider.

        It is available or has an order, is not lost, and its position is exact enough.
        """
        if self.freshness == "lost" or not (self.available or self.orders):
            return False
        return self.last_fix is None or self.last_fix.is_indexable

    @property
    def is_presence_due(self) -> bool:
        """Whether Redis should learn that the rider, who carries an order, was observed."""
        return bool(self.orders) and self.seen_at_ms - self.flushed_seen_ms >= PRESENCE_EVERY_MS

    @property
    def presence(self) -> Presence:
        """What this node last observed of the rider."""
        return Presence(
            seen_at=self.seen_at_ms, dropped=dict(self.dropped), accuracy=self.dropped_accuracy
        )

    def count_dropped(self, reason: str, accuracy: float | None) -> None:
        """Note a fix that was not used. Units: metres."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        self.dropped_accuracy = accuracy

    def new_stream(self, clock: DeviceClock | None = None) -> FixStream:
        """A history for fixes that are checked apart from the marker's; old ones by default."""
        return FixStream(self.speed_max_mps, clock or SettledClock(self.clock.offset_ms))

    def swap_stream(self, active: FixSource, other: FixSource) -> None:
        """Keep the history of the active source with it, and go on with that of another one."""
        taken = other.stream
        self.keep_stream(active)
        self.last_fix, self.doubtful_fix, self.clock = taken.last_fix, None, taken.clock
        self.late = None

    def keep_stream(self, source: FixSource) -> None:
        """Keep the history with the source that it is of."""
        kept = source.stream
        kept.last_fix, kept.doubtful_fix, kept.clock = self.last_fix, None, self.clock

    def refresh_facts(self) -> None:
        """Rebuild the facts that matching reads, after one of them has changed."""
        attributes = self.attributes
        self.facts = RiderFacts(
            available=self.available,
            active=len(self.orders),
            capacity=attributes.capacity,
            completion=attributes.completion,
            rating=attributes.rating,
            until_ms=self.until_ms,
            recent_offers=len(self.offered_at_ms),
            cash_headroom_xaf=attributes.cash_headroom_xaf,
            vehicle=attributes.vehicle,
            name=attributes.name,
        )

    def add_to_trail(self, position: Position) -> int:
        """Keep a fix for the trails of the rider's orders; how many older ones were dropped."""
        for order_id in self.orders:
            if position.ts >= self.assigned_at_ms.get(order_id, 0):
                self.pending_trail.append((order_id, position))
        return self.trim_trail()

    def trim_trail(self) -> int:
        """Drop the oldest fixes above `PENDING_TRAIL_MAX`; how many they were."""
        lost = max(0, len(self.pending_trail) - PENDING_TRAIL_MAX)
        if lost:
            del self.pending_trail[:lost]
        return lost

    def forget_seq(self) -> None:
        """Order the next fix by time alone: a new connection may number its fixes from one."""
        if self.last_fix is not None and self.last_fix.position.seq is not None:
            position = msgspec.structs.replace(self.last_fix.position, seq=None)
            self.last_fix = msgspec.structs.replace(self.last_fix, position=position)
        self.doubtful_fix = None
