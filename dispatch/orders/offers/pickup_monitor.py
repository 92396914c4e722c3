"""Pickup monitor: takes an order from a rider who accepted it but does not approach the pickup."""

import structlog

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.model import OfferPolicy, Order
from dispatch.orders.offers.approach import check_every_ms, withdrawal_reason
from dispatch.orders.offers.lookups import EngineLookups
from dispatch.orders.offers.presence_alerts import withdrawal_alert
from dispatch.orders.offers.rider_observation import RiderObserver
from dispatch.orders.use_cases.delivery import DeliveryUseCases

log = structlog.get_logger(__name__)


class PickupMonitor:
    """Checks assigned orders before their pickup."""

    def __init__(
        self, order_service: DeliveryUseCases, lookups: EngineLookups, clock: Clock
    ) -> None:
        self._order_service = order_service
        self._lookups = lookups
        self._observer = RiderObserver(lookups, clock)

    async def check(self, order: Order, policy: OfferPolicy) -> None:
        """Update the rider's approach; withdraw the order where it vanished or stalled.

        Errors: Refused where the order moved on meanwhile; LeadershipLost; StoreUnavailable.
        """
        order_id, observed = order.order_id, await self._observer.observe(order, policy)
        after, now_ms = observed.approach, observed.now_ms
        outcome = withdrawal_reason(after, order, observed.presence, now_ms, policy)
        if outcome is not None:
            await self._order_service.withdraw_delivery(order_id, outcome)
            metrics.WITHDRAWALS.labels(outcome.value).inc()
            log.info("rider_withdrawn", order_id=order_id, rider_id=order.rider_id, outcome=outcome)
            alert = withdrawal_alert(outcome, order, after, policy)
            await self._lookups.alerts.raise_alert(alert, policy.alert_every_ms)
            return
        await self._lookups.approaches.put(order_id, after)
        await self._lookups.put_timer(order_id, now_ms + check_every_ms(policy))
        await self._observer.alert(observed, order, policy)
