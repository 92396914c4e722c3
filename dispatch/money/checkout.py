"""Checkout: quotes and places orders by the methods offered; the sandbox pays at once."""

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

    @property
    def payment_methods(self) -> list[str]:
        """The methods that an order can be paid by here."""
        is_mobile = self._payment_service.accepts_provider(self._payment_provider)
        return [
            method.value
            for method in PaymentMethod
            if method is not PaymentMethod.MOBILE_MONEY or is_mobile
        ]

    async def quote(self, caller: Caller, body: Placement) -> Snapshot:
        """What an order would cost the caller now, by the rules of `place_order`.

        Errors: Refused as by `place_order`, except INSUFFICIENT_FUNDS.
        """
        self._check_method(body)
        return await self._order_service.quote(caller, body)

    def _check_method(self, body: Placement) -> None:
        if body.payment_method == PaymentMethod.MOBILE_MONEY:
            self._payment_service.check_provider(self._payment_provider)

    async def place_order(self, caller: Caller, body: Placement) -> Snapshot:
        """Place an order; the answer is the order as it was before any payment by the sandbox.

        Errors: Refused SERVICE_DISABLED for a MOBILE_MONEY order that no provider could confirm,
        before anything is written; otherwise as `OrderService.place_order`.
        """
        self._check_method(body)
        placed = await self._order_service.place_order(caller, body)
        await self._payment_service.pay_by_sandbox(placed)
        return placed
