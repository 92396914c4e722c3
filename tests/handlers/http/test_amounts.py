"""Amounts at and beyond every limit of the contract: accepted or refused, never a 5xx."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.handlers.http_api import (
    ADA,
    ADMIN,
    AWA,
    CHEZ_ADA,
    Actor,
    ApiClient,
    goods_order,
    package_order,
)

pytestmark = pytest.mark.engines

# Limits of the contract, the ledger's 10^12, DynamoDB's 38 digits, 64 bits, exact floats.
EDGES: tuple[Any, ...] = (
    -(10**12) - 1, -(10**12), -1, 0, 1, 10**6, 10**6 + 1, 10**9, 10**9 + 1, 10**12, 10**12 + 1,
    2**53 + 1, 2**63, 2**64, 10**40, 0.5, 1e300, True, None, "1", [1], {},
)  # fmt: skip
LEGS = [{"account": "USER#a", "amount": 1}, {"account": "USER#b", "amount": -1}]

# Who says it, where, and the body around the amount.
FIELDS: dict[str, tuple[Actor, str, Callable[[Any], Any]]] = {
    "topup": (ADA, "POST /wallet/topup", lambda x: {"amount": x, "provider": "sandbox"}),
    "payout": (CHEZ_ADA, "POST /wallet/payout", lambda x: {"amount": x, "destination": "1"}),
    "price": (CHEZ_ADA, "PUT /vendor/items/ndole", lambda x: {"name": "Ndole", "price": x}),
    "stock": (
        CHEZ_ADA,
        "PUT /vendor/items/ndole",
        lambda x: {"name": "Ndole", "price": 2500, "stock": x},
    ),
    "quantity": (
        ADA,
        "POST /orders/quote",
        lambda x: {**goods_order(), "items": [{"itemId": "ndole", "quantity": x}]},
    ),
    "tip": (ADA, "POST /orders/quote", lambda x: {**goods_order(), "tip": x}),
    "tip with a parcel": (ADA, "POST /orders/quote", lambda x: {**package_order(), "tip": x}),
    "tip later": (ADA, "POST /orders/ord_1/tip", lambda x: {"amount": x}),
    "refund": (ADMIN, "POST /admin/orders/ord_1/refund", lambda x: {"amount": x, "reason": "x"}),
    "cash": (ADMIN, f"POST /admin/riders/{AWA[1]}/remittances", lambda x: {"amount": x}),
    "shortage": (
        ADMIN,
        f"POST /admin/riders/{AWA[1]}/shortages",
        lambda x: {"amount": x, "charge": "PLATFORM", "reason": "x"},
    ),
    "leg": (
        ADMIN,
        "POST /admin/adjustments",
        lambda x: {"legs": [{"account": "USER#a", "amount": x}, LEGS[1]], "reason": "x"},
    ),
    "legs of one account": (
        ADMIN,
        "POST /admin/adjustments",
        lambda x: {"legs": [{"account": "USER#a", "amount": x}] * 4 + LEGS, "reason": "x"},
    ),
    "fee of a payout": (
        ADMIN,
        "POST /admin/payouts/pout_1/outcome",
        lambda x: {"status": "PAID", "fee": x},
    ),
}
RATES = ("commissionBps", "deliveryFee", "minOrderAmount", "baseFee", "feePerKm", "fragileFee")


@pytest.mark.parametrize("name", FIELDS)
async def test_an_amount_beyond_its_limit_is_refused(api: ApiClient, name: str):
    """At a limit or far beyond it an amount is accepted or refused, and never an internal error."""
    await api.open_shop()
    await api.request(ADMIN, "PUT /admin/config/services/packages", {"enabled": True})
    who, line, body = FIELDS[name]
    answers = [await api.request(who, line, body(edge)) for edge in EDGES]
    odd = [
        (edge, answer.status, answer.error["code"])
        for edge, answer in zip(EDGES, answers, strict=True)
        if answer.status >= 500 or (answer.error and answer.error["code"] == "internal")
    ]
    assert odd == []
    # What is no whole number is no amount.
    wrong = [each for each in answers[-7:] if each.error is None or each.status != 400]
    assert [each.data for each in wrong if name != "stock"] == []


@pytest.mark.parametrize("rate", RATES)
async def test_an_order_at_any_rate_is_priced_or_refused(api: ApiClient, rate: str):
    """At the highest rates that an operator may set, orders are priced, or refused as malformed."""
    await api.open_shop()
    codes = set()
    for service, body in (("food", goods_order()), ("packages", package_order())):
        path = f"PUT /admin/config/services/{service}"
        set_up = await api.request(ADMIN, path, {"enabled": True})
        assert set_up.status == 200
        for edge in (0, 1, 10_000, 10**12 - 1, 10**12, 10**12 + 1):
            changed = await api.request(ADMIN, path, {rate: edge})
            for tip in (0, 1_000_000):
                # Each order is another customer's: a customer's unpaid ones are limited.
                customer: Actor = ("USER", f"usr_{service}_{edge}_{tip}")
                quoted = await api.request(customer, "POST /orders/quote", {**body, "tip": tip})
                placed = await api.request(customer, "POST /orders", {**body, "tip": tip})
                codes |= {each.error["code"] for each in (quoted, placed, changed) if each.error}
    assert codes <= {"malformed", "below_minimum", "insufficient_funds", "unpaid_limit"}


async def test_the_tip_counts_towards_the_highest_total(api: ApiClient):
    """At the highest delivery fee a tip of one franc was once an internal error."""
    await api.open_shop()
    most = {"enabled": True, "deliveryFee": 10**12 - 5_000}
    await api.request(ADMIN, "PUT /admin/config/services/food", most)
    whole = await api.request(ADA, "POST /orders/quote", goods_order())
    above = await api.request(ADA, "POST /orders/quote", {**goods_order(), "tip": 1})
    placed = await api.request(ADA, "POST /orders", {**goods_order(method="CASH"), "tip": 1})

    assert whole.data["total"] == 10**12
    assert {above.error["code"], placed.error["code"]} == {"malformed"}
