"""Delivery monitor: follows picked up goods to the door, and alerts operators where it must."""

from dispatch.clock import Clock
from dispatch.model import OfferPolicy, Order
from dispatch.orders.offers.delivery_concerns import concerns_of, delivery_check_every_ms
from dispatch.orders.offers.lookups import EngineLookups
from dispatch.orders.offers.rider_observation import RiderObserver
from dispatch.orders.transitions.concerns import ConcernFacts
from dispatch.orders.use_cases.delivery import DeliveryUseCases


class DeliveryMonitor:
    """Checks orders after their pickup; the rider keeps the goods, operators decide."""

    def __init__(
        self, order_service: DeliveryUseCases, lookups: EngineLookups, clock: Clock
    ) -> None:
        self._order_service = order_service
        self._lookups = lookups
        self._observer = RiderObserver(lookups, clock)

    async def check(self, order: Order, policy: OfferPolicy) -> None:
        """Update the rider's approach to the door; note what begins to worry, or is over.

        Errors: Refused where the order moved on meanwhile; LeadershipLost; StoreUnavailable.
        """
        assert order.dispatch is not None, "picked up goods have dispatch state"
        observed = await self._observer.observe(order, policy)
        await self._lookups.approaches.put(order.order_id, observed.approach)
        due_at_ms = observed.now_ms + delivery_check_every_ms(policy)
        messages = concerns_of(observed.approach, order, observed.presence, policy)
        if messages.keys() != order.dispatch.concerns.keys():
            facts = ConcernFacts(messages, due_at_ms)
            await self._order_service.note_concerns(order.order_id, facts)
        await self._lookups.put_timer(order.order_id, due_at_ms)
        await self._observer.alert(observed, order, policy)
