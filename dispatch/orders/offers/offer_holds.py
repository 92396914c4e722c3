"""Who holds an offer of which order, so that nobody is asked twice at once."""

from collections.abc import Collection

from dispatch.clock import Clock
from dispatch.model import Order
from dispatch.orders.transitions.context import dispatch_of

# Until the index knows that a rider's hands are full: his node tells it within its next flush.
# Source: settings, drain_flush_ms is 40; a second leaves room for a busy one.
INDEX_LAG_MS = 1_000


class OfferHolds:
    """What the engine knows of open offers before the index of riders does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Of which order, "" for one whose hands are full, and until when.
        self._holds: dict[str, tuple[str, int]] = {}

    def add_open_offers(self, order: Order) -> None:
        """The riders of an order's open offers hold them."""
        for rider, offer in dispatch_of(order).offers.items():
            self.add(rider, order.order_id, offer.deadline_ms)

    def add(self, rider_id: str, order_id: str, until_ms: int) -> None:
        """A rider holds an offer of an order. Units: Unix ms."""
        self._holds[rider_id] = (order_id, until_ms)

    def mark_busy(self, rider_id: str) -> None:
        """Leave a rider alone whose hands are full, until the index knows it."""
        self._holds[rider_id] = ("", self._clock.now_ms() + INDEX_LAG_MS)

    def release(self, order_id: str, still_holding: Collection[str]) -> None:
        """An order's riders may be asked again but for those who hold its offers still."""
        now_ms = self._clock.now_ms()
        for rider, (held_by, until_ms) in list(self._holds.items()):
            if until_ms < now_ms or (held_by == order_id and rider not in still_holding):
                del self._holds[rider]

    def current(self, now_ms: int) -> dict[str, str]:
        """The order of which each rider holds an offer; "" for one whose hands are full."""
        return {r: held_by for r, (held_by, until) in self._holds.items() if until >= now_ms}

    def __len__(self) -> int:
        return len(self._holds)
