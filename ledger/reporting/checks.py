"""Rules of a correct ledger, each checked on the items given; pure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from ledger.core.accounts import kind_of
from ledger.core.cancellation_matrix import Fault, Stage
from ledger.core.entries import JournalEntry, Leg, UnbalancedEntry, balance_legs
from ledger.core.entry_planning import plan_entry
from ledger.core.facts import Refund, Settle
from ledger.core.money import split
from ledger.core.order_funds import FundsState, OrderFunds, PaymentMethod
from ledger.dynamodb.table import Item
from ledger.records.wallets import GENESIS, Balance, line_hash

TERMINAL_STATES = frozenset({FundsState.SETTLED, FundsState.CANCELLED, FundsState.VOID})


class LedgerBreak(NamedTuple):
    """One broken rule: which, where, and how."""

    invariant: str
    subject: str
    detail: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.subject}: {self.detail}"


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
    "account_shards",
    "settled_in_time",
    "suspense_is_empty",
    "payout_state",
)


def entry_name(item: Item) -> str:
    """Name of a stored entry, as in the lines of its legs."""
    return f"{item['PK']}/{item['SK']}"


def entry_breaks(item: Item) -> Iterator[LedgerBreak]:
    """Whether an entry's legs balance."""
    where, legs = entry_name(item), _legs_of_item(item)
    try:
        if len(balance_legs(legs)) != len(legs):
            yield LedgerBreak("entry_balances", where, "an account twice, or a leg of nothing")
    except (UnbalancedEntry, ValueError) as error:
        yield LedgerBreak("entry_balances", where, str(error))


def settlement_breaks(item: Item, funds: OrderFunds | None) -> Iterator[LedgerBreak]:
    """Whether an order's entry is the one that is planned from the order's current funds."""
    where = entry_name(item)
    if funds is None:
        yield LedgerBreak("entry_as_planned", where, "the order has no funds")
        return
    planned = _replan(item, funds)
    if planned is not None and _merge_shards(planned.legs) != _merge_shards(_legs_of_item(item)):
        yield LedgerBreak("entry_as_planned", where, f"planned: {_legs_text(planned.legs)}")


def _replan(item: Item, funds: OrderFunds) -> JournalEntry | None:
    """The entry as it would be planned now; None for entries that depend on other things."""
    escrow = 0 if funds.method is PaymentMethod.CASH else funds.pricing.gross
    if item["SK"] == "JE#SETTLE":
        before = msgspec.structs.replace(funds, funds_state=FundsState.DELIVERED, escrow=escrow)
        entry = plan_entry(Settle(funds.order_id), before, 0)
    elif item["SK"] == "JE#CANCEL":
        state = FundsState.DUE if funds.method is PaymentMethod.CASH else FundsState.CAPTURED
        before = msgspec.structs.replace(funds, funds_state=state, escrow=escrow)
        stage, fault = Stage(item["stage"]), Fault(item["fault"])
        fact = Refund(funds.order_id, item["reason"], stage, fault, item.get("riderId"))
        entry = plan_entry(fact, before, 0)
    else:
        return None
    return entry if isinstance(entry, JournalEntry) else None


def _legs_of_item(item: Item) -> list[Leg]:
    return [Leg(leg["account"], leg["amount"], "") for leg in item["legs"]]


def _merge_shards(legs: Sequence[Leg]) -> dict[str, int]:
    return {
        leg.account.partition(".")[0]
        if kind_of(leg.account).is_sharded
        else leg.account: leg.amount
        for leg in legs
    }


def _legs_text(legs: Sequence[Leg]) -> str:
    return ", ".join(f"{leg.account} {leg.amount:+d}" for leg in legs)


def order_breaks(funds: OrderFunds) -> Iterator[LedgerBreak]:
    """Whether an order's funds and prices are consistent."""
    where, price = f"ORDER#{funds.order_id}", funds.pricing
    if funds.funds_state in TERMINAL_STATES and funds.escrow:
        yield LedgerBreak("escrow", where, f"{funds.funds_state}, and {funds.escrow} in escrow")
    if not 0 <= funds.shared <= funds.refunded <= price.total:
        yield LedgerBreak("refunds", where, f"{funds.refunded} of {price.total} went back")
    base = price.total if price.service == "PACKAGE" else price.subtotal
    base -= price.tip - price.discount if price.service == "PACKAGE" else 0
    commission, _ = split(max(0, base), price.commission_bps)
    parts = price.commission + price.vendor_share + price.rider_total
    if commission != price.commission or parts != price.gross:
        yield LedgerBreak("entry_as_planned", where, "its prices are not those of its rates")


class WalletChain:
    """A wallet's lines from the last to the first, each checked against its successor."""

    def __init__(self, balance: Balance) -> None:
        self._account = balance.account
        # Expected of the next line: number, balance after it, hash.
        self._next_seq, self._next_balance, self._next_hash = (
            balance.seq,
            balance.posted,
            balance.head,
        )
        self._is_last = True

    def check_line(self, line: Item) -> Iterator[LedgerBreak]:
        """Breaks of the next line."""
        where = f"{self._account} line {line['seq']}"
        if line["seq"] != self._next_seq:
            yield LedgerBreak("line_follows", where, f"line {self._next_seq} is missing")
        elif (line["balanceAfter"], line["hash"]) != (self._next_balance, self._next_hash):
            rule = "balance_is_last_line" if self._is_last else "line_follows"
            yield LedgerBreak(
                rule, where, f"ends at {line['balanceAfter']}, not {self._next_balance}"
            )
        if line["balanceBefore"] + line["amount"] != line["balanceAfter"]:
            yield LedgerBreak("line_adds_up", where, f"{line['balanceBefore']} {line['amount']:+d}")
        if line_hash(self._account, line) != line["hash"]:
            yield LedgerBreak("line_hash", where, "the hash does not match the line")
        self._next_seq, self._next_balance = line["seq"] - 1, line["balanceBefore"]
        self._next_hash, self._is_last = line["prev"], False

    def check_start(self) -> Iterator[LedgerBreak]:
        """Whether lines are missing before the first line that was checked."""
        if (self._next_seq, self._next_balance, self._next_hash) != (0, 0, GENESIS):
            where = f"{self._account} line {self._next_seq}"
            yield LedgerBreak("line_follows", where, f"lines up to {self._next_seq} are missing")


def balance_breaks(balance: Balance, open_holds: int) -> Iterator[LedgerBreak]:
    """Whether a wallet's counters are consistent; `open_holds` is the sum of its open holds.

    Units: whole XAF.
    """
    account = balance.account
    if balance.held != open_holds:
        detail = f"holds {balance.held}, open holds come to {open_holds}"
        yield LedgerBreak("held_is_open_holds", account, detail)
    if account.startswith("RIDERCASH#"):
        if balance.posted > 0:
            yield LedgerBreak("balance_available", account, f"is owed {balance.posted} of cash")
        return
    if balance.available != balance.posted - balance.held:
        detail = f"may spend {balance.available} of {balance.posted - balance.held}"
        yield LedgerBreak("balance_available", account, detail)
    if balance.available < 0:
        yield LedgerBreak("balance_available", account, f"is {balance.available}")
