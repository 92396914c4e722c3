"""Use cases of an order's payment by a provider: confirmed, failed."""

from dispatch.errors import Refusal, Refused
from dispatch.ids import OrderId
from dispatch.orders.ledger_facts import late_payment_top_up
from dispatch.orders.use_cases.base import OrderUseCases
from dispatch.wire.snapshots import Snapshot, order_snapshot


class PaymentUseCases(OrderUseCases):
    """Applies what a payment provider reports about an order."""

    async def payment_confirmed(self, order_id: OrderId) -> Snapshot:
        """Move the provider's money into escrow and start the order.

        Money for an order that was cancelled meanwhile goes into the customer's wallet.

        Errors: StoreUnavailable; LedgerRefused and TableUnavailable for the wallet.
        """
        try:
            committed = await self._commit_by_server(
                "payment_confirmed", order_id, None, self._extra_writes.for_capture
            )
        except Refused as refused:
            if refused.code is not Refusal.WRONG_STATE:
                raise
        else:
            return committed.answer
        order = await self._unit_of_work.load(order_id)
        await self._stores.ledger.post(late_payment_top_up(order))
        return order_snapshot(order, "user")

    async def payment_failed(self, order_id: OrderId, reason: str | None) -> None:
        """Record that nothing was paid; an order that is over, or paid, stays as it is.

        Errors: StoreUnavailable.
        """
        try:
            await self._commit_by_server("payment_failed", order_id, reason)
        except Refused as refused:
            if refused.code is not Refusal.WRONG_STATE:
                raise
