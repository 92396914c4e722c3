"""One order is offered to riders: they hold its offers from the moment it is meant.

Step 4 of an order's way: orders.search or orders.batches -> [here] -> orders.flow writes.
"""

from dispatch.errors import Refused
from dispatch.model import Offer, Order
from dispatch.orders.offers.lookups import Finds
from dispatch.orders.offers.offer_holds import Holdings
from dispatch.orders.service import Flow
from dispatch.orders.transitions.context import OffersMade, dispatch_of
from matching.geo import distance_m

METRES_PER_KM = 1000


class Asking:
    """Makes offers, and knows who holds one."""

    def __init__(self, flow: Flow, finds: Finds, holdings: Holdings) -> None:
        self._flow = flow
        self._finds = finds
        self.holdings = holdings

    async def ask(self, order: Order, offers: dict[str, Offer], made: OffersMade) -> None:
        """Offer an order to riders, and look at it again in time.

        Nothing is awaited before they hold their offers: nobody is asked twice at once.

        Errors: Refused where the order moved on or a rider's hands are full; StoreUnavailable.
        """
        for rider, offer in offers.items():
            self.holdings.put(rider, order.order_id, offer.deadline_ms)
        try:
            await self._flow.make_offers(order.order_id, offers, made, order)
        except Refused as refused:
            self.holdings.let_go(order.order_id, dispatch_of(order).offers)
            if refused.details is not None:
                self.holdings.spare(str(refused.details["riderId"]))
            raise
        await self._finds.put_timer(order.order_id, made.due_at_ms)


def trip_km(order: Order) -> float:
    """From the pickup to the customer, as the crow flies."""
    return distance_m(order.pickup, order.dropoff) / METRES_PER_KM
