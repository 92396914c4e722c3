"""Delivery monitor: follows picked up goods to the door, and alerts operators where it must."""

from dispatch.clock import Clock
from dispatch.model import OfferPolicy, Order
from dispatch.orders.offers.approach import update_approach
from dispatch.orders.offers.delivery_concerns import concerns_of, delivery_check_every_ms
from dispatch.orders.offers.lookups import EngineLookups
from dispatch.orders.offers.presence_alerts import presence_alert
from dispatch.orders.transitions.concerns import ConcernFacts
from dispatch.orders.use_cases.delivery import DeliveryUseCases


class DeliveryMonitor:
    """Checks orders after their pickup; the rider keeps the goods, operators decide."""

    def __init__(
        self, order_service: DeliveryUseCases, lookups: EngineLookups, clock: Clock
    ) -> None:
        self._order_service = order_service
        self._lookups = lookups
        self._clock = clock

    async def check(self, order: Order, policy: OfferPolicy) -> None:
        """Update the rider's approach to the door; note what begins to worry, or is over.

        Errors: Refused where the order moved on meanwhile; LeadershipLost; StoreUnavailable.
        """
        order_id, rider_id = order.order_id, order.rider_id
        assert rider_id is not None, "picked up goods have a rider"
        assert order.dispatch is not None
        before = await self._lookups.approaches.get(order_id)
        presence = await self._lookups.positions.presence(rider_id)
        now_ms = self._clock.now_ms()
        after = update_approach(before, order, presence, now_ms, policy)
        await self._lookups.approaches.put(order_id, after)
        due_at_ms = now_ms + delivery_check_every_ms(policy)
        messages = concerns_of(after, order, presence, policy)
        if messages.keys() != order.dispatch.concerns.keys():
            await self._order_service.note_concerns(order_id, ConcernFacts(messages, due_at_ms))
        await self._lookups.put_timer(order_id, due_at_ms)
        alert = presence_alert(after, order, presence, policy)
        if alert is not None:
            await self._lookups.alerts.raise_alert(alert, policy.alert_every_ms)
