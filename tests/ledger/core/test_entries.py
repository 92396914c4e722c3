"""Accounts, entries and plans: the pure half of the books."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.core import accounts
from ledger.core.entries import (
    JournalEntry,
    Leg,
    Unbalanced,
    balanced,
    day_of,
    entry_item,
    intent_of,
)
from ledger.core.facts import (
    Capture,
    Refund,
    Rejection,
    Settle,
    TopUp,
    entry_key,
)
from ledger.core.money import AMOUNT_MAX
from ledger.core.order_funds import Fin, FinState, Method
from ledger.core.plan import plan
from ledger.core.pricing import DEFAULT_RATES, Pricing, price_goods, price_package
from ledger.dynamodb.table import Key

BAD_IDS = ["", "a#b", "a.b", "a b", "é", "x" * 65, "a\n", "a/b", "a:b"]


def money_of(order_id: str = "o1", **changes: object) -> Fin:
    fin = Fin(
        order_id=order_id,
        fin_state=FinState.DELIVERED,
        method=Method.WALLET,
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
def test_an_accounts_name_tells_its_kind(account: str, kind: str) -> None:
    """What the chart builds it also reads."""
    assert accounts.kind_of(account) == kind


@pytest.mark.parametrize(
    "account", ["USER", "user#u", "USER#a#b", "BANK#1", "PLATFORM#COMMISSION", "CLEARING#x.1"]
)
def test_a_name_outside_the_chart_is_no_account(account: str) -> None:
    """Wrong case, a missing lane or another kind is refused."""
    with pytest.raises(ValueError, match=r"account|valid Kind"):
        accounts.kind_of(account)


names = st.sampled_from([accounts.user(f"u{i}") for i in range(6)])
amounts = st.integers(-(10**9), 10**9)


@given(st.lists(st.tuples(names, amounts), min_size=1, max_size=10))
def test_legs_are_merged_and_always_sum_to_zero(parts: list[tuple[str, int]]) -> None:
    """Whatever comes in, an entry has one leg an account, none of zero, and sums to zero."""
    rest = -sum(amount for _, amount in parts)
    legs = [Leg(account, amount, "X") for account, amount in parts]
    legs += [Leg(accounts.vendor("v"), rest + 7, "X"), Leg(accounts.rider("r"), -7, "X")]
    kept = balanced(legs)
    assert sum(leg.amount for leg in kept) == 0
    assert all(leg.amount for leg in kept)
    assert [leg.account for leg in kept] == sorted({leg.account for leg in kept})


@given(st.lists(st.tuples(names, amounts), max_size=10))
def test_legs_that_do_not_sum_to_zero_are_no_entry(parts: list[tuple[str, int]]) -> None:
    """One franc too much is refused."""
    total = sum(amount for _, amount in parts)
    legs = [Leg(account, amount, "X") for account, amount in parts]
    with pytest.raises(Unbalanced):
        balanced([*legs, Leg(accounts.vendor("v"), 1 - total, "X")])


def test_an_entry_moves_something_but_not_everything() -> None:
    """Legs that cancel each other out, and legs above the largest amount, are refused."""
    u, v = accounts.user("u"), accounts.vendor("v")
    with pytest.raises(Unbalanced, match="moves something"):
        balanced([Leg(u, 5, "X"), Leg(u, -5, "X")])
    with pytest.raises(Unbalanced, match="above"):
        balanced([Leg(u, AMOUNT_MAX + 1, "X"), Leg(v, -AMOUNT_MAX - 1, "X")])


def test_a_top_up_comes_out_of_what_the_provider_owes() -> None:
    """CLEARING -T, USER +T, under the payment's own key."""
    fact = TopUp("u", 5000, "mtn", "p1")
    assert legs_of(plan(fact, None, 3)) == {"CLEARING#MTN.3": -5000, "USER#u": 5000}
    assert entry_key(fact) == Key("PAYMENT#mtn#p1", "JE#TOPUP")


def test_a_capture_goes_into_the_orders_escrow(food: Pricing) -> None:
    """From the wallet or from the provider, the whole total."""
    wallet = Capture("o1", "u", "v", "WALLET", food)
    assert legs_of(plan(wallet, None, 0)) == {"USER#u": -13_499, "ORDER#o1": 13_499}
    momo = Capture("o1", "u", "v", "MOBILE_MONEY", food, "p1", "om")
    assert legs_of(plan(momo, None, 1)) == {"CLEARING#OM.1": -13_499, "ORDER#o1": 13_499}
    with pytest.raises(ValueError, match="provider"):
        plan(Capture("o1", "u", "v", "MOBILE_MONEY", food), None, 0)


def test_goods_are_settled_to_vendor_rider_and_platform() -> None:
    """Escrow -T, vendor its share, rider the fee, platform the commission."""
    assert legs_of(plan(Settle("o1"), money_of(), 2)) == {
        "ORDER#o1": -13_499,
        "VENDOR#v": 10_200,
        "RIDER#r": 1500,
        "PLATFORM#COMMISSION.2": 1799,
    }


def test_a_parcel_is_settled_to_rider_and_platform() -> None:
    """No vendor: four fifths to the rider."""
    price = price_package(DEFAULT_RATES["PACKAGE"], 2000, fragile=False)
    fin = money_of(pricing=price, escrow=3000, vendor_id=None)
    assert legs_of(plan(Settle("o1"), fin, 0)) == {
        "ORDER#o1": -3000,
        "RIDER#r": 2400,
        "PLATFORM#COMMISSION.0": 600,
    }


def test_cash_is_settled_out_of_the_riders_hands() -> None:
    """RIDERCASH -T and the same credits; the escrow had nothing."""
    fin = money_of(method=Method.CASH, escrow=0)
    assert legs_of(plan(Settle("o1"), fin, 0)) == {
        "RIDERCASH#r": -13_499,
        "VENDOR#v": 10_200,
        "RIDER#r": 1500,
        "PLATFORM#COMMISSION.0": 1799,
    }


def test_a_free_delivery_has_no_leg_of_zero() -> None:
    """Who gets nothing is not in the entry."""
    rates = msgspec.structs.replace(DEFAULT_RATES["FOOD"], delivery_fee=0, commission_bps=0)
    fin = money_of(pricing=price_goods(rates, 2000), escrow=2000)
    assert legs_of(plan(Settle("o1"), fin, 0)) == {"ORDER#o1": -2000, "VENDOR#v": 2000}


@given(
    st.integers(1, 200_000),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
    st.sampled_from([Method.WALLET, Method.CASH]),
)
def test_every_settlement_balances(subtotal: int, bps: int, fee: int, method: Method) -> None:
    """Any basket at any rate gives parts that are never negative and sum to what was paid."""
    rates = msgspec.structs.replace(DEFAULT_RATES["MART"], commission_bps=bps, delivery_fee=fee)
    price = price_goods(rates, subtotal)
    escrow = price.total if method == Method.WALLET else 0
    entry = plan(Settle("o1"), money_of(pricing=price, method=method, escrow=escrow), 0)
    assert isinstance(entry, JournalEntry)
    assert entry.total == price.total
    assert sum(leg.amount for leg in entry.legs) == 0
    assert sum(leg.amount < 0 for leg in entry.legs) == 1


def test_an_escrow_that_is_not_the_price_cannot_be_settled() -> None:
    """A franc more or less in escrow than the prices say stops the plan."""
    with pytest.raises(Unbalanced):
        plan(Settle("o1"), money_of(escrow=13_498), 0)


def test_a_refund_gives_the_whole_escrow_back() -> None:
    """Escrow -T, customer +T."""
    fin = money_of(fin_state=FinState.CAPTURED)
    assert legs_of(plan(Refund("o1", "closed"), fin, 0)) == {
        "ORDER#o1": -13_499,
        "USER#u": 13_499,
    }


@pytest.mark.parametrize("state", [s for s in FinState if s != FinState.DELIVERED])
def test_only_delivered_orders_are_settled(state: FinState) -> None:
    """Every other state is refused by name."""
    refusal = plan(Settle("o1"), money_of(fin_state=state), 0)
    assert isinstance(refusal, Rejection)
    assert (refusal.code, state in refusal.message) == ("wrong_state", True)


@pytest.mark.parametrize("state", [s for s in FinState if s != FinState.CAPTURED])
def test_only_paid_orders_are_refunded(state: FinState) -> None:
    """Nothing to give back, or too late for it."""
    refusal = plan(Refund("o1", "x"), money_of(fin_state=state), 0)
    assert isinstance(refusal, Rejection)
    assert refusal.code == "wrong_state"


def test_an_unknown_orders_money_is_not_found() -> None:
    """Without a FIN there is nothing to settle or give back."""
    for fact in (Settle("o1"), Refund("o1", "x")):
        refusal = plan(fact, None, 0)
        assert isinstance(refusal, Rejection)
        assert refusal.code == "not_found"


def test_an_intent_is_the_fact_and_nothing_else(food: Pricing) -> None:
    """Equal facts hash alike whatever the lane; any other field makes another intent."""
    fact = Capture("o1", "u", "v", "WALLET", food)
    one, two = plan(fact, None, 0), plan(fact, None, 5)
    assert isinstance(one, JournalEntry)
    assert isinstance(two, JournalEntry)
    assert one.intent == two.intent == intent_of(fact)
    assert intent_of(msgspec.structs.replace(fact, user_id="w")) != one.intent
    assert intent_of(Settle("o1")) != intent_of(Refund("o1", ""))


def test_a_business_day_is_doualas() -> None:
    """23:00 UTC is the next day there."""
    assert day_of(0) == "1970-01-01"
    assert day_of(1_763_000_000_000) == "2025-11-13"
    assert day_of(22 * 3_600_000 + 3_599_999) == "1970-01-01"
    assert day_of(23 * 3_600_000) == "1970-01-02"


def test_an_entry_is_listed_under_its_day() -> None:
    """The journal of a day is found in GSI3, each entry under a sort key of its own."""
    entry = plan(TopUp("u", 5, "mtn", "p1"), None, 0)
    assert isinstance(entry, JournalEntry)
    item = entry_item(entry, 0, {})
    assert item["GSI3PK"].startswith("JE#1970-01-01#")
    assert item["GSI3SK"] == "0000000000000#PAYMENT#mtn#p1/JE#TOPUP"
