"""Offer holds: riders who have an open offer, in the engine's memory, so none is asked twice."""

from collections.abc import Collection
from typing import NamedTuple

from dispatch.clock import Clock
from dispatch.ids import OrderId, RiderId
from dispatch.model import Order
from dispatch.orders.transitions.context import dispatch_of
from dispatch.orders.transitions.waves import BUSY

# How long a busy rider is held: until then the geo index has learned it from the rider's node.
# Source: settings, `drain_flush_ms` is 40; a second leaves room for a busy node.
INDEX_LAG_MS = 1_000
# Pause before the next look whether the offers of a former engine have been read.
RECHECK_MS = 50


class _Hold(NamedTuple):
    order_id: OrderId
    until_ms: int


class OfferHolds:
    """What the engine knows of open offers before the geo index does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._holds: dict[RiderId, _Hold] = {}
        # Until when open offers may be missing here; None where none is. Units: Unix milliseconds.
        self._settles_at_ms: int | None = None

    def begin(self, settle_ms: int) -> None:
        """Open offers of a former engine may be missing for so long. Units: milliseconds."""
        self._settles_at_ms = self._clock.now_ms() + settle_ms

    def complete(self) -> None:
        """All open offers have been read."""
        self._settles_at_ms = None

    @property
    def incomplete_ms(self) -> int:
        """In how long offers may be made again; zero where now. Units: milliseconds."""
        if self._settles_at_ms is None:
            return 0
        return max(RECHECK_MS, self._settles_at_ms - self._clock.now_ms())

    def add_open_offers(self, order: Order) -> None:
        """Hold the riders of an order's open offers."""
        for rider_id, offer in dispatch_of(order).offers.items():
            self.add(rider_id, order.order_id, offer.deadline_ms)

    def add(self, rider_id: RiderId, order_id: OrderId, until_ms: int) -> None:
        """Hold a rider for an offer of an order. Units: Unix milliseconds."""
        self._holds[rider_id] = _Hold(order_id, until_ms)

    def mark_busy(self, rider_id: RiderId) -> None:
        """Hold a rider who carries another order, until the geo index knows it."""
        self._holds[rider_id] = _Hold(BUSY, self._clock.now_ms() + INDEX_LAG_MS)

    def release(self, order_id: OrderId, still_offered: Collection[RiderId]) -> None:
        """Release the riders held for an order, except those with an open offer of it."""
        now_ms = self._clock.now_ms()
        for rider_id, hold in list(self._holds.items()):
            is_over = hold.order_id == order_id and rider_id not in still_offered
            if hold.until_ms < now_ms or is_over:
                del self._holds[rider_id]

    def current(self, now_ms: int) -> dict[RiderId, OrderId]:
        """The order for which each rider is held; BUSY for one who carries another order.

        Units: Unix milliseconds.
        """
        return {
            rider_id: hold.order_id
            for rider_id, hold in self._holds.items()
            if hold.until_ms >= now_ms
        }

    def __len__(self) -> int:
        return len(self._holds)
