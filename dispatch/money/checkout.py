"""Checkout: places an order, and pays it at once if its provider is the sandbox."""

from dispatch.model import PaymentMethod
from dispatch.money.payments import PaymentService
from dispatch.orders.placing.draft import Placement
from dispatch.orders.service import OrderService
from dispatch.orders.unit_of_work import Caller
from dispatch.wire.snapshots import Snapshot


class Checkout:
    """Places orders; `payment_provider` is the provider of MOBILE_MONEY orders."""

    def __init__(
        self, order_service: OrderService, payment_service: PaymentService, payment_provider: str
    ) -> None:
        self._order_service = order_service
        self._payment_service = payment_service
        self._payment_provider = payment_provider

    async def place_order(self, caller: Caller, body: Placement) -> Snapshot:
        """Place an order; the answer is the order as it was before any payment by the sandbox.

        Errors: Refused SERVICE_DISABLED for a MOBILE_MONEY order that no provider could confirm,
        before anything is written; otherwise as `OrderService.place_order`.
        """
        if body.payment_method == PaymentMethod.MOBILE_MONEY:
            self._payment_service.check_provider(self._payment_provider)
        placed = await self._order_service.place_order(caller, body)
        await self._payment_service.pay_by_sandbox(placed)
        return placed
