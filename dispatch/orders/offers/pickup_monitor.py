"""Pickup monitor: takes an order from a rider who accepted it but does not approach the pickup."""

import structlog

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.model import OfferOutcome, OfferPolicy, Order
from dispatch.orders.offers import approach
from dispatch.orders.offers.lookups import EngineLookups
from dispatch.orders.use_cases.delivery import DeliveryUseCases
from dispatch.wire.events import Alert

_ALERT_MESSAGES = {
    OfferOutcome.VANISHED: "the rider sent no position for {} s before the pickup",
    OfferOutcome.STALLED: "the rider came no nearer to the pickup for {} s",
}

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
        position = await self._lookups.positions.last_position(rider_id)
        now_ms = self._clock.now_ms()
        after = approach.update_approach(before, order, position, now_ms, policy)
        outcome = approach.withdrawal_reason(after, order, position, now_ms, policy)
        if outcome is not None:
            await self._withdraw(order, outcome, policy)
            return
        await self._lookups.approaches.put(order_id, after)
        await self._lookups.put_timer(order_id, now_ms + approach.check_every_ms(policy))

    async def _withdraw(self, order: Order, outcome: OfferOutcome, policy: OfferPolicy) -> None:
        await self._order_service.withdraw_delivery(order.order_id, outcome)
        metrics.WITHDRAWALS.labels(outcome.value).inc()
        log.info(
            "rider_withdrawn", order_id=order.order_id, rider_id=order.rider_id, outcome=outcome
        )
        limit_ms = policy.vanish_ms if outcome is OfferOutcome.VANISHED else policy.stall_ms
        reason = _ALERT_MESSAGES[outcome].format(limit_ms // 1000)
        alert = Alert(
            kind=f"rider_{outcome.value}",
            message=f"{reason}; the order searches again",
            order_id=order.order_id,
            rider_id=order.rider_id,
            ts=self._clock.now_ms(),
        )
        await self._lookups.alerts.raise_alert(alert, policy.alert_every_ms)
