"""Effects of facts, and the rejections when their conditions fail."""

import pytest

from ledger.core.facts import (
    Capture,
    PartialRefund,
    PayoutPaid,
    PayoutPaidLate,
    Refund,
    Settle,
    Tip,
    TopUp,
)
from ledger.core.order_funds import FundsState, PaymentMethod, funds_key
from ledger.dynamodb.table import Key, key_of
from ledger.records.cash_holds import hold_key
from ledger.records.effects import build_effects
from ledger.records.payments import payment_key
from ledger.records.payouts import payout_key
from tests.ledger.core.entry_samples import FOOD_PRICING, funds_of

FUNDS = funds_key("o1")
CASH = funds_of(method=PaymentMethod.CASH)
MOBILE = Capture("o1", "u", "v", "MOBILE_MONEY", FOOD_PRICING, "m1", "momo")
WALLET = Capture("o1", "u", "v", "WALLET", FOOD_PRICING)


@pytest.mark.parametrize(
    ("fact", "funds", "keys"),
    [
        (TopUp("u", 5, "momo", "p1"), None, [payment_key("momo", "p1")]),
        (WALLET, None, [FUNDS]),
        (MOBILE, None, [FUNDS, payment_key("momo", "m1")]),
        (Settle("o1"), funds_of(), [FUNDS]),
        (Settle("o1"), CASH, [FUNDS, hold_key("o1")]),
        (Refund("o1", "closed"), funds_of(), [FUNDS]),
        (PartialRefund("o1", "r1", 5, "cold"), funds_of(), [FUNDS]),
        (PayoutPaid("p1", "RIDER", "r", 5, "momo"), None, [payout_key("p1")]),
        (PayoutPaidLate("p1", "RIDER", "r", 5, "momo"), None, [payout_key("p1")]),
        (Tip("o1", "t1", "u", 5), funds_of(), []),
    ],
)
def test_a_fact_changes_its_records(fact, funds, keys: list[Key]) -> None:
    """Each fact writes the records that it is about, and no others."""
    assert [key_of(effect.write) for effect in build_effects(fact, funds, 1)] == keys


def test_stale_funds_are_planned_again() -> None:
    """A settlement whose funds have changed has no rejection of its own."""
    (effect,) = build_effects(Settle("o1"), funds_of(), 1)
    assert effect.explain({"fundsState": "SETTLED"}) is None


def test_a_cash_settlement_names_the_missing_hold() -> None:
    """Without the rider's open hold the settlement is refused in its state."""
    effect = build_effects(Settle("o1"), CASH, 1)[1]
    missing, released = effect.explain(None), effect.explain({"holdState": "RELEASED"})
    assert missing is not None
    assert released is not None
    assert (missing.code, released.code) == ("wrong_state", "wrong_state")
    assert "RELEASED" in released.message


def test_a_capture_says_why_the_order_takes_no_payment() -> None:
    """An unknown order, one that awaits nothing, and other terms have their codes."""
    effect = build_effects(MOBILE, None, 1)[0]
    found = [
        None,
        {"fundsState": FundsState.CAPTURED},
        {"fundsState": FundsState.NONE, "termsHash": "other"},
    ]
    rejections = [effect.explain(item) for item in found]
    assert [each.code for each in rejections if each] == ["not_found", "wrong_state", "conflict"]


def test_a_used_payment_is_a_conflict() -> None:
    """A payment that succeeded before, or does not match, is refused."""
    (effect,) = build_effects(TopUp("u", 5, "momo", "p1"), None, 1)
    for item in ({"paymentState": "SUCCESS"}, {"paymentState": "PENDING"}):
        rejection = effect.explain(item)
        assert rejection is not None
        assert rejection.code == "conflict"


def test_a_payout_in_another_state_is_refused() -> None:
    """The rejection names the state that was found and the one that is needed."""
    fields = ("p1", "RIDER", "r", 5, "momo")
    (paid,) = build_effects(PayoutPaid(*fields), None, 1)
    (late,) = build_effects(PayoutPaidLate(*fields), None, 1)
    rejections = [paid.explain({"payoutState": "FAILED"}), late.explain({"payoutState": "PAID"})]
    assert [each.message for each in rejections if each] == [
        "the payout is FAILED, not SUBMITTED",
        "the payout is PAID, not FAILED",
    ]
