"""One order is offered to riders: they hold its offers from the moment it is meant.

Step 4 of an order's way: orders.search or orders.batches -> [here] -> orders.flow writes.
"""

from dispatch.errors import Refused
from dispatch.model import Offer, Order
from dispatch.orders.offers.lookups import EngineLookups
from dispatch.orders.offers.offer_holds import OfferHolds
from dispatch.orders.service import OrderService
from dispatch.orders.transitions.context import OfferFacts, dispatch_of
from matching.geo import distance_m

METRES_PER_KM = 1000


class OfferMaker:
    """Makes offers, and knows who holds one."""

    def __init__(
        self, order_service: OrderService, lookups: EngineLookups, holds: OfferHolds
    ) -> None:
        self._order_service = order_service
        self._lookups = lookups
        self.holds = holds

    async def make_offers(self, order: Order, offers: dict[str, Offer], facts: OfferFacts) -> None:
        """Offer an order to riders, and look at it again in time.

        Nothing is awaited before they hold their offers: nobody is asked twice at once.

        Errors: Refused where the order moved on or a rider's hands are full; StoreUnavailable.
        """
        for rider, offer in offers.items():
            self.holds.add(rider, order.order_id, offer.deadline_ms)
        try:
            await self._order_service.make_offers(order.order_id, offers, facts, order)
        except Refused as refused:
            self.holds.release(order.order_id, dispatch_of(order).offers)
            if refused.details is not None:
                self.holds.mark_busy(str(refused.details["riderId"]))
            raise
        await self._lookups.put_timer(order.order_id, facts.due_at_ms)


def trip_km(order: Order) -> float:
    """From the pickup to the customer, as the crow flies."""
    return distance_m(order.pickup, order.dropoff) / METRES_PER_KM
