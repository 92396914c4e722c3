"""Entries of orders: settlement, cancellation, partial refund and tip."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.core.entries import JournalEntry, UnbalancedEntry
from ledger.core.entry_planning import plan_entry
from ledger.core.facts import PartialRefund, Refund, Rejection, Settle, Tip
from ledger.core.order_entries import bearer_shares
from ledger.core.order_funds import FundsState, PaymentMethod
from ledger.core.pricing import DEFAULT_RATES, price_goods, price_package
from tests.ledger.core.entry_samples import FOOD_PRICING, funds_of, legs_of


def test_goods_are_settled_to_vendor_rider_and_platform() -> None:
    """The escrow is split into vendor's share, delivery fee and commission."""
    assert legs_of(plan_entry(Settle("o1"), funds_of(), 2)) == {
        "ORDER#o1": -13_499,
        "VENDOR#v": 10_200,
        "RIDER#r": 1500,
        "PLATFORM#COMMISSION.2": 1799,
    }


def test_a_parcel_is_settled_to_rider_and_platform() -> None:
    """Without a vendor the rider gets four fifths, the platform one."""
    price = price_package(DEFAULT_RATES["PACKAGE"], 2000, fragile=False)
    funds = funds_of(price)
    assert legs_of(plan_entry(Settle("o1"), funds, 0)) == {
        "ORDER#o1": -3000,
        "RIDER#r": 2400,
        "PLATFORM#COMMISSION.0": 600,
    }


def test_cash_is_settled_out_of_the_riders_hands() -> None:
    """The rider's cash is debited with the total; the credits are the same."""
    funds = funds_of(method=PaymentMethod.CASH)
    assert legs_of(plan_entry(Settle("o1"), funds, 0)) == {
        "RIDERCASH#r": -13_499,
        "VENDOR#v": 10_200,
        "RIDER#r": 1500,
        "PLATFORM#COMMISSION.0": 1799,
    }


@pytest.mark.parametrize(
    ("collected", "owed", "others"),
    [
        (13_499, 13_499, {}),
        # The rider bears what is missing.
        (13_000, 13_499, {}),
        (0, 13_499, {}),
        # The customer bears it.
        (13_000, 13_000, {"RECEIVABLE#USER.u": -499}),
        (0, 0, {"RECEIVABLE#USER.u": -13_499}),
        # The customer is credited with what is too much.
        (14_000, 14_000, {"USER#u": 501}),
    ],
)
def test_cash_that_differs_is_booked_to_who_owes_it(
    collected: int, owed: int, others: dict[str, int]
) -> None:
    """Vendor, rider and platform get their shares; the rider owes what it is said to owe."""
    funds = funds_of(method=PaymentMethod.CASH, cash_collected=collected, cash_owed=owed)
    entry = plan_entry(Settle("o1"), funds, 0)
    rider_leg = {"RIDERCASH#r": -owed} if owed else {}
    assert legs_of(entry) == {
        **rider_leg,
        **others,
        "VENDOR#v": 10_200,
        "RIDER#r": 1500,
        "PLATFORM#COMMISSION.0": 1799,
    }
    assert isinstance(entry, JournalEntry)
    assert entry.details.get("cashCollected", 13_499) == collected


def test_a_free_delivery_has_no_leg_of_zero() -> None:
    """A party without a part has no leg."""
    rates = msgspec.structs.replace(DEFAULT_RATES["FOOD"], delivery_fee=0, commission_bps=0)
    funds = funds_of(price_goods(rates, 2000))
    assert legs_of(plan_entry(Settle("o1"), funds, 0)) == {"ORDER#o1": -2000, "VENDOR#v": 2000}


@given(
    st.integers(1, 200_000),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
    st.sampled_from([PaymentMethod.WALLET, PaymentMethod.CASH]),
)
def test_every_settlement_balances(
    subtotal: int, bps: int, fee: int, method: PaymentMethod
) -> None:
    """Any basket at any rate has credits that sum to what was paid, and one debit."""
    rates = msgspec.structs.replace(DEFAULT_RATES["MART"], commission_bps=bps, delivery_fee=fee)
    price = price_goods(rates, subtotal)
    entry = plan_entry(Settle("o1"), funds_of(price, method), 0)
    assert isinstance(entry, JournalEntry)
    assert entry.total == price.total
    assert sum(leg.amount for leg in entry.legs) == 0
    assert sum(leg.amount < 0 for leg in entry.legs) == 1


def test_an_escrow_that_is_not_the_price_cannot_be_settled() -> None:
    """An escrow that differs from the prices by a franc raises."""
    with pytest.raises(UnbalancedEntry):
        plan_entry(Settle("o1"), funds_of(escrow=13_498), 0)


def test_a_refund_gives_the_whole_escrow_back() -> None:
    """The escrow is debited and the customer credited with the whole total."""
    funds = funds_of(funds_state=FundsState.CAPTURED)
    assert legs_of(plan_entry(Refund("o1", "closed"), funds, 0)) == {
        "ORDER#o1": -13_499,
        "USER#u": 13_499,
    }


@pytest.mark.parametrize("state", [s for s in FundsState if s != FundsState.DELIVERED])
def test_only_delivered_orders_are_settled(state: FundsState) -> None:
    """Every other state is refused, and the message names it."""
    refusal = plan_entry(Settle("o1"), funds_of(funds_state=state), 0)
    assert isinstance(refusal, Rejection)
    assert (refusal.code, state in refusal.message) == ("wrong_state", True)


@pytest.mark.parametrize("state", [s for s in FundsState if s != FundsState.CAPTURED])
def test_only_paid_orders_are_refunded(state: FundsState) -> None:
    """Funds in any other state cannot be cancelled by a refund."""
    refusal = plan_entry(Refund("o1", "x"), funds_of(funds_state=state), 0)
    assert isinstance(refusal, Rejection)
    assert refusal.code == "wrong_state"


def test_an_unknown_orders_money_is_not_found() -> None:
    """An order without funds can be neither settled nor refunded."""
    for fact in (Settle("o1"), Refund("o1", "x")):
        refusal = plan_entry(fact, None, 0)
        assert isinstance(refusal, Rejection)
        assert refusal.code == "not_found"


def test_a_tip_goes_to_the_rider() -> None:
    """The customer's wallet is debited, the rider's credited."""
    assert legs_of(plan_entry(Tip("o1", "t1", "u", 500), funds_of(), 0)) == {
        "USER#u": -500,
        "RIDER#r": 500,
    }


def test_only_the_orders_customer_tips() -> None:
    """Another customer's tip is refused as if the order did not exist."""
    refused = plan_entry(Tip("o1", "t1", "other", 500), funds_of(), 0)
    assert isinstance(refused, Rejection)
    assert refused.code == "not_found"


def test_a_refund_above_what_is_left_is_refused() -> None:
    """No more than the price can be refunded in all."""
    funds = funds_of(funds_state=FundsState.SETTLED, refunded=FOOD_PRICING.total - 10)
    refused = plan_entry(PartialRefund("o1", "r1", 11, "cold"), funds, 0)
    assert isinstance(refused, Rejection)
    assert refused.code == "insufficient_funds"


def test_what_a_wallet_cannot_bear_becomes_a_debt() -> None:
    """A vendor with 100 of its share of a refund owes the rest."""
    funds = funds_of(funds_state=FundsState.SETTLED)
    available = {"VENDOR#v": 100, "RIDER#r": 10_000}
    entry = plan_entry(PartialRefund("o1", "r1", 1_000, "cold"), funds, 0, available)
    legs = legs_of(entry)
    share = bearer_shares(funds, 1_000)["VENDOR#v"]
    assert (legs["VENDOR#v"], legs["RECEIVABLE#VENDOR.v"]) == (-100, 100 - share)
