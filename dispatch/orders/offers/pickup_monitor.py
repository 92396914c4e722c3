"""Pickup monitor: takes an order from a rider who accepted it but does not approach the pickup."""

import structlog

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.model import OfferPolicy, Order
from dispatch.orders.offers import approach
from dispatch.orders.offers.lookups import EngineLookups
from dispatch.orders.offers.presence_alerts import presence_alert, withdrawal_alert
from dispatch.orders.use_cases.delivery import DeliveryUseCases

log = structlog.get_logger(__name__)


class PickupMonitor:
    """Checks assigned orders before their pickup."""

    def __init__(
        self, order_service: DeliveryUseCases, lookups: EngineLookups, clock: Clock
    ) -> None:
        self._order_service = order_service
        self._lookups = lookups
        self._clock = clock

    async def check(self, order: Order, policy: OfferPolicy) -> None:
        """Update the rider's approach; withdraw the order where it vanished or stalled.

        Errors: Refused where the order moved on meanwhile; LeadershipLost; StoreUnavailable.
        """
        order_id, rider_id = order.order_id, order.rider_id
        assert rider_id is not None, "only assigned orders are monitored"
        before = await self._lookups.approaches.get(order_id)
        presence = await self._lookups.positions.presence(rider_id)
        now_ms = self._clock.now_ms()
        after = approach.update_approach(before, order, presence, now_ms, policy)
        outcome = approach.withdrawal_reason(after, order, presence, now_ms, policy)
        if outcome is not None:
            await self._order_service.withdraw_delivery(order_id, outcome)
            metrics.WITHDRAWALS.labels(outcome.value).inc()
            log.info("rider_withdrawn", order_id=order_id, rider_id=rider_id, outcome=outcome)
            alert = withdrawal_alert(outcome, order, after, policy)
            await self._lookups.alerts.raise_alert(alert, policy.alert_every_ms)
            return
        await self._lookups.approaches.put(order_id, after)
        await self._lookups.put_timer(order_id, now_ms + approach.check_every_ms(policy))
        alert = presence_alert(after, order, presence, policy)
        if alert is not None:
            await self._lookups.alerts.raise_alert(alert, policy.alert_every_ms)
