"""Use cases that end an order or follow its end: cancel, time out, settle, rate."""

from dispatch import metrics
from dispatch.ids import OrderId
from dispatch.model import Order
from dispatch.orders.extra_writes import rating_writes
from dispatch.orders.transitions.context import Transition
from dispatch.orders.transitions.lifecycle import fault_of
from dispatch.orders.unit_of_work import Caller, ExtraWrites
from dispatch.orders.use_cases.base import OrderUseCases, committed_order
from dispatch.wire import commands
from dispatch.wire.snapshots import Snapshot
from ledger.core.cancellation_matrix import Fault


class ClosingUseCases(OrderUseCases):
    """Cancels, settles and rates orders.

    Errors: every method raises Refused NOT_FOUND or WRONG_STATE; StoreUnavailable.
    """

    async def cancel_order(self, caller: Caller, command: commands.CancelOrder) -> Snapshot:
        """Cancel the order: notify everyone in it, and give back what was paid."""
        fault = fault_of(caller.audience, command)

        async def extra_writes_for(order: Order, transition: Transition) -> ExtraWrites:
            return await self._extra_writes.for_cancellation(order, transition, fault)

        return await self._commit_command("cancel_order", caller, command, extra_writes_for)

    async def time_out_order(self, order_id: OrderId) -> None:
        """Cancel an order that has waited too long for its payment or its vendor.

        Errors: Refused WRONG_STATE where it moved on.
        """

        async def extra_writes_for(order: Order, transition: Transition) -> ExtraWrites:
            fault = Fault.PLATFORM if order.payment.is_awaited else Fault.VENDOR
            return await self._extra_writes.for_cancellation(order, transition, fault)

        await self._commit_by_server("time_out_order", order_id, None, extra_writes_for)

    async def settle(self, order_id: OrderId) -> None:
        """Split the money of a delivered order; repeating it changes nothing.

        Errors: Refused WRONG_STATE where the order is not delivered.
        """
        committed = await self._commit_by_server(
            "settle", order_id, None, self._extra_writes.for_settlement
        )
        order = committed_order(committed)
        if committed.transition is not None and committed.transition.events:
            metrics.SETTLEMENTS.labels(order.order_type).inc()
            metrics.SETTLED_XAF.labels(order.order_type).inc(order.pricing.total)

    async def rate_order(self, caller: Caller, command: commands.RateOrder) -> Snapshot:
        """Rate the delivered order, once; the rating counts for its rider."""
        return await self._commit_command("rate_order", caller, command, rating_writes)
