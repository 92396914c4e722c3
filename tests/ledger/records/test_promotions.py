"""Promotions: which orders they apply to, and their budget on a real engine."""

import asyncio

import msgspec
import pytest

from ledger.core.order_funds import GuardedWrites
from ledger.core.pricing import DEFAULT_RATES, price_goods
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import TransactionCancelled
from ledger.records.promotions import (
    DiscountedPricing,
    Promotion,
    PromotionRefusal,
    PromotionState,
    apply_promotion,
    create_promotion,
    promotion_key,
    promotion_use_key,
    read_promotion,
    return_promotion,
    stop_promotion,
    use_promotion,
)

PROMOTION = Promotion(
    code="MEAL1000",
    services=("FOOD",),
    starts_at=100,
    ends_at=200,
    per_user=1,
    budget=3_000,
    amount=1_000,
    created_by="adm_1",
    created_at=1,
    updated_at=1,
)
PRICING = price_goods(DEFAULT_RATES["FOOD"], 10_000)


def changed(**changes: object) -> Promotion:
    return msgspec.structs.replace(PROMOTION, **changes)


async def refusal_of(table: DynamoTable, guarded: GuardedWrites) -> str | None:
    try:
        await table.transact(guarded.writes)
    except TransactionCancelled as cancelled:
        return guarded.codes[cancelled.failed_positions()[0]]
    return None


def test_a_fixed_amount_is_taken_off() -> None:
    """The discount is the promotion's amount, paid by the platform."""
    found = apply_promotion(PROMOTION, PRICING, used=0, now_ms=150)
    assert isinstance(found, DiscountedPricing)
    assert found.pricing.discount == 1_000


@pytest.mark.parametrize(("cap", "discount"), [(None, 2_500), (2_000, 2_000)])
def test_a_percentage_is_capped(cap: int | None, discount: int) -> None:
    """A quarter of the goods' price is taken off, at most the cap."""
    promotion = changed(amount=None, percent_bps=2_500, cap=cap)
    found = apply_promotion(promotion, PRICING, used=0, now_ms=150)
    assert isinstance(found, DiscountedPricing)
    assert found.pricing.discount == discount


@pytest.mark.parametrize(
    ("changes", "used", "now_ms", "reason"),
    [
        ({"promo_state": PromotionState.STOPPED}, 0, 150, "stopped"),
        ({}, 0, 99, "not_yet"),
        ({}, 0, 200, "over"),
        ({"services": ("MART",)}, 0, 150, "service"),
        ({"min_order_amount": 10_001}, 0, 150, "minimum"),
        ({}, 1, 150, "used"),
        ({"amount": 0}, 0, 150, "nothing"),
        ({"spent": 2_001}, 0, 150, "spent"),
    ],
)
def test_a_promotion_says_why_it_does_not_apply(
    changes: dict[str, object], used: int, now_ms: int, reason: str
) -> None:
    """Each limit of a promotion has a reason of its own."""
    found = apply_promotion(changed(**changes), PRICING, used=used, now_ms=now_ms)
    assert isinstance(found, PromotionRefusal)
    assert found.reason == reason


@pytest.mark.engines
async def test_the_budget_holds_against_ten_customers_at_once(table: DynamoTable) -> None:
    """Of ten customers three fit into the budget, and the others are told that it is spent."""
    await table.transact([create_promotion(PROMOTION)])
    uses = (use_promotion(PROMOTION, f"u{n}", 1_000, 150) for n in range(10))
    answers = await asyncio.gather(*(refusal_of(table, use) for use in uses))
    assert sorted(answers, key=str) == [None] * 3 + ["promo_over"] * 7
    item = await table.get(promotion_key(PROMOTION.code))
    assert item is not None
    assert (read_promotion(item).spent, read_promotion(item).uses) == (3_000, 3)


@pytest.mark.engines
async def test_a_customer_uses_a_promotion_once(table: DynamoTable) -> None:
    """A second use is refused until the first order is cancelled."""
    await table.transact([create_promotion(PROMOTION)])
    use = use_promotion(PROMOTION, "u", 1_000, 150)
    assert await refusal_of(table, use) is None
    assert await refusal_of(table, use) == "promo_used"
    returned = return_promotion(PROMOTION.code, "u", 1_000, 160)
    assert await refusal_of(table, returned) is None
    assert await refusal_of(table, returned) == "wrong_state"
    assert await refusal_of(table, use) is None
    counted = await table.get(promotion_use_key(PROMOTION.code, "u"))
    assert counted is not None
    assert counted["used"] == 1


@pytest.mark.engines
async def test_a_stopped_or_ended_promotion_is_not_used(table: DynamoTable) -> None:
    """After its end, and after it was stopped, a use is refused."""
    await table.transact([create_promotion(PROMOTION)])
    assert await refusal_of(table, use_promotion(PROMOTION, "u", 1_000, 200)) == "promo_over"
    await table.transact([stop_promotion(PROMOTION.code, 150)])
    assert await refusal_of(table, use_promotion(PROMOTION, "u", 1_000, 150)) == "promo_over"
