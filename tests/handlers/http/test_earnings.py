"""Earnings of riders and vendors: today, this week, ever, and not yet settled."""

import pytest

from handlers.http.earnings import today_start_ms, week_start_ms
from tests.handlers.delivery_flow import accept_delivery, complete_delivery, deliver_order
from tests.handlers.http_api import ADA, AWA, CHEZ_ADA, ApiClient, goods_order

DAY_MS = 86_400_000


@pytest.mark.engines
async def test_earnings_are_counted_today_this_week_and_ever(api: ApiClient):
    """After eight days a delivery counts for the total only."""
    await deliver_order(api)
    today = (await api.request(AWA, "GET /rider/earnings")).data
    api.clock.advance(8 * DAY_MS)
    later = (await api.request(AWA, "GET /rider/earnings")).data
    vendor = (await api.request(CHEZ_ADA, "GET /vendor/earnings")).data

    assert today["today"] == today["week"] == {"amount": 1_500, "count": 1}
    assert today["pending"] == {"amount": 0, "count": 0}
    assert later["today"] == later["week"] == {"amount": 0, "count": 0}
    assert (later["settled"]["amount"], vendor["settled"]["amount"]) == (1_500, 4_250)


@pytest.mark.engines
async def test_a_delivered_order_is_pending_until_it_is_settled(api: ApiClient):
    """Vendor and rider see their shares as pending, and then as today's."""
    await api.open_shop()
    await api.fund(ADA, 10_000)
    order_id = (await api.request(ADA, "POST /orders", goods_order())).data["orderId"]
    await accept_delivery(api, order_id)
    await complete_delivery(api, order_id)
    rider = (await api.request(AWA, "GET /rider/earnings")).data
    vendor = (await api.request(CHEZ_ADA, "GET /vendor/earnings")).data
    await api.services.order_service.settle(order_id)
    settled = (await api.request(AWA, "GET /rider/earnings")).data

    assert rider["pending"] == {"amount": 1_500, "count": 1}
    assert vendor["pending"] == {"amount": 4_250, "count": 1}
    assert rider["today"] == {"amount": 0, "count": 0}
    assert (settled["pending"]["count"], settled["today"]["amount"]) == (0, 1_500)


def test_days_and_weeks_begin_in_douala():
    """A day begins at 23:00 UTC, a week on Sunday at 23:00 UTC."""
    monday = 1_763_938_800_000 - DAY_MS * 7
    assert today_start_ms(monday) == week_start_ms(monday) == monday
    assert today_start_ms(monday - 1) == monday - DAY_MS
    assert week_start_ms(monday - 1) == monday - 7 * DAY_MS
    assert week_start_ms(monday + 7 * DAY_MS - 1) == monday
