"""The riders connected to this node: who they are, what they carry, where they were last."""

from collections.abc import Collection, Iterator
from typing import Literal, Protocol

import msgspec

from dispatch.model import Course, Position
from dispatch.tracking.checks import SPEED_UNKNOWN_MPS, Admitted, speed_max_mps
from dispatch.tracking.reporting_interval import Cadence
from dispatch.tracking.route_leg import Leg
from dispatch.tracking.stores.rider_facts import Facts

State = Literal["live", "stale", "lost"]

# Source: wire contract, business rules: one order at a time, at most 50 000 of collected cash.
CAPACITY_DEFAULT = 1
CASH_HEADROOM_XAF = 50_000
# Fairness looks back this far. Source: matching design, offers per rider-hour.
OFFERS_REMEMBERED_MS = 3_600_000
# Fixes of one rider's orders that may wait for Redis; nine minutes at one fix in four seconds.
TRAIL_WAITING_MAX = 128


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a rider beside where he is; None is unknown.

    Units: percent, stars out of five, whole XAF.
    """

    name: str = ""
    vehicle: str | None = None
    completion: float | None = None
    rating: float | None = None
    capacity: int = CAPACITY_DEFAULT
    cash_headroom_xaf: int = CASH_HEADROOM_XAF


class Seat:
    """One rider at this node. `cell` is where the index has him, None where it has him not."""

    __slots__ = (
        "about",
        "anchor",
        "available",
        "cadence",
        "cell",
        "doubt",
        "encoded",
        "facts",
        "flushed",
        "guide_due_ms",
        "is_heard",
        "is_served",
        "last",
        "legs",
        "notes",
        "offered_at_ms",
        "orders",
        "rider_id",
        "since_ms",
        "sockets",
        "speed_max_mps",
        "state",
        "trail",
        "until_ms",
    )

    def __init__(self, rider_id: str) -> None:
        self.rider_id = rider_id
        self.about = About()
        self.facts = Facts(available=False, active=0)
        self.available = False
        self.until_ms: int | None = None
        self.orders: tuple[str, ...] = ()
        self.since_ms: dict[str, int] = {}
        self.offered_at_ms: tuple[int, ...] = ()
        self.sockets = 0
        self.last: Admitted | None = None
        self.doubt: Admitted | None = None
        self.anchor: Position | None = None
        self.speed_max_mps = SPEED_UNKNOWN_MPS
        self.state: State = "live"
        # Whether the watchers of his orders get his fixes from this node.
        self.is_served = False
        self.cell: str | None = None
        # The position that Redis and the other nodes have; and the fixes that his orders' trails
        # still want.
        self.flushed: Position | None = None
        self.trail: list[tuple[str, Position]] = []
        # Where his orders take him; how often he was told to report; whether a watcher on another
        # node hears him, and what such watchers shall be told beside his position.
        self.legs: tuple[Leg, ...] = ()
        self.cadence: Cadence | None = None
        # Before this time his fixes need no look of the guide.
        self.guide_due_ms = 0
        self.is_heard = False
        self.notes: list[tuple[str, bytes]] = []
        # What the watchers of one order were told last: position, state, order, packet.
        self.encoded: tuple[Position, State, str, bytes] | None = None

    @property
    def position(self) -> Position | None:
        """Where he was last."""
        return self.last.position if self.last else None

    @property
    def is_indexed(self) -> bool:
        """Whether the index should have him: on duty or on a job, and not lost."""
        return (self.available or bool(self.orders)) and self.state != "lost"

    def judge(self) -> None:
        """Put together what matching must know of him, after something of it has changed."""
        about = self.about
        self.facts = Facts(
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

    def keep(self, position: Position) -> int:
        """Remember a fix for the trails of his orders; how many older ones had to go for it."""
        for order_id in self.orders:
            if position.ts >= self.since_ms.get(order_id, 0):
                self.trail.append((order_id, position))
        return self.trim()

    def trim(self) -> int:
        """Let the oldest fixes go where too many wait; how many they were."""
        lost = max(0, len(self.trail) - TRAIL_WAITING_MAX)
        if lost:
            del self.trail[:lost]
        return lost

    def forget_count(self) -> None:
        """A new connection may count its fixes anew; from here on time alone orders them."""
        if self.last is not None and self.last.position.seq is not None:
            position = msgspec.structs.replace(self.last.position, seq=None)
            self.last = msgspec.structs.replace(self.last, position=position)
        self.doubt = None


class Index(Protocol):
    """Who brings a changed seat to Redis soon."""

    def touch(self, seat: Seat) -> None:
        """The seat has changed without a new fix."""
        ...


class Service(Protocol):
    """Who must know whether an order's positions come from a rider of this node."""

    def serve(self, order_id: str) -> None:
        """They do."""
        ...

    def unserve(self, order_id: str) -> None:
        """They may come from another node."""
        ...


class Roster:
    """The seats of this node. Changes of duty reach the index with the next flush."""

    def __init__(self, index: Index, service: Service, fresh_ms: int, lost_ms: int) -> None:
        assert fresh_ms < lost_ms, "stale comes before lost"
        self._index = index
        self._service = service
        self.fresh_ms = fresh_ms
        self.lost_ms = lost_ms
        self._seats: dict[str, Seat] = {}

    def __len__(self) -> int:
        return len(self._seats)

    def __iter__(self) -> Iterator[Seat]:
        return iter(tuple(self._seats.values()))

    def on_duty(self) -> int:
        """How many riders of this node the index should have."""
        return sum(seat.is_indexed and seat.last is not None for seat in self._seats.values())

    def get(self, rider_id: str) -> Seat | None:
        """The rider's seat, None where he is not at this node."""
        return self._seats.get(rider_id)

    def seat(self, rider_id: str) -> Seat:
        """A socket of the rider connects: his seat, a new one where he has none."""
        seat = self._seats.get(rider_id)
        if seat is None:
            seat = self._seats[rider_id] = Seat(rider_id)
        seat.sockets += 1
        seat.forget_count()
        return seat

    def leave(self, rider_id: str) -> None:
        """A socket of the rider is gone; his seat stays until he is lost, he may come back."""
        seat = self._seats.get(rider_id)
        if seat is None:
            return
        seat.sockets = max(0, seat.sockets - 1)
        if seat.sockets == 0 and (seat.last is None or not seat.is_indexed):
            self._forget(seat)

    def describe(self, rider_id: str, about: About) -> None:
        """What is known of the rider has changed."""
        seat = self._seats.get(rider_id)
        if seat is not None:
            seat.about = about
            seat.speed_max_mps = speed_max_mps(about.vehicle)
            self._changed(seat)

    def set_available(self, rider_id: str, *, available: bool, until_ms: int | None = None) -> None:
        """The rider goes on or off duty; off duty and without an order he leaves the index.

        Units: `until_ms` is Unix ms; from then on he picks nothing up, None where he did not say.
        """
        seat = self._seats.get(rider_id)
        if seat is not None and (seat.available, seat.until_ms) != (available, until_ms):
            seat.available, seat.until_ms = available, until_ms
            self._changed(seat)

    def assign(self, rider_id: str, order_id: str, since_ms: int = 0) -> None:
        """The rider carries an order; its watchers see him, its trail has his fixes from then on.

        Units: `since_ms` is Unix ms, 0 where it is not known.
        """
        seat = self._seats.get(rider_id)
        if seat is not None and order_id not in seat.orders:
            seat.orders = (*seat.orders, order_id)
            seat.since_ms[order_id] = since_ms
            # Its trail begins with the next fix, wherever that is.
            seat.anchor = None
            # The next fix serves the new order too.
            seat.is_served = False
            self._changed(seat)

    def steer(self, rider_id: str, course: Course) -> None:
        """Where an order of the rider takes him, and how far he is; newer takes older's place."""
        seat = self._seats.get(rider_id)
        if seat is not None and course.order_id in seat.orders:
            others = tuple(each for each in seat.legs if each.order_id != course.order_id)
            seat.legs = (*others, Leg(course))
            seat.guide_due_ms = 0

    def release(self, rider_id: str, order_id: str) -> None:
        """The rider carries an order no more; its watchers see nothing more of him."""
        seat = self._seats.get(rider_id)
        if seat is not None and order_id in seat.orders:
            seat.orders = tuple(each for each in seat.orders if each != order_id)
            seat.since_ms.pop(order_id, None)
            seat.legs = tuple(each for each in seat.legs if each.order_id != order_id)
            seat.notes.clear()
            self._service.unserve(order_id)
            self._changed(seat)

    def carry(self, rider_id: str, orders: Collection[str]) -> None:
        """The rider carries these orders and no others, as the table says."""
        seat = self._seats.get(rider_id)
        for order_id in set(seat.orders).difference(orders) if seat else ():
            self.release(rider_id, order_id)
        for order_id in orders:
            self.assign(rider_id, order_id)

    def offered(self, rider_id: str, now_ms: int) -> None:
        """The rider was asked to carry an order."""
        seat = self._seats.get(rider_id)
        if seat is not None:
            seat.offered_at_ms = (*seat.offered_at_ms, now_ms)
            self._changed(seat)

    def serve(self, seat: Seat) -> None:
        """A live fix came in here: watchers of his orders need not listen to other nodes."""
        seat.is_served = True
        seat.state = "live"
        for order_id in seat.orders:
            self._service.serve(order_id)

    def sweep(self, now_ms: int) -> list[Seat]:
        """The seats that went stale or lost since the last sweep; lost ones leave the index.

        A lost rider without a socket has no seat any more.
        """
        self._forget_offers(now_ms - OFFERS_REMEMBERED_MS)
        # Nearly all have reported: thousands are passed over each second.
        fell = [
            seat
            for seat in self._seats.values()
            if seat.state != "lost"
            and (last := seat.last) is not None
            and (age_ms := now_ms - last.position.received_at) > self.fresh_ms
            and self._has_fallen(seat, age_ms)
        ]
        for seat in fell:
            self._unserve(seat)
            self._changed(seat)
            if seat.state == "lost" and seat.sockets == 0:
                del self._seats[seat.rider_id]
        return fell

    def _forget_offers(self, before_ms: int) -> None:
        for seat in self._seats.values():
            if seat.offered_at_ms and seat.offered_at_ms[0] < before_ms:
                seat.offered_at_ms = tuple(at for at in seat.offered_at_ms if at >= before_ms)
                self._changed(seat)

    def _has_fallen(self, seat: Seat, age_ms: int) -> bool:
        """Grade a silent seat by the age of its last fix; whether it is worse than before."""
        before = seat.state
        seat.state = "stale" if age_ms <= self.lost_ms else "lost"
        return seat.state != before

    def _changed(self, seat: Seat) -> None:
        seat.judge()
        if seat.last is not None:
            self._index.touch(seat)

    def _forget(self, seat: Seat) -> None:
        self._unserve(seat)
        del self._seats[seat.rider_id]

    def _unserve(self, seat: Seat) -> None:
        seat.is_served = False
        for order_id in seat.orders:
            self._service.unserve(order_id)
