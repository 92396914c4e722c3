"""Every price is split without a remainder: all baskets, tips, discounts, refunds and fees."""

from collections.abc import Iterator
from itertools import islice

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.core.cancellation_matrix import Fault, Stage, split_cancellation
from ledger.core.entries import JournalEntry
from ledger.core.entry_planning import plan_entry
from ledger.core.facts import (
    BorneBy,
    Capture,
    Fact,
    PartialRefund,
    Refund,
    Rejection,
    Settle,
)
from ledger.core.order_funds import FundsState, OrderFunds, PaymentMethod
from ledger.core.pricing import (
    DEFAULT_RATES,
    Pricing,
    price_goods,
    price_package,
    with_discount,
    with_tip,
)
from tests.ledger.core.entry_samples import funds_of

ALL_SUBTOTALS = range(200_001)
# A PACKAGE fee is 2,000 and half a franc per metre; these metres give all fees up to 202,000.
ALL_METRES = range(0, 400_001, 2)

subtotals = st.integers(1, 200_000)
small = st.integers(0, 20_000)
# Food with a tip and a discount of any size.
prices = st.builds(
    lambda subtotal, tip, discount: with_discount(
        with_tip(price_goods(DEFAULT_RATES["FOOD"], subtotal), tip), discount
    ),
    subtotals,
    small,
    small,
)


def every_price(service: str) -> Iterator[Pricing]:
    if service == "PACKAGE":
        rates = DEFAULT_RATES["PACKAGE"]
        return (price_package(rates, metres, fragile=False) for metres in ALL_METRES)
    rates = DEFAULT_RATES[service]  # pyright: ignore[reportArgumentType]
    return (price_goods(rates, subtotal) for subtotal in ALL_SUBTOTALS)


def settled_funds(
    pricing: Pricing, method: PaymentMethod = PaymentMethod.WALLET, **changes: object
) -> OrderFunds:
    return funds_of(pricing, method, **{"funds_state": FundsState.SETTLED, **changes})


def legs_of(fact: Fact, funds: OrderFunds | None) -> dict[str, int]:
    entry = plan_entry(fact, funds, 0)
    assert isinstance(entry, JournalEntry)
    assert sum(leg.amount for leg in entry.legs) == 0
    return {leg.account: leg.amount for leg in entry.legs}


@pytest.mark.parametrize("service", ["FOOD", "MART", "PACKAGE"])
def test_every_price_is_split_completely(service: str):
    """For all subtotals to 200,000 the commission is rounded down and no share is negative."""
    bps = DEFAULT_RATES[service].commission_bps  # pyright: ignore[reportArgumentType]
    seen = 0
    for price in every_price(service):
        base = price.subtotal or (price.total if service == "PACKAGE" else 0)
        assert price.commission == base * bps // 10_000
        assert price.vendor_share >= 0 <= price.rider_share
        assert price.commission + price.vendor_share + price.rider_share == price.total
        seen += 1
    assert seen == 200_001


@pytest.mark.slow
@pytest.mark.parametrize("service", ["FOOD", "MART", "PACKAGE"])
def test_every_price_is_settled_as_it_was_quoted(service: str):
    """Planned settlements give each party what was quoted, at every remainder of the division."""
    settle = Settle("o1")
    # Eleven has no factor in common with 10,000, so that every remainder occurs.
    for price in islice(every_price(service), 0, None, 11):
        legs = legs_of(settle, settled_funds(price, funds_state=FundsState.DELIVERED))
        assert legs["ORDER#o1"] == -price.total
        assert legs.get("PLATFORM#COMMISSION.0", 0) == price.commission
        assert legs.get("VENDOR#v", 0) == price.vendor_share
        assert legs["RIDER#r"] == price.rider_share


@given(subtotals, small, st.integers(0, 300_000))
def test_a_tip_and_a_discount_leave_other_shares_unchanged(subtotal: int, tip: int, discount: int):
    """The rider gets the tip, the platform pays the discount, the other shares do not change."""
    plain = price_goods(DEFAULT_RATES["FOOD"], subtotal)
    price = with_discount(with_tip(plain, tip), discount)
    assert price.total >= 1 + tip
    assert price.discount == min(discount, plain.total - 1)
    captured = legs_of(Capture("o1", "u", "v", "WALLET", price), None)
    assert captured["USER#u"] == -price.total
    assert captured.get("PLATFORM#PROMO.0", 0) == -price.discount
    assert captured["ORDER#o1"] == price.gross
    settled = legs_of(Settle("o1"), settled_funds(price, funds_state=FundsState.DELIVERED))
    assert settled["RIDER#r"] == plain.rider_share + tip
    assert settled["VENDOR#v"] == plain.vendor_share
    cash = settled_funds(price, PaymentMethod.CASH, funds_state=FundsState.DELIVERED)
    assert legs_of(Settle("o1"), cash)["RIDERCASH#r"] == -price.total


@given(
    prices,
    st.sampled_from(Stage),
    st.sampled_from(Fault),
    st.sampled_from([PaymentMethod.WALLET, PaymentMethod.CASH]),
    st.sampled_from(["r", None]),
)
def test_a_cancelled_order_is_split_completely(
    price: Pricing, stage: Stage, fault: Fault, method: PaymentMethod, rider_id: str | None
):
    """In every cell no part is negative, and the customer pays only at the customer's fault."""
    split = split_cancellation(price, stage, fault, has_rider=rider_id is not None)
    assert min(split[:4]) >= 0
    assert split.is_customer_fault or split.customer == price.total
    paid_before = FundsState.DUE if method is PaymentMethod.CASH else FundsState.CAPTURED
    funds = settled_funds(price, method, funds_state=paid_before, rider_id=None)
    entry = plan_entry(Refund("o1", "x", stage, fault, rider_id), funds, 0)
    legs = {leg.account: leg.amount for leg in getattr(entry, "legs", ())}
    assert isinstance(entry, Rejection) == (method is PaymentMethod.CASH and not split.compensation)
    assert sum(legs.values()) == 0
    assert legs.get("VENDOR#v", 0) == split.vendor * bool(legs)
    assert legs.get("RIDER#r", 0) == split.rider * bool(legs)
    assert legs.get("ORDER#o1", 0) == -funds.escrow * bool(legs)
    expected = 0 if method is PaymentMethod.CASH else split.customer
    assert legs.get("USER#u", 0) == expected


@given(
    prices,
    st.lists(st.tuples(st.integers(1, 60_000), st.sampled_from(BorneBy)), max_size=12),
    st.integers(0, 30_000),
)
def test_refunds_never_exceed_what_was_paid(
    price: Pricing, asked: list[tuple[int, BorneBy]], available: int
):
    """However many refunds are requested, they never exceed what was paid."""
    funds, matches = settled_funds(price), list[bool]()
    for number, (amount, borne_by) in enumerate(asked):
        fact = PartialRefund("o1", f"r{number}", amount, "cold", borne_by)
        entry = plan_entry(fact, funds, 0, {"VENDOR#v": available})
        legs = {leg.account: leg.amount for leg in getattr(entry, "legs", ())}
        matches.append(bool(legs) == (amount <= price.total - funds.refunded))
        refunded = legs.get("USER#u", 0)
        shares = refunded * (borne_by is BorneBy.PARTIES)
        assert refunded in (0, amount)
        assert legs.get("VENDOR#v", 0) >= -available
        funds = msgspec.structs.replace(
            funds, refunded=funds.refunded + refunded, shared=funds.shared + shares
        )
    assert all(matches)
    assert funds.refunded <= price.total


@given(prices, st.lists(st.integers(1, 100), max_size=4))
def test_partial_refunds_add_up_to_a_full_refund(price: Pricing, percents: list[int]):
    """Partial refunds of everything take refunded exactly what each party received."""
    funds, taken = settled_funds(price), dict[str, int]()
    for number, percent in enumerate([*percents, 100]):
        left = price.total - funds.refunded
        amount = -(-left * percent // 100)
        fact = PartialRefund("o1", f"r{number}", max(1, amount), "x", BorneBy.PARTIES)
        entry = plan_entry(fact, funds, 0, {"VENDOR#v": 10**9, "RIDER#r": 10**9})
        legs = {leg.account: leg.amount for leg in getattr(entry, "legs", ())}
        amount = legs.get("USER#u", 0)
        for account, moved in legs.items():
            taken[account] = taken.get(account, 0) + moved
        funds = msgspec.structs.replace(
            funds, refunded=funds.refunded + amount, shared=funds.shared + amount
        )
    assert taken["USER#u"] == price.total
    assert taken.get("VENDOR#v", 0) == -price.vendor_share
    assert taken.get("RIDER#r", 0) == -price.rider_total
    assert taken.get("PLATFORM#COMMISSION.0", 0) == -price.commission
    assert taken.get("PLATFORM#PROMO.0", 0) == price.discount
