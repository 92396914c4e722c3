"""Accounts, entries and plans: the pure half of the books."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.core import accounts
from ledger.core.entries import (
    JournalEntry,
    Leg,
    UnbalancedEntry,
    balance_legs,
    business_day,
    entry_item,
    hash_fact,
)
from ledger.core.entry_planning import plan_entry
from ledger.core.facts import (
    Capture,
    Refund,
    Rejection,
    Settle,
    TopUp,
    entry_key,
)
from ledger.core.money import AMOUNT_MAX
from ledger.core.order_funds import FundsState, OrderFunds, PaymentMethod
from ledger.core.pricing import DEFAULT_RATES, Pricing, price_goods, price_package
from ledger.dynamodb.table import Key

BAD_IDS = ["", "a#b", "a.b", "a b", "é", "x" * 65, "a\n", "a/b", "a:b"]


def funds_of(order_id: str = "o1", **changes: object) -> OrderFunds:
    fin = OrderFunds(
        order_id=order_id,
        funds_state=FundsState.DELIVERED,
        method=PaymentMethod.WALLET,
        user_id="u",
        vendor_id="v",
        rider_id="r",
        pricing=price_goods(DEFAULT_RATES["FOOD"], 11_999),
        escrow=13_499,
    )
    return msgspec.structs.replace(fin, **changes)


def legs_of(entry: JournalEntry | Rejection) -> dict[str, int]:
    assert isinstance(entry, JournalEntry)
    return {leg.account: leg.amount for leg in entry.legs}


@pytest.mark.parametrize("text", BAD_IDS)
def test_an_id_that_could_forge_a_key_is_refused(text: str) -> None:
    """No separator, no newline, nothing outside the pattern gets into a key."""
    for build in (accounts.user, accounts.vendor, accounts.rider, accounts.escrow):
        with pytest.raises(ValueError, match="not an id"):
            build(text)
    with pytest.raises(ValueError, match="not an id"):
        accounts.clearing(text, 0)
    with pytest.raises(ValueError, match="not an id"):
        entry_key(TopUp("u", 1, "momo", text))


@pytest.mark.parametrize(
    ("account", "kind"),
    [
        (accounts.user("u-1"), "USER"),
        (accounts.rider_cash("r_1"), "RIDERCASH"),
        (accounts.escrow("o"), "ORDER"),
        (accounts.commission(7), "PLATFORM"),
        (accounts.clearing("mtn_momo", 3), "CLEARING"),
    ],
)
def test_the_kind_is_read_from_the_account_name(account: str, kind: str) -> None:
    """What the chart builds it also reads."""
    assert accounts.kind_of(account) == kind


@pytest.mark.parametrize(
    "account", ["USER", "user#u", "USER#a#b", "BANK#1", "PLATFORM#COMMISSION", "CLEARING#x.1"]
)
def test_an_unknown_account_name_is_refused(account: str) -> None:
    """Wrong case, a missing lane or another kind is refused."""
    with pytest.raises(ValueError, match=r"account|valid AccountKind"):
        accounts.kind_of(account)


names = st.sampled_from([accounts.user(f"u{i}") for i in range(6)])
amounts = st.integers(-(10**9), 10**9)


@given(st.lists(st.tuples(names, amounts), min_size=1, max_size=10))
def test_legs_are_merged_and_always_sum_to_zero(parts: list[tuple[str, int]]) -> None:
    """Whatever comes in, an entry has one leg an account, none of zero, and sums to zero."""
    rest = -sum(amount for _, amount in parts)
    legs = [Leg(account, amount, "X") for account, amount in parts]
    legs += [Leg(accounts.vendor("v"), rest + 7, "X"), Leg(accounts.rider("r"), -7, "X")]
    kept = balance_legs(legs)
    assert sum(leg.amount for leg in kept) == 0
    assert all(leg.amount for leg in kept)
    assert [leg.account for leg in kept] == sorted({leg.account for leg in kept})


@given(st.lists(st.tuples(names, amounts), max_size=10))
def test_legs_that_do_not_sum_to_zero_are_no_entry(parts: list[tuple[str, int]]) -> None:
    """One franc too much is refused."""
    total = sum(amount for _, amount in parts)
    legs = [Leg(account, amount, "X") for account, amount in parts]
    with pytest.raises(UnbalancedEntry):
        balance_legs([*legs, Leg(accounts.vendor("v"), 1 - total, "X")])


def test_an_entry_has_legs_within_the_amount_limit() -> None:
    """Legs that cancel each other out, and legs above the largest amount, are refused."""
    u, v = accounts.user("u"), accounts.vendor("v")
    with pytest.raises(UnbalancedEntry, match="moves nothing"):
        balance_legs([Leg(u, 5, "X"), Leg(u, -5, "X")])
    with pytest.raises(UnbalancedEntry, match="above"):
        balance_legs([Leg(u, AMOUNT_MAX + 1, "X"), Leg(v, -AMOUNT_MAX - 1, "X")])


def test_a_top_up_comes_out_of_what_the_provider_owes() -> None:
    """CLEARING -T, USER +T, under the payment's own key."""
    fact = TopUp("u", 5000, "mtn", "p1")
    assert legs_of(plan_entry(fact, None, 3)) == {"CLEARING#MTN.3": -5000, "USER#u": 5000}
    assert entry_key(fact) == Key("PAYMENT#mtn#p1", "JE#TOPUP")


def test_a_capture_goes_into_the_orders_escrow(food_pricing: Pricing) -> None:
    """From the wallet or from the provider, the whole total."""
    wallet = Capture("o1", "u", "v", "WALLET", food_pricing)
    assert legs_of(plan_entry(wallet, None, 0)) == {"USER#u": -13_499, "ORDER#o1": 13_499}
    momo = Capture("o1", "u", "v", "MOBILE_MONEY", food_pricing, "p1", "om")
    assert legs_of(plan_entry(momo, None, 1)) == {"CLEARING#OM.1": -13_499, "ORDER#o1": 13_499}
    with pytest.raises(ValueError, match="provider"):
        plan_entry(Capture("o1", "u", "v", "MOBILE_MONEY", food_pricing), None, 0)


def test_goods_are_settled_to_vendor_rider_and_platform() -> None:
    """Escrow -T, vendor its share, rider the fee, platform the commission."""
    assert legs_of(plan_entry(Settle("o1"), funds_of(), 2)) == {
        "ORDER#o1": -13_499,
        "VENDOR#v": 10_200,
        "RIDER#r": 1500,
        "PLATFORM#COMMISSION.2": 1799,
    }


def test_a_parcel_is_settled_to_rider_and_platform() -> None:
    """No vendor: four fifths to the rider."""
    price = price_package(DEFAULT_RATES["PACKAGE"], 2000, fragile=False)
    fin = funds_of(pricing=price, escrow=3000, vendor_id=None)
    assert legs_of(plan_entry(Settle("o1"), fin, 0)) == {
        "ORDER#o1": -3000,
        "RIDER#r": 2400,
        "PLATFORM#COMMISSION.0": 600,
    }


def test_cash_is_settled_out_of_the_riders_hands() -> None:
    """RIDERCASH -T and the same credits; the escrow had nothing."""
    fin = funds_of(method=PaymentMethod.CASH, escrow=0)
    assert legs_of(plan_entry(Settle("o1"), fin, 0)) == {
        "RIDERCASH#r": -13_499,
        "VENDOR#v": 10_200,
        "RIDER#r": 1500,
        "PLATFORM#COMMISSION.0": 1799,
    }


def test_a_free_delivery_has_no_leg_of_zero() -> None:
    """Who gets nothing is not in the entry."""
    rates = msgspec.structs.replace(DEFAULT_RATES["FOOD"], delivery_fee=0, commission_bps=0)
    fin = funds_of(pricing=price_goods(rates, 2000), escrow=2000)
    assert legs_of(plan_entry(Settle("o1"), fin, 0)) == {"ORDER#o1": -2000, "VENDOR#v": 2000}


@given(
    st.integers(1, 200_000),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
    st.sampled_from([PaymentMethod.WALLET, PaymentMethod.CASH]),
)
def test_every_settlement_balances(
    subtotal: int, bps: int, fee: int, method: PaymentMethod
) -> None:
    """Any basket at any rate gives parts that are never negative and sum to what was paid."""
    rates = msgspec.structs.replace(DEFAULT_RATES["MART"], commission_bps=bps, delivery_fee=fee)
    price = price_goods(rates, subtotal)
    escrow = price.total if method == PaymentMethod.WALLET else 0
    entry = plan_entry(Settle("o1"), funds_of(pricing=price, method=method, escrow=escrow), 0)
    assert isinstance(entry, JournalEntry)
    assert entry.total == price.total
    assert sum(leg.amount for leg in entry.legs) == 0
    assert sum(leg.amount < 0 for leg in entry.legs) == 1


def test_an_escrow_that_is_not_the_price_cannot_be_settled() -> None:
    """A franc more or less in escrow than the prices say stops the plan."""
    with pytest.raises(UnbalancedEntry):
        plan_entry(Settle("o1"), funds_of(escrow=13_498), 0)


def test_a_refund_gives_the_whole_escrow_back() -> None:
    """Escrow -T, customer +T."""
    fin = funds_of(funds_state=FundsState.CAPTURED)
    assert legs_of(plan_entry(Refund("o1", "closed"), fin, 0)) == {
        "ORDER#o1": -13_499,
        "USER#u": 13_499,
    }


@pytest.mark.parametrize("state", [s for s in FundsState if s != FundsState.DELIVERED])
def test_only_delivered_orders_are_settled(state: FundsState) -> None:
    """Every other state is refused by name."""
    refusal = plan_entry(Settle("o1"), funds_of(funds_state=state), 0)
    assert isinstance(refusal, Rejection)
    assert (refusal.code, state in refusal.message) == ("wrong_state", True)


@pytest.mark.parametrize("state", [s for s in FundsState if s != FundsState.CAPTURED])
def test_only_paid_orders_are_refunded(state: FundsState) -> None:
    """Nothing to give back, or too late for it."""
    refusal = plan_entry(Refund("o1", "x"), funds_of(funds_state=state), 0)
    assert isinstance(refusal, Rejection)
    assert refusal.code == "wrong_state"


def test_an_unknown_orders_money_is_not_found() -> None:
    """Without a FUNDS there is nothing to settle or give back."""
    for fact in (Settle("o1"), Refund("o1", "x")):
        refusal = plan_entry(fact, None, 0)
        assert isinstance(refusal, Rejection)
        assert refusal.code == "not_found"


def test_the_fact_hash_covers_the_fact_and_nothing_else(food_pricing: Pricing) -> None:
    """Equal facts hash alike whatever the lane; any other field makes another intent."""
    fact = Capture("o1", "u", "v", "WALLET", food_pricing)
    one, two = plan_entry(fact, None, 0), plan_entry(fact, None, 5)
    assert isinstance(one, JournalEntry)
    assert isinstance(two, JournalEntry)
    assert one.fact_hash == two.fact_hash == hash_fact(fact)
    assert hash_fact(msgspec.structs.replace(fact, user_id="w")) != one.fact_hash
    assert hash_fact(Settle("o1")) != hash_fact(Refund("o1", ""))


def test_a_business_day_is_doualas() -> None:
    """23:00 UTC is the next day there."""
    assert business_day(0) == "1970-01-01"
    assert business_day(1_763_000_000_000) == "2025-11-13"
    assert business_day(22 * 3_600_000 + 3_599_999) == "1970-01-01"
    assert business_day(23 * 3_600_000) == "1970-01-02"


def test_an_entry_is_listed_under_its_day() -> None:
    """The journal of a day is found in GSI3, each entry under a sort key of its own."""
    entry = plan_entry(TopUp("u", 5, "mtn", "p1"), None, 0)
    assert isinstance(entry, JournalEntry)
    item = entry_item(entry, 0, {})
    assert item["GSI3PK"].startswith("JE#1970-01-01#")
    assert item["GSI3SK"] == "0000000000000#PAYMENT#mtn#p1/JE#TOPUP"
