"""The riders connected to this node: who they are, what they carry, where they were last."""

from collections.abc import Collection, Iterator
from typing import Protocol

import msgspec

from dispatch.model import Position, RiderAssignment
from dispatch.tracking.checks import SPEED_UNKNOWN_MPS, AcceptedFix, speed_max_mps
from dispatch.tracking.reporting_interval import ReportingInterval
from dispatch.tracking.route_leg import RouteLeg
from dispatch.tracking.stores.rider_facts import RiderFacts
from dispatch.wire.events import Freshness

# Source: wire contract, business rules: one order at a time, at most 50 000 of collected cash.
CAPACITY_DEFAULT = 1
CASH_HEADROOM_MAX_XAF = 50_000
# Fairness looks back this far. Source: matching design, offers per rider-hour.
OFFERS_WINDOW_MS = 3_600_000
# Fixes of one rider's orders that may wait for Redis; nine minutes at one fix in four seconds.
PENDING_TRAIL_MAX = 128


class RiderAttributes(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a rider beside where he is; None is unknown.

    Units: percent, stars out of five, whole XAF.
    """

    name: str = ""
    vehicle: str | None = None
    completion: float | None = None
    rating: float | None = None
    capacity: int = CAPACITY_DEFAULT
    cash_headroom_xaf: int = CASH_HEADROOM_MAX_XAF


class RiderState:
    """One rider at this node. `cell` is where the index has him, None where it has him not."""

    __slots__ = (
        "assigned_at_ms",
        "attributes",
        "available",
        "doubtful_fix",
        "extra_packets",
        "facts",
        "flushed_position",
        "freshness",
        "indexed_cell",
        "is_marked_local",
        "is_watched_elsewhere",
        "last_encoded",
        "last_fix",
        "legs",
        "offered_at_ms",
        "orders",
        "pending_trail",
        "reporting_interval",
        "rider_id",
        "rules_due_ms",
        "socket_count",
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
        self.last_fix: AcceptedFix | None = None
        self.doubtful_fix: AcceptedFix | None = None
        self.trail_anchor: Position | None = None
        self.speed_max_mps = SPEED_UNKNOWN_MPS
        self.freshness: Freshness = "live"
        # Whether the watchers of his orders get his fixes from this node.
        self.is_marked_local = False
        self.indexed_cell: str | None = None
        # The position that Redis and the other nodes have; and the fixes that his orders' trails
        # still want.
        self.flushed_position: Position | None = None
        self.pending_trail: list[tuple[str, Position]] = []
        # Where his orders take him; how often he was told to report; whether a watcher on another
        # node hears him, and what such watchers shall be told beside his position.
        self.legs: tuple[RouteLeg, ...] = ()
        self.reporting_interval: ReportingInterval | None = None
        # Before this time his fixes need no look of the guide.
        self.rules_due_ms = 0
        self.is_watched_elsewhere = False
        self.extra_packets: list[tuple[str, bytes]] = []
        # What the watchers of one order were told last: position, state, order, packet.
        self.last_encoded: tuple[Position, Freshness, str, bytes] | None = None

    @property
    def position(self) -> Position | None:
        """Where he was last."""
        return self.last_fix.position if self.last_fix else None

    @property
    def is_indexed(self) -> bool:
        """Whether the index should have him: on duty or on a job, and not lost."""
        return (self.available or bool(self.orders)) and self.freshness != "lost"

    def refresh_facts(self) -> None:
        """Put together what matching must know of him, after something of it has changed."""
        about = self.attributes
        self.facts = RiderFacts(
            available=self.available,
            active=len(self.orders),
            capacity=about.capacity,
            completion=about.completion,
            rating=about.rating,
            until_ms=self.until_ms,
            recent_offers=len(self.offered_at_ms),
            cash_headroom_xaf=about.cash_headroom_xaf,
            vehicle=about.vehicle,
            name=about.name,
        )

    def add_to_trail(self, position: Position) -> int:
        """Remember a fix for the trails of his orders; how many older ones had to go for it."""
        for order_id in self.orders:
            if position.ts >= self.assigned_at_ms.get(order_id, 0):
                self.pending_trail.append((order_id, position))
        return self.trim_trail()

    def trim_trail(self) -> int:
        """Let the oldest fixes go where too many wait; how many they were."""
        lost = max(0, len(self.pending_trail) - PENDING_TRAIL_MAX)
        if lost:
            del self.pending_trail[:lost]
        return lost

    def forget_seq(self) -> None:
        """A new connection may count its fixes anew; from here on time alone orders them."""
        if self.last_fix is not None and self.last_fix.position.seq is not None:
            position = msgspec.structs.replace(self.last_fix.position, seq=None)
            self.last_fix = msgspec.structs.replace(self.last_fix, position=position)
        self.doubtful_fix = None


class WriteQueue(Protocol):
    """Who brings a changed seat to Redis soon."""

    def enqueue(self, rider: RiderState) -> None:
        """The seat has changed without a new fix."""
        ...


class LocalOrders(Protocol):
    """Who must know whether an order's positions come from a rider of this node."""

    def mark_local(self, order_id: str) -> None:
        """They do."""
        ...

    def unmark_local(self, order_id: str) -> None:
        """They may come from another node."""
        ...


class RiderRegistry:
    """The seats of this node. Changes of duty reach the index with the next flush."""

    def __init__(
        self, write_queue: WriteQueue, local_orders: LocalOrders, fresh_ms: int, lost_ms: int
    ) -> None:
        assert fresh_ms < lost_ms, "stale comes before lost"
        self._write_queue = write_queue
        self._local_orders = local_orders
        self.fresh_ms = fresh_ms
        self.lost_ms = lost_ms
        self._riders: dict[str, RiderState] = {}

    def __len__(self) -> int:
        return len(self._riders)

    def __iter__(self) -> Iterator[RiderState]:
        return iter(tuple(self._riders.values()))

    def count_on_duty(self) -> int:
        """How many riders of this node the index should have."""
        return sum(seat.is_indexed and seat.last_fix is not None for seat in self._riders.values())

    def get(self, rider_id: str) -> RiderState | None:
        """The rider's seat, None where he is not at this node."""
        return self._riders.get(rider_id)

    def connect(self, rider_id: str) -> RiderState:
        """A socket of the rider connects: his seat, a new one where he has none."""
        seat = self._riders.get(rider_id)
        if seat is None:
            seat = self._riders[rider_id] = RiderState(rider_id)
        seat.socket_count += 1
        seat.forget_seq()
        return seat

    def disconnect(self, rider_id: str) -> None:
        """A socket of the rider is gone; his seat stays until he is lost, he may come back."""
        seat = self._riders.get(rider_id)
        if seat is None:
            return
        seat.socket_count = max(0, seat.socket_count - 1)
        if seat.socket_count == 0 and (seat.last_fix is None or not seat.is_indexed):
            self._remove(seat)

    def set_attributes(self, rider_id: str, attributes: RiderAttributes) -> None:
        """What is known of the rider has changed."""
        seat = self._riders.get(rider_id)
        if seat is not None:
            seat.attributes = attributes
            seat.speed_max_mps = speed_max_mps(attributes.vehicle)
            self._refresh_index(seat)

    def set_available(self, rider_id: str, *, available: bool, until_ms: int | None = None) -> None:
        """The rider goes on or off duty; off duty and without an order he leaves the index.

        Units: `until_ms` is Unix ms; from then on he picks nothing up, None where he did not say.
        """
        seat = self._riders.get(rider_id)
        if seat is not None and (seat.available, seat.until_ms) != (available, until_ms):
            seat.available, seat.until_ms = available, until_ms
            self._refresh_index(seat)

    def assign(self, rider_id: str, order_id: str, assigned_at_ms: int = 0) -> None:
        """The rider carries an order; its watchers see him, its trail has his fixes from then on.

        Units: `since_ms` is Unix ms, 0 where it is not known.
        """
        seat = self._riders.get(rider_id)
        if seat is not None and order_id not in seat.orders:
            seat.orders = (*seat.orders, order_id)
            seat.assigned_at_ms[order_id] = assigned_at_ms
            # Its trail begins with the next fix, wherever that is.
            seat.trail_anchor = None
            # The next fix serves the new order too.
            seat.is_marked_local = False
            self._refresh_index(seat)

    def set_assignment(self, rider_id: str, assignment: RiderAssignment) -> None:
        """Where an order of the rider takes him, and how far he is; newer takes older's place."""
        seat = self._riders.get(rider_id)
        if seat is not None and assignment.order_id in seat.orders:
            others = tuple(each for each in seat.legs if each.order_id != assignment.order_id)
            seat.legs = (*others, RouteLeg(assignment))
            seat.rules_due_ms = 0

    def release(self, rider_id: str, order_id: str) -> None:
        """The rider carries an order no more; its watchers see nothing more of him."""
        seat = self._riders.get(rider_id)
        if seat is not None and order_id in seat.orders:
            seat.orders = tuple(each for each in seat.orders if each != order_id)
            seat.assigned_at_ms.pop(order_id, None)
            seat.legs = tuple(each for each in seat.legs if each.order_id != order_id)
            seat.extra_packets.clear()
            self._local_orders.unmark_local(order_id)
            self._refresh_index(seat)

    def set_orders(self, rider_id: str, order_ids: Collection[str]) -> None:
        """The rider carries these orders and no others, as the table says."""
        seat = self._riders.get(rider_id)
        for order_id in set(seat.orders).difference(order_ids) if seat else ():
            self.release(rider_id, order_id)
        for order_id in order_ids:
            self.assign(rider_id, order_id)

    def record_offer(self, rider_id: str, now_ms: int) -> None:
        """The rider was asked to carry an order."""
        seat = self._riders.get(rider_id)
        if seat is not None:
            seat.offered_at_ms = (*seat.offered_at_ms, now_ms)
            self._refresh_index(seat)

    def mark_live(self, rider: RiderState) -> None:
        """A live fix came in here: watchers of his orders need not listen to other nodes."""
        rider.is_marked_local = True
        rider.freshness = "live"
        for order_id in rider.orders:
            self._local_orders.mark_local(order_id)

    def sweep(self, now_ms: int) -> list[RiderState]:
        """The seats that went stale or lost since the last sweep; lost ones leave the index.

        A lost rider without a socket has no seat any more.
        """
        self._expire_offers(now_ms - OFFERS_WINDOW_MS)
        # Nearly all have reported: thousands are passed over each second.
        fell = [
            seat
            for seat in self._riders.values()
            if seat.freshness != "lost"
            and (last := seat.last_fix) is not None
            and (age_ms := now_ms - last.position.received_at) > self.fresh_ms
            and self._downgrade(seat, age_ms)
        ]
        for seat in fell:
            self._unmark_local(seat)
            self._refresh_index(seat)
            if seat.freshness == "lost" and seat.socket_count == 0:
                del self._riders[seat.rider_id]
        return fell

    def _expire_offers(self, before_ms: int) -> None:
        for seat in self._riders.values():
            if seat.offered_at_ms and seat.offered_at_ms[0] < before_ms:
                seat.offered_at_ms = tuple(at for at in seat.offered_at_ms if at >= before_ms)
                self._refresh_index(seat)

    def _downgrade(self, rider: RiderState, age_ms: int) -> bool:
        """Grade a silent seat by the age of its last fix; whether it is worse than before."""
        before = rider.freshness
        rider.freshness = "stale" if age_ms <= self.lost_ms else "lost"
        return rider.freshness != before

    def _refresh_index(self, rider: RiderState) -> None:
        rider.refresh_facts()
        if rider.last_fix is not None:
            self._write_queue.enqueue(rider)

    def _remove(self, rider: RiderState) -> None:
        self._unmark_local(rider)
        del self._riders[rider.rider_id]

    def _unmark_local(self, rider: RiderState) -> None:
        rider.is_marked_local = False
        for order_id in rider.orders:
            self._local_orders.unmark_local(order_id)
