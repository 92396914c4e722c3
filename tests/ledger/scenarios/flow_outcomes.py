"""How the end of a money flow is seen in the table: what is booked, held, requested or refunded."""

from collections.abc import Callable
from typing import NamedTuple

from ledger.core.accounts import balance_key, user
from tests.ledger.scenarios.auditor import Items
from tests.ledger.scenarios.cluster import CUSTOMER, PROMO, RIDER

# What flows of a fixed size move. Units: whole XAF.
AMOUNT = 5_000


class Subject(NamedTuple):
    """Subject of a flow: an order, or a requested payment. Units: whole XAF."""

    id: str = ""
    payment_id: str = ""
    total: int = 0


def funds_state_is(state: str) -> Callable[[Items, Subject], bool]:
    """The order's funds are in this state."""
    return lambda items, on: items.get((f"ORDER#{on.id}", "FUNDS"), {}).get("fundsState") == state


def has_one_order(state: str) -> Callable[[Items, Subject], bool]:
    """There is one order, with its funds in this state."""

    def is_done(items: Items, _on: Subject) -> bool:
        states = [item["fundsState"] for (_, sk), item in items.items() if sk == "FUNDS"]
        return states == [state]

    return is_done


def wallet_balance_is(amount: int) -> Callable[[Items, Subject], bool]:
    """The customer has so much available."""
    key = balance_key(user(CUSTOMER))
    return lambda items, _on: items.get((key.pk, key.sk), {}).get("available", 0) == amount


def hold_state_is(state: str) -> Callable[[Items, Subject], bool]:
    """The hold on the rider's cash is in this state."""
    return lambda items, on: (
        items.get((f"ORDER#{on.id}", "HOLD#CASH"), {}).get("holdState") == state
    )


def is_payment_failed(items: Items, on: Subject) -> bool:
    """The payment has failed."""
    return items[f"PAYMENT#momo#{on.payment_id}", "PAYMENT"]["paymentState"] == "FAILED"


def is_order_payment_failed(items: Items, on: Subject) -> bool:
    """The order's payment has failed."""
    return items[f"ORDER#{on.id}", "METADATA"]["payment"]["state"] == "FAILED"


def promotion_use_is(spent: int, uses: int) -> Callable[[Items, Subject], bool]:
    """So much of the promotion is spent, in so many uses of its customer."""

    def is_done(items: Items, _on: Subject) -> bool:
        promotion = items.get((f"PROMOTION#{PROMO}", "PROMOTION"), {"spent": None, "uses": None})
        used = items.get((f"PROMOTION#{PROMO}", f"USER#{CUSTOMER}"), {}).get("used", 0)
        return (promotion["spent"], promotion["uses"], used) == (spent, uses, uses)

    return is_done


def is_payment_requested(items: Items, _on: Subject) -> bool:
    """One payment was requested, and none arrived."""
    states = [item["paymentState"] for (_, sk), item in items.items() if sk == "PAYMENT"]
    return states == ["PENDING"]


def is_order_offered(items: Items, on: Subject) -> bool:
    """The order is offered to the rider."""
    return list(items[f"ORDER#{on.id}", "METADATA"]["dispatch"]["offers"]) == [RIDER]


def is_settled_with_cash(items: Items, on: Subject) -> bool:
    """The order is settled and the rider owes the cash."""
    owed = items[f"WALLET#RIDERCASH#{RIDER}", "BALANCE"]["posted"]
    return (
        funds_state_is("SETTLED")(items, on)
        and hold_state_is("POSTED")(items, on)
        and owed == -on.total
    )


def cash_is_booked(owed: int, account: str, amount: int) -> Callable[[Items, Subject], bool]:
    """The order is settled, the rider owes what it collected, another account has the rest."""

    def is_done(items: Items, on: Subject) -> bool:
        cash = items[f"WALLET#RIDERCASH#{RIDER}", "BALANCE"]
        other = items.get((f"WALLET#{account}", "BALANCE"), {"posted": 0})
        return (
            funds_state_is("SETTLED")(items, on)
            and hold_state_is("POSTED")(items, on)
            and (cash["posted"], cash["held"], other["posted"]) == (-owed, 0, amount)
        )

    return is_done


def is_adjustment_proposed(items: Items, _on: Subject) -> bool:
    """One adjustment waits for approval."""
    states = [item["adjustmentState"] for item in items.values() if "adjustmentState" in item]
    return states == ["PENDING"]


def is_adjustment_posted(items: Items, on: Subject) -> bool:
    """The adjustment is posted."""
    return items[f"ADJUSTMENT#{on.id}", "REQUEST"]["adjustmentState"] == "POSTED"


def held_amount_is(account: str, amount: int) -> Callable[[Items, Subject], bool]:
    """A wallet holds so much, for one payout."""

    def is_done(items: Items, _on: Subject) -> bool:
        asked = [pk for pk, sk in items if pk.startswith("PAYOUT#") and sk == "REQUEST"]
        wallet = items.get((f"WALLET#{account}", "BALANCE"), {})
        return wallet.get("held", 0) == amount and len(asked) == 1

    return is_done


def payout_state_is(state: str) -> Callable[[Items, Subject], bool]:
    """The payout is in this state."""
    return lambda items, on: items[f"PAYOUT#{on.id}", "REQUEST"]["payoutState"] == state


def is_refunded(items: Items, on: Subject) -> bool:
    """A part was refunded, once."""
    return items[f"ORDER#{on.id}", "FUNDS"]["refunded"] == AMOUNT


def is_cash_remitted(items: Items, on: Subject) -> bool:
    """The rider owes so much less."""
    return items[f"WALLET#RIDERCASH#{RIDER}", "BALANCE"]["posted"] == AMOUNT - on.total
