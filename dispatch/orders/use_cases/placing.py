"""Use cases of placing an order: quote its price, place it."""

import msgspec
from msgspec.structs import replace

from dispatch import ids
from dispatch.clock import Clock
from dispatch.model import Order
from dispatch.orders.placing.draft import (
    Placement,
    blank_order,
    payment_for,
    with_goods,
    with_parcel,
)
from dispatch.orders.placing.quote import Quote, QuoteService
from dispatch.orders.transitions.state_machine import decide_transition
from dispatch.orders.unit_of_work import Caller
from dispatch.orders.use_cases.base import OrderStores, OrderUseCases
from dispatch.wire.http.orders import PackageOrder
from dispatch.wire.snapshots import Snapshot, order_snapshot, pricing_view


class PlacingUseCases(OrderUseCases):
    """Prices and places orders for customers."""

    def __init__(self, stores: OrderStores, clock: Clock) -> None:
        super().__init__(stores, clock)
        self._quote_service = QuoteService(
            stores.catalogue, stores.service_rates, stores.promotions, stores.service_area
        )

    async def quote(self, caller: Caller, body: Placement) -> Snapshot:
        """What an order would cost the caller now, by the rules of `place_order`.

        Errors: Refused as by `place_order`, except INSUFFICIENT_FUNDS.
        """
        quote = await self._quote_service.quote(caller.id, body)
        return pricing_view(msgspec.to_builtins(quote.pricing), "user")

    async def place_order(self, caller: Caller, body: Placement) -> Snapshot:
        """Price the order, take the money where a wallet pays, and send it to the vendor.

        Errors: Refused SERVICE_DISABLED, VENDOR_CLOSED, OUT_OF_AREA, UNKNOWN_ITEM,
        ITEM_UNAVAILABLE, TOO_HEAVY, BELOW_MINIMUM, PROMO_REFUSED, INSUFFICIENT_FUNDS.
        """
        if (first := await self._unit_of_work.find_first_answer(caller)) is not None:
            return first
        quote = await self._quote_service.quote(caller.id, body)
        draft = self._draft_order(caller, body, quote)
        transition = decide_transition(draft, self._request("place_order", caller, None))
        answer = order_snapshot(transition.order, "user")
        extra_writes = self._extra_writes.for_placement(transition.order, quote.promotion)
        committed = await self._unit_of_work.commit_new(caller, transition, extra_writes, answer)
        return committed.answer

    def _draft_order(self, caller: Caller, body: Placement, quote: Quote) -> Order:
        provider = self._stores.payment_provider
        payment = payment_for(body.payment_method, ids.new_id("pay"), provider)
        now_ms = self._clock.now_ms()
        order = blank_order(ids.new_order_id(), caller.id, quote.pricing, payment, now_ms)
        if quote.promotion is not None:
            order = replace(order, promo_code=quote.promotion.code)
        if isinstance(body, PackageOrder):
            return with_parcel(order, body)
        assert quote.vendor is not None, "an order without a vendor is not priced"
        return with_goods(order, body, quote.vendor, quote.lines)
