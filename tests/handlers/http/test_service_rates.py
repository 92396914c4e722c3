"""Service rates over HTTP: what customers see of them, and how operators change them."""

import pytest

from tests.handlers.http_api import (
    ADA,
    ADMIN,
    AWA,
    ApiClient,
    goods_order,
)

pytestmark = pytest.mark.engines


async def test_customers_see_prices_and_no_commission(api: ApiClient):
    """All services are listed, disabled ones without prices, none with the platform's share."""
    answer = await api.request(ADA, "GET /config")
    one = await api.request(AWA, "GET /config/service/food")

    assert answer.data == {
        "currency": "XAF",
        "paymentMethods": ["WALLET", "MOBILE_MONEY", "CASH"],
        "services": {
            "food": one.data,
            "mart": {
                "service": "mart",
                "orderType": "MART",
                "enabled": False,
                "currency": "XAF",
                "comingSoon": True,
            },
            "packages": {
                "service": "packages",
                "orderType": "PACKAGE",
                "enabled": False,
                "currency": "XAF",
                "comingSoon": True,
            },
        },
    }
    assert one.data == {
        "service": "food",
        "orderType": "FOOD",
        "enabled": True,
        "currency": "XAF",
        "deliveryFee": 1500,
        "minOrderAmount": 2000,
    }


async def test_a_disabled_service_is_coming_soon(api: ApiClient):
    """It is 503 with `comingSoon`, and an unknown service is 404."""
    off = await api.request(ADA, "GET /config/service/packages")
    unknown = await api.request(ADA, "GET /config/service/taxi")

    assert (off.status, off.error["code"]) == (503, "service_disabled")
    assert off.error["details"] == {"comingSoon": True}
    assert (unknown.status, unknown.error["code"]) == (404, "not_found")


async def test_new_rates_apply_to_the_next_order(api: ApiClient):
    """Orders that were placed before keep their prices and shares."""
    await api.open_shop()
    before = await api.request(ADA, "POST /orders", goods_order(method="CASH"))
    changed = await api.request(
        ADMIN, "PUT /admin/config/services/food", {"commissionBps": 2000, "deliveryFee": 1000}
    )
    after = await api.request(ADA, "POST /orders", goods_order(method="CASH"))
    shares = [
        (await api.request(ADMIN, f"GET /orders/{placed.data['orderId']}")).data["pricing"]
        for placed in (before, after)
    ]

    assert changed.data["commissionBps"] == 2000
    assert changed.data["version"] == 2
    assert [(each["commission"], each["deliveryFee"]) for each in shares] == [
        (750, 1500),
        (1000, 1000),
    ]
    assert [each["rateVersion"] for each in shares] == [1, 2]


@pytest.mark.parametrize(
    "body",
    [
        {"commissionBps": 10_001},
        {"commissionBps": -1},
        {"commissionBps": 15.5},
        {"deliveryFee": -1},
        {"enabled": "yes"},
        {"maxWeightKg": 0},
        {"surge": 2},
    ],
)
async def test_malformed_rates_change_nothing(api: ApiClient, body: dict[str, object]):
    """A rate out of bounds, or an unknown one, is malformed."""
    refused = await api.request(ADMIN, "PUT /admin/config/services/food", body)

    assert (refused.status, refused.error["code"]) == (400, "malformed")
    assert (await api.services.service_rates.rates())["FOOD"].version == 1


async def test_mobile_money_is_offered_where_a_provider_can_confirm_it(
    api: ApiClient, production_api: ApiClient
):
    """Under --dev the sandbox does; elsewhere it is not offered, quoted or accepted by default."""
    dev = (await api.request(None, "GET /config")).data
    production = (await production_api.request(None, "GET /config")).data
    await production_api.open_shop()
    body = goods_order(method="MOBILE_MONEY")
    refused = [
        await production_api.request(ADA, line, body)
        for line in ("POST /orders", "POST /orders/quote")
    ]

    assert dev["paymentMethods"] == ["WALLET", "MOBILE_MONEY", "CASH"]
    assert production["paymentMethods"] == ["WALLET", "CASH"]
    assert [(each.status, each.error["code"]) for each in refused] == [
        (503, "service_disabled")
    ] * 2
    assert (await production_api.request(ADA, "GET /orders")).data["items"] == []
