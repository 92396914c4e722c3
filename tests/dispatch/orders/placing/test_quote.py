"""Quotes on real stores: prices of goods and parcels, with the discount of a promotion."""

import pytest

from dispatch.catalogue.promotions import Promotions
from dispatch.errors import Refusal, Refused
from dispatch.orders.placing.quote import QuoteService
from dispatch.service_area import ServiceArea
from dispatch.wire.http.orders import BasketItem, GoodsOrder
from tests.dispatch.order_scenario import DELIVERY_ADDRESS, OrderScenario

pytestmark = pytest.mark.engines


@pytest.fixture
def quotes(order_scenario: OrderScenario) -> QuoteService:
    """Quotes from the scenario's catalogue."""
    promotions = Promotions(order_scenario.table, order_scenario.clock)
    return QuoteService(
        order_scenario.catalogue, order_scenario.service_rates, promotions, ServiceArea()
    )


def a_meal(item_id: str = "ndole", promo_code: str | None = None) -> GoodsOrder:
    """Two dishes of the scenario's vendor."""
    return GoodsOrder(
        order_type="FOOD",
        vendor_id="ven_1",
        items=[BasketItem(item_id=item_id, quantity=2)],
        delivery_address=DELIVERY_ADDRESS,
        payment_method="WALLET",
        promo_code=promo_code,
    )


async def test_a_quote_has_the_lines_and_the_vendor_it_was_computed_from(quotes: QuoteService):
    """They become the order's when it is placed."""
    quote = await quotes.quote("usr_1", a_meal())

    assert (quote.pricing.subtotal, quote.pricing.total) == (8_000, 9_500)
    assert [(line.name, line.quantity, line.unit_price) for line in quote.lines] == [
        ("Ndolé", 2, 4_000)
    ]
    assert quote.vendor is not None
    assert (quote.vendor.vendor_id, quote.promotion) == ("ven_1", None)


async def test_the_catalogue_refuses_before_the_promotion(quotes: QuoteService):
    """Of two faults the basket's is reported."""
    with pytest.raises(Refused) as unknown_item:
        await quotes.quote("usr_1", a_meal("ghost", promo_code="NONE"))
    with pytest.raises(Refused) as unknown_promotion:
        await quotes.quote("usr_1", a_meal(promo_code="NONE"))

    assert unknown_item.value.code is Refusal.UNKNOWN_ITEM
    assert unknown_promotion.value.code is Refusal.PROMO_REFUSED
