"""Makes offers of one order: the riders are held first, so that none is asked twice at once."""

from dispatch.errors import Refused
from dispatch.ids import RiderId
from dispatch.model import Order
from dispatch.orders.offers.lookups import EngineLookups
from dispatch.orders.offers.offer_holds import OfferHolds
from dispatch.orders.transitions.context import OfferFacts, dispatch_of
from dispatch.orders.units import METRES_PER_KM
from dispatch.orders.use_cases.offers import OfferUseCases
from matching.geo import distance_m


class OfferMaker:
    """Makes offers, and keeps the holds of their riders."""

    def __init__(
        self, order_service: OfferUseCases, lookups: EngineLookups, holds: OfferHolds
    ) -> None:
        self._order_service = order_service
        self._lookups = lookups
        self.holds = holds

    async def make_offers(self, order: Order, facts: OfferFacts) -> None:
        """Offer an order to riders, and schedule its next check.

        The riders are held before anything is awaited, and released again where it is refused.

        Errors: Refused where the order moved on or a rider carries another order; LeadershipLost;
        StoreUnavailable.
        """
        for rider_id, offer in facts.offers.items():
            self.holds.add(rider_id, order.order_id, offer.deadline_ms)
        try:
            await self._order_service.make_offers(order.order_id, facts, order)
        except Refused as refused:
            self.holds.release(order.order_id, dispatch_of(order).offers)
            if refused.details is not None:
                self.holds.mark_busy(RiderId(str(refused.details["riderId"])))
            raise
        await self._lookups.put_timer(order.order_id, facts.due_at_ms)


def trip_km(order: Order) -> float:
    """The straight line from pickup to dropoff. Units: kilometres."""
    return distance_m(order.pickup, order.dropoff) / METRES_PER_KM
