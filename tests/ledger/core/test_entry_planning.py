"""Planning of entries: who is debited and credited by each fact."""

import pytest

from ledger.core.entry_planning import plan_entry
from ledger.core.facts import (
    Adjustment,
    AdjustmentLeg,
    Capture,
    Netting,
    PayoutPaid,
    PayoutPaidLate,
    PayoutReturned,
    Rejection,
    Remittance,
    TopUp,
    entry_key,
)
from ledger.core.pricing import Pricing
from ledger.dynamodb.table import Key
from tests.ledger.core.entry_samples import legs_of


def test_a_top_up_comes_out_of_what_the_provider_owes() -> None:
    """The provider's account is debited, the wallet credited, under the payment's key."""
    fact = TopUp("u", 5000, "mtn", "p1")
    assert legs_of(plan_entry(fact, None, 3)) == {"CLEARING#MTN.3": -5000, "USER#u": 5000}
    assert entry_key(fact) == Key("PAYMENT#mtn#p1", "JE#TOPUP")


def test_a_capture_goes_into_the_orders_escrow(food_pricing: Pricing) -> None:
    """Wallet or provider's account is debited and the escrow credited with the whole total."""
    wallet = Capture("o1", "u", "v", "WALLET", food_pricing)
    assert legs_of(plan_entry(wallet, None, 0)) == {"USER#u": -13_499, "ORDER#o1": 13_499}
    momo = Capture("o1", "u", "v", "MOBILE_MONEY", food_pricing, "p1", "om")
    assert legs_of(plan_entry(momo, None, 1)) == {"CLEARING#OM.1": -13_499, "ORDER#o1": 13_499}
    with pytest.raises(ValueError, match="provider"):
        plan_entry(Capture("o1", "u", "v", "MOBILE_MONEY", food_pricing), None, 0)


def test_remitted_cash_reduces_what_the_rider_owes() -> None:
    """The rider's cash is credited, and the cash desk debited."""
    entry = plan_entry(Remittance("r", "m1", 5_000, "cashdesk"), None, 2)
    assert legs_of(entry) == {"RIDERCASH#r": 5_000, "CLEARING#CASHDESK.2": -5_000}


def test_netting_takes_cash_and_debt_from_the_wallet() -> None:
    """Both debts of a rider are paid from its wallet in one entry."""
    entry = plan_entry(Netting("p1", "RIDER", "r", cash=300, debt=200), None, 0)
    assert legs_of(entry) == {"RIDER#r": -500, "RIDERCASH#r": 300, "RECEIVABLE#RIDER.r": 200}


def test_a_paid_payout_debits_the_wallet_and_the_fee_is_the_platforms() -> None:
    """The provider's account is credited with amount and fee, the fee is an expense."""
    fact = PayoutPaid("p1", "VENDOR", "v", 10_000, "momo", fee=150)
    assert legs_of(plan_entry(fact, None, 0)) == {
        "VENDOR#v": -10_000,
        "CLEARING#MOMO.0": 10_150,
        "PLATFORM#PSPFEE.0": -150,
    }


@pytest.mark.parametrize(
    ("available", "wallet", "debt"),
    [(12_000, -10_000, 0), (10_000, -10_000, 0), (4_000, -4_000, -6_000), (0, 0, -10_000)],
)
def test_a_payout_paid_late_is_taken_from_what_is_left(
    available: int, wallet: int, debt: int
) -> None:
    """The wallet pays as far as it can, the rest is the owner's debt; the provider gets all."""
    fact = PayoutPaidLate("p1", "VENDOR", "v", 10_000, "momo", fee=150)
    entry = plan_entry(fact, None, 0, {"VENDOR#v": available})
    expected = {
        "VENDOR#v": wallet,
        "RECEIVABLE#VENDOR.v": debt,
        "CLEARING#MOMO.0": 10_150,
        "PLATFORM#PSPFEE.0": -150,
    }
    assert legs_of(entry) == {account: amount for account, amount in expected.items() if amount}


def test_a_returned_payout_credits_the_wallet() -> None:
    """The amount comes back from the provider; the fee does not."""
    fact = PayoutReturned("p1", "VENDOR", "v", 10_000, "momo", "unknown number")
    entry = plan_entry(fact, None, 0)
    assert legs_of(entry) == {"VENDOR#v": 10_000, "CLEARING#MOMO.0": -10_000}


def test_an_adjustment_needs_two_people() -> None:
    """The legs are those proposed; the maker may not be the checker."""
    legs = (AdjustmentLeg("VENDOR#v", 70), AdjustmentLeg("PLATFORM#LOSS.0", -70))
    approved = Adjustment("a1", legs, "lost", "adm_1", "adm_2")
    assert legs_of(plan_entry(approved, None, 0)) == {"VENDOR#v": 70, "PLATFORM#LOSS.0": -70}
    refused = plan_entry(Adjustment("a1", legs, "lost", "adm_1", "adm_1"), None, 0)
    assert isinstance(refused, Rejection)
    assert refused.code == "conflict"


@pytest.mark.parametrize("account", ["ORDER#o1", "RIDERCASH#r"])
def test_accounts_of_orders_cannot_be_adjusted(account: str) -> None:
    """Escrow is moved by orders only, and a rider's cash is not increased by hand."""
    legs = (AdjustmentLeg(account, -70), AdjustmentLeg("PLATFORM#LOSS.0", 70))
    with pytest.raises(ValueError, match="cannot be adjusted"):
        plan_entry(Adjustment("a1", legs, "lost", "adm_1", "adm_2"), None, 0)
