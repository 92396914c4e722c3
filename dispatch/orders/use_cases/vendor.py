"""Use cases of vendors: accept or reject an order, prepare it, report it ready."""

from dispatch.ids import OrderId
from dispatch.orders.extra_writes import no_extra_writes
from dispatch.orders.unit_of_work import Caller
from dispatch.orders.use_cases.base import OrderUseCases
from dispatch.wire import commands
from dispatch.wire.snapshots import Snapshot


class VendorUseCases(OrderUseCases):
    """Carries out vendors' commands.

    Errors: every method raises Refused NOT_FOUND or WRONG_STATE; StoreUnavailable.
    """

    async def accept_order(self, caller: Caller, command: commands.AcceptOrder) -> Snapshot:
        """Accept the order; the search for a rider begins."""
        return await self._commit_command("accept_order", caller, command)

    async def reject_order(self, caller: Caller, command: commands.RejectOrder) -> Snapshot:
        """Reject the order; the customer gets back what was paid."""
        return await self._commit_command(
            "reject_order", caller, command, self._extra_writes.for_rejection
        )

    async def order_preparing(self, caller: Caller, command: commands.OrderPreparing) -> Snapshot:
        """Record that the preparation has begun."""
        return await self._commit_command("order_preparing", caller, command)

    async def order_ready(self, caller: Caller, command: commands.OrderReady) -> Snapshot:
        """Record that the goods are ready, and learn how long they took."""
        request = self._request("order_ready", caller, command)
        committed = await self._unit_of_work.commit(
            caller, OrderId(command.order_id), request, no_extra_writes
        )
        if committed.order is not None:
            self._stores.learned_stats.record_prep_time(committed.order)
        return committed.answer
