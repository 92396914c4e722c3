"""Standing changes: an operator's decision about a person, and what follows for its open orders."""

from typing import Any, NamedTuple

import structlog

from dispatch.accounts.standing import BARRED
from dispatch.accounts.standing_decisions import StandingDecision, StandingDecisions
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.events.alerts import Alerts
from dispatch.ids import OrderId, RiderId
from dispatch.model import TERMINAL_STATUSES
from dispatch.orders.service import OrderService
from dispatch.orders.store import OrderStore
from dispatch.orders.unit_of_work import Caller
from dispatch.riders.store import Riders
from dispatch.storage.dynamodb_errors import translate_dynamodb_errors
from dispatch.storage.paging import PageRequest
from dispatch.wire.events import Alert

# The same alert about an order is raised again after this time, where the decision is repeated.
ALERT_EVERY_MS = 60_000
# Newest orders of a vendor among which open ones are looked for. Source: chosen; more than a
# kitchen works on at once.
VENDOR_ORDERS_LOOKED_AT = 100

log = structlog.get_logger(__name__)


class StandingLookups(NamedTuple):
    """What is read of the orders of people who are barred, and where operators are told."""

    orders: OrderStore
    riders: Riders
    alerts: Alerts


class StandingChanges:
    """Takes decisions, and takes care of the orders of those who are barred.

    A rider's order before the pickup is searched again for another rider. Goods that it carries,
    and a barred vendor's open orders, are reported to the operators.

    Errors: every method raises StoreUnavailable; repeating a decision finishes what was left.
    """

    def __init__(
        self,
        decisions: StandingDecisions,
        order_service: OrderService,
        lookups: StandingLookups,
        clock: Clock,
    ) -> None:
        self._decisions = decisions
        self._order_service = order_service
        self._lookups = lookups
        self._clock = clock

    async def change(self, caller: Caller, decision: StandingDecision) -> dict[str, Any]:
        """Decide about a person; its orders follow.

        Errors: Refused WRONG_STATE for a change that is not allowed; CONFLICT.
        """
        answer = await self._decisions.decide(decision, caller.id, caller.request_key)
        if decision.standing in BARRED and decision.user_type == "RIDER":
            await self._take_back_orders(caller, RiderId(decision.person_id))
        elif decision.standing in BARRED and decision.user_type == "VENDOR":
            await self._report_vendor_orders(decision.person_id)
        return answer

    async def _take_back_orders(self, caller: Caller, rider_id: RiderId) -> None:
        operator = Caller(audience=caller.audience, id=caller.id)
        for order_id in (await self._lookups.riders.workload(rider_id)).orders:
            try:
                await self._order_service.take_back(operator, OrderId(order_id), rider_id)
            except Refused as refused:
                if refused.code is not Refusal.WRONG_STATE:
                    raise
                await self._report_goods(OrderId(order_id), rider_id)

    async def _report_goods(self, order_id: OrderId, rider_id: RiderId) -> None:
        """Alert the operators, unless the order has ended or moved to another rider meanwhile."""
        with translate_dynamodb_errors():
            order = await self._lookups.orders.get(order_id)
        if order is None or order.rider_id != rider_id or order.status in TERMINAL_STATUSES:
            return
        message = f"suspended with the goods of {order_id}: hand them over, or put it under review"
        await self._raise("suspended_with_goods", message, order_id, rider_id)

    async def _report_vendor_orders(self, vendor_id: str) -> None:
        page = PageRequest(VENDOR_ORDERS_LOOKED_AT)
        with translate_dynamodb_errors():
            newest, _ = await self._lookups.orders.list_for("vendor", vendor_id, None, page)
        for order in newest:
            if not order.is_terminal:
                message = f"the vendor of {order.order_id} is suspended: {order.status.value}"
                await self._raise("vendor_suspended", message, order.order_id)

    async def _raise(
        self, kind: str, message: str, order_id: OrderId, rider_id: RiderId | None = None
    ) -> None:
        log.warning(kind, order_id=order_id, rider_id=rider_id)
        alert = Alert(
            kind=kind,
            message=message,
            order_id=order_id,
            rider_id=rider_id,
            ts=self._clock.now_ms(),
        )
        await self._lookups.alerts.raise_alert(alert, ALERT_EVERY_MS)
