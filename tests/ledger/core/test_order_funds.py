"""Funds of an order: their item, their terms, and their conditional writes."""

import msgspec
import pytest

from ledger.core.order_funds import (
    FundsState,
    PaymentMethod,
    capture_funds,
    close_funds,
    funds_key,
    hash_terms,
    mark_delivered,
    open_funds,
    read_funds,
    refund_funds,
    void_funds,
)
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import TransactionCancelled, Update
from tests.ledger.core.entry_samples import FOOD_PRICING, funds_of

PENDING = funds_of(
    method=PaymentMethod.MOBILE_MONEY, funds_state=FundsState.NONE, escrow=0, rider_id=None
)
CAPTURED = msgspec.structs.replace(
    PENDING, funds_state=FundsState.CAPTURED, escrow=FOOD_PRICING.total
)


def test_funds_round_trip() -> None:
    """Funds are read from their item as they were written."""
    put = open_funds(CAPTURED, 5)
    assert read_funds(put.item) == CAPTURED
    assert (put.item["PK"], put.item["SK"]) == funds_key("o1")


@pytest.mark.parametrize(
    "changes",
    [
        {"user_id": "other"},
        {"vendor_id": "other"},
        {"method": PaymentMethod.CASH},
        {"pricing": msgspec.structs.replace(FOOD_PRICING, rate_version=2)},
    ],
)
def test_the_terms_are_who_pays_how_and_at_which_price(changes: dict[str, object]) -> None:
    """Another party, method or price has another hash."""
    assert hash_terms(msgspec.structs.replace(PENDING, **changes)) != hash_terms(PENDING)


def test_state_and_escrow_are_no_terms() -> None:
    """The hash does not change during the order's life."""
    assert hash_terms(CAPTURED) == hash_terms(PENDING)


@pytest.mark.engines
async def test_the_states_follow_one_another(table: DynamoTable) -> None:
    """Funds go from NONE over CAPTURED and DELIVERED to SETTLED, listed while they hold money."""
    seen: list[tuple[str, int, str | None]] = []

    async def apply(write: Update) -> None:
        await table.transact([write])
        item = await table.get(funds_key("o1"))
        assert item is not None
        listed = item.get("GSI2PK", "").rpartition("#")[0] or None
        seen.append((item["fundsState"], item["escrow"], listed))

    await table.transact([open_funds(PENDING, 1)])
    await apply(capture_funds(CAPTURED, 2))
    for write in mark_delivered("o1", "r", 3).writes:
        assert isinstance(write, Update)
        await apply(write)
    delivered = msgspec.structs.replace(CAPTURED, funds_state=FundsState.DELIVERED, rider_id="r")
    await apply(close_funds(delivered, FundsState.SETTLED, 4))
    total = FOOD_PRICING.total
    assert seen == [
        ("CAPTURED", total, "ESCROW#OPEN"),
        ("DELIVERED", total, "SETTLE#PENDING"),
        ("SETTLED", 0, None),
    ]


@pytest.mark.engines
async def test_a_refund_is_counted_once(table: DynamoTable) -> None:
    """Counted from the same funds twice, a refund is counted once."""
    settled = msgspec.structs.replace(CAPTURED, funds_state=FundsState.SETTLED, escrow=0)
    await table.transact([open_funds(settled, 1)])
    counted = refund_funds(settled, 300, is_shared=True, now_ms=2)
    await table.transact([counted])
    with pytest.raises(TransactionCancelled):
        await table.transact([counted])
    item = await table.get(funds_key("o1"))
    assert item is not None
    assert (item["refunded"], item["shared"]) == (300, 300)


@pytest.mark.engines
async def test_captured_funds_cannot_be_voided(table: DynamoTable) -> None:
    """Only an order that was not paid is closed without an entry."""
    await table.transact([open_funds(CAPTURED, 1)])
    with pytest.raises(TransactionCancelled):
        await table.transact(void_funds("o1", 2).writes)
