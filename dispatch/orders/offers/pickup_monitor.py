"""Sees to it that a rider who accepted comes to the pickup, and takes the order from one who won't.

Step 5 of an order's way: the rider accepted -> [here] looks after him -> orders.progress.
"""

import structlog

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.model import OfferOutcome, OfferPolicy, Order
from dispatch.orders.offers import approach
from dispatch.orders.offers.lookups import EngineLookups
from dispatch.orders.service import OrderService
from dispatch.wire.events import Alert

_ALERT_MESSAGES = {
    OfferOutcome.VANISHED: "the rider sent no position for {} s before the pickup",
    OfferOutcome.STALLED: "the rider came no nearer to the pickup for {} s",
}

log = structlog.get_logger(__name__)


class PickupMonitor:
    """Looks after assigned orders."""

    def __init__(self, order_service: OrderService, lookups: EngineLookups, clock: Clock) -> None:
        self._order_service = order_service
        self._lookups = lookups
        self._clock = clock

    async def check(self, order: Order, policy: OfferPolicy) -> None:
        """See how the rider comes on; the order searches again where he does not.

        Errors: Refused where the order moved on meanwhile; StoreUnavailable.
        """
        order_id, rider_id = order.order_id, order.rider_id
        assert rider_id is not None, "only assigned orders are looked after"
        before = await self._lookups.approaches.get(order_id)
        at = await self._lookups.positions.last_position(rider_id)
        now_ms = self._clock.now_ms()
        after = approach.update_approach(before, order, at, now_ms, policy)
        outcome = approach.withdrawal_reason(after, order, at, now_ms, policy)
        if outcome is not None:
            await self._withdraw(order, outcome, policy)
            return
        await self._lookups.approaches.put(order_id, after)
        again_ms = now_ms + approach.check_every_ms(policy)
        await self._lookups.put_timer(order_id, again_ms)

    async def _withdraw(self, order: Order, outcome: OfferOutcome, policy: OfferPolicy) -> None:
        await self._order_service.withdraw_delivery(order.order_id, outcome)
        metrics.WITHDRAWALS.labels(outcome.value).inc()
        log.info("rider_given_up", order_id=order.order_id, rider_id=order.rider_id, why=outcome)
        waited_ms = policy.vanish_ms if outcome is OfferOutcome.VANISHED else policy.stall_ms
        alert = Alert(
            kind=f"rider_{outcome.value}",
            message=(
                f"{_ALERT_MESSAGES[outcome].format(waited_ms // 1000)}; the order searches again"
            ),
            order_id=order.order_id,
            rider_id=order.rider_id,
            ts=self._clock.now_ms(),
        )
        await self._lookups.alerts.raise_alert(alert, policy.alert_every_ms)
