"""Quotes: the price of an order now, from catalogue, service rates and promotion."""

from typing import NamedTuple

from dispatch.catalogue.promotions import Promotions
from dispatch.catalogue.service_rates import ServiceRates
from dispatch.catalogue.store import Catalogue, Vendor
from dispatch.model import OrderLine
from dispatch.orders.placing.basket import price_goods_order, price_package_order
from dispatch.orders.placing.draft import Placement
from dispatch.service_area import ServiceArea
from dispatch.wire.http.orders import PackageOrder
from ledger.core.pricing import Pricing
from ledger.records.promotions import Promotion


class Quote(NamedTuple):
    """A price, and the lines, vendor and promotion that it was computed from."""

    pricing: Pricing
    lines: tuple[OrderLine, ...] = ()
    vendor: Vendor | None = None
    promotion: Promotion | None = None


class QuoteService:
    """Prices orders, before and at their placement."""

    def __init__(
        self,
        catalogue: Catalogue,
        service_rates: ServiceRates,
        promotions: Promotions,
        area: ServiceArea,
    ) -> None:
        self._catalogue = catalogue
        self._service_rates = service_rates
        self._promotions = promotions
        self._area = area

    async def quote(self, user_id: str, body: Placement) -> Quote:
        """Price an order, with the discount of its promotion code.

        Errors: Refused by the basket rules, then PROMO_REFUSED; StoreUnavailable.
        Units: whole XAF.
        """
        quote = await self._quote_without_discount(body)
        if body.promo_code is None:
            return quote
        code = body.promo_code
        promotion, pricing = await self._promotions.apply(code, user_id, quote.pricing)
        return quote._replace(pricing=pricing, promotion=promotion)

    async def _quote_without_discount(self, body: Placement) -> Quote:
        rates = (await self._service_rates.rates())[body.order_type]
        if isinstance(body, PackageOrder):
            return Quote(price_package_order(body, rates, self._area))
        wanted = [item.item_id for item in body.items]
        vendor, items = await self._catalogue.vendor_and_items(body.vendor_id, wanted)
        lines, pricing = price_goods_order(body, vendor, items, rates, self._area)
        return Quote(pricing, lines, vendor)
