"""What is true of right books, item by item: pure; the audit brings the items."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from ledger.core.accounts import kind_of
from ledger.core.cancellation_matrix import Fault, Stage
from ledger.core.entries import JournalEntry, Leg, Unbalanced, balanced
from ledger.core.facts import Refund, Settle
from ledger.core.money import split
from ledger.core.order_funds import Fin, FinState, Method
from ledger.core.plan import plan
from ledger.dynamodb.table import Item
from ledger.records.wallets import GENESIS, Balance, line_hash

TERMINAL = frozenset({FinState.SETTLED, FinState.CANCELLED, FinState.VOID})


class Break(NamedTuple):
    """One thing that is wrong: by which rule, where, and how."""

    invariant: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.where}: {self.what}"


INVARIANTS = (
    "entry_balances",
    "entry_as_planned",
    "entry_has_its_lines",
    "account_is_listed",
    "line_follows",
    "line_adds_up",
    "line_hash",
    "balance_is_last_line",
    "balance_available",
    "held_is_open_holds",
    "escrow",
    "refunds",
    "lanes",
    "settled_in_time",
    "suspense_is_empty",
    "payout_state",
)


def entry_breaks(item: Item) -> Iterator[Break]:
    """What is wrong with an entry by itself."""
    where = f"{item['PK']}/{item['SK']}"
    legs = [Leg(leg["account"], leg["amount"], "") for leg in item["legs"]]
    try:
        if len(balanced(legs)) != len(legs):
            yield Break("entry_balances", where, "an account twice, or a leg of nothing")
    except (Unbalanced, ValueError) as error:
        yield Break("entry_balances", where, str(error))


def settlement_breaks(item: Item, money: Fin | None) -> Iterator[Break]:
    """Whether an order's entry is what the plan makes of the order's money today."""
    where = f"{item['PK']}/{item['SK']}"
    if money is None:
        yield Break("entry_as_planned", where, "the order has no money")
        return
    wanted = _replanned(item, money)
    if wanted is not None and _without_lanes(wanted.legs) != _without_lanes(_legs(item)):
        yield Break("entry_as_planned", where, f"the plan says {_told(wanted.legs)}")


def _replanned(item: Item, fin: Fin) -> JournalEntry | None:
    """The entry as the live path would plan it now; None for one that depends on other things."""
    escrow = 0 if fin.method is Method.CASH else fin.pricing.gross
    if item["SK"] == "JE#SETTLE":
        then = msgspec.structs.replace(fin, fin_state=FinState.DELIVERED, escrow=escrow)
        entry = plan(Settle(fin.order_id), then, 0)
    elif item["SK"] == "JE#CANCEL":
        state = FinState.DUE if fin.method is Method.CASH else FinState.CAPTURED
        then = msgspec.structs.replace(fin, fin_state=state, escrow=escrow)
        stage, fault = Stage(item["stage"]), Fault(item["fault"])
        fact = Refund(fin.order_id, item["reason"], stage, fault, item.get("riderId"))
        entry = plan(fact, then, 0)
    else:
        return None
    return entry if isinstance(entry, JournalEntry) else None


def _legs(item: Item) -> list[Leg]:
    return [Leg(leg["account"], leg["amount"], "") for leg in item["legs"]]


def _without_lanes(legs: Sequence[Leg]) -> dict[str, int]:
    return {
        leg.account.partition(".")[0] if kind_of(leg.account).has_lanes else leg.account: leg.amount
        for leg in legs
    }


def _told(legs: Sequence[Leg]) -> str:
    return ", ".join(f"{leg.account} {leg.amount:+d}" for leg in legs)


def order_breaks(money: Fin) -> Iterator[Break]:
    """What is wrong with an order's money by itself."""
    where, price = f"ORDER#{money.order_id}", money.pricing
    if money.fin_state in TERMINAL and money.escrow:
        yield Break("escrow", where, f"{money.fin_state}, and {money.escrow} in escrow")
    if not 0 <= money.shared <= money.refunded <= price.total:
        yield Break("refunds", where, f"{money.refunded} of {price.total} went back")
    base = price.total if price.service == "PACKAGE" else price.subtotal
    base -= price.tip - price.discount if price.service == "PACKAGE" else 0
    commission, _ = split(max(0, base), price.commission_bps)
    parts = price.commission + price.vendor_share + price.rider_part
    if commission != price.commission or parts != price.gross:
        yield Break("entry_as_planned", where, "its prices are not those of its rates")


class Chain:
    """A wallet's lines from the last to the first, each against the one before it."""

    def __init__(self, balance: Balance) -> None:
        self._account = balance.account
        # What the next line that comes must be: number, balance after it, hash.
        self._number, self._after, self._head = balance.seq, balance.posted, balance.head
        self._is_last = True

    def breaks(self, line: Item) -> Iterator[Break]:
        """What is wrong with the next line."""
        where = f"{self._account} line {line['seq']}"
        if line["seq"] != self._number:
            yield Break("line_follows", where, f"line {self._number} is missing")
        elif (line["balanceAfter"], line["hash"]) != (self._after, self._head):
            rule = "balance_is_last_line" if self._is_last else "line_follows"
            yield Break(rule, where, f"ends at {line['balanceAfter']}, not {self._after}")
        if line["balanceBefore"] + line["amount"] != line["balanceAfter"]:
            yield Break("line_adds_up", where, f"{line['balanceBefore']} {line['amount']:+d}")
        if line_hash(self._account, line) != line["hash"]:
            yield Break("line_hash", where, "the hash is another's")
        self._number, self._after = line["seq"] - 1, line["balanceBefore"]
        self._head, self._is_last = line["prev"], False

    def ended(self) -> Iterator[Break]:
        """What is missing before the first line that came."""
        if (self._number, self._after, self._head) != (0, 0, GENESIS):
            where = f"{self._account} line {self._number}"
            yield Break("line_follows", where, f"lines up to {self._number} are missing")


def balance_breaks(balance: Balance, held: int) -> Iterator[Break]:
    """What is wrong with what a wallet may spend; `held` is what open holds come to."""
    account = balance.account
    if balance.held != held:
        what = f"holds {balance.held}, open holds come to {held}"
        yield Break("held_is_open_holds", account, what)
    if account.startswith("RIDERCASH#"):
        if balance.posted > 0:
            yield Break("balance_available", account, f"is owed {balance.posted} of cash")
        return
    if balance.available != balance.posted - balance.held:
        what = f"may spend {balance.available} of {balance.posted - balance.held}"
        yield Break("balance_available", account, what)
    if balance.available < 0:
        yield Break("balance_available", account, f"is {balance.available}")
