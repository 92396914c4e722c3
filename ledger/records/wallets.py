"""A wallet: its balance and its numbered lines, each chained to the one before it by a hash."""

import hashlib
from typing import Any, NamedTuple

import msgspec
import orjson

from ledger.core.accounts import (
    AccountKind,
    balance_key,
    kind_of,
    line_key,
    list_shard_of,
    listing_key,
)
from ledger.core.entries import JournalEntry, Leg
from ledger.core.facts import Rejection
from ledger.core.money import CURRENCY
from ledger.core.order_funds import IF_ABSENT
from ledger.core.entry_planning import CANCELLATION_FEE, ORDER_EARNINGS, PAYOUT, TIP
from ledger.dynamodb.table import (
    Item,
    Put,
    Update,
    Write,
    time_sort_key,
)

ACTIVE = "ACTIVE"
# Only debits ask for it: what is owed to somebody is owed to him all the same.
FROZEN = "FROZEN"
# Empty, and to stay so; money that comes in all the same stays until it is opened again.
CLOSED = "CLOSED"
# Where GSI2 lists riders who have cash of ours, sharded, whoever has it longest first.
CASH_OUTSTANDING = "RIDERCASH#OUTSTANDING"
# Movements that count as earnings.
EARNING_CATEGORIES = frozenset({ORDER_EARNINGS, TIP, CANCELLATION_FEE})
# What the first line of every wallet is chained to.
GENESIS = "0" * 64


class Balance(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a wallet holds. Units: whole XAF, Unix milliseconds.

    `available` is what may be spent, kept beside `posted` and `held` because a DynamoDB condition
    cannot subtract. `seq` numbers the lines, `head` is the hash of the last one.
    """

    account: str
    posted: int = 0
    held: int = 0
    available: int = 0
    earned: int = 0
    entries: int = 0
    seq: int = 0
    head: str = GENESIS
    status: str = ACTIVE
    updated_at: int = 0
    v: int = 0

    @property
    def is_new(self) -> bool:
        """Whether there is no item of it yet."""
        return self.v == 0


class WalletLine(NamedTuple):
    """One movement in a wallet. Units: whole XAF, below zero for a debit."""

    transaction_id: str
    seq: int
    amount: int
    balance_after: int


class Movement(NamedTuple):
    """What one leg leads to: the balance after it, its line where the account has lines.

    `listing` is the account's place in the list of accounts, with its first movement.
    """

    balance_after: Balance
    line: Put | None
    listing: Put | None


class EntryStamp(NamedTuple):
    """What all movements of one entry share; `counted` is the account that counts the entry."""

    entry: JournalEntry
    recorded_at: int
    counting_account: str


def read_balance(account: str, item: Item | None) -> Balance:
    """Decode a BALANCE item; a wallet that was never used is empty."""
    return Balance(account=account) if item is None else msgspec.convert(item, Balance)


def transaction_id(entry_id: str, account: str) -> str:
    """The public name of a line, the same however often it is computed."""
    return f"txn_{hashlib.sha256(f'{entry_id}|{account}'.encode()).hexdigest()[:32]}"


def apply_leg(leg: Leg, balance: Balance, stamp: EntryStamp) -> Movement:
    """Carry a leg into its wallet."""
    after = _apply_amount(leg, balance, stamp)
    if not kind_of(leg.account).has_lines:
        return Movement(after, None, _account_listing(after) if balance.is_new else None)
    line = _line_item(leg, balance, stamp)
    return Movement(
        balance_after=msgspec.structs.replace(after, seq=balance.seq + 1, head=line["hash"]),
        line=Put(item=line, condition=IF_ABSENT),
        listing=_account_listing(after) if balance.seq == 0 else None,
    )


def write_balance(before: Balance, after: Balance) -> Write:
    """Take a balance from one standing to another, over one leg or several of one direction."""
    if kind_of(before.account).has_lines:
        return _write_wallet(before, after)
    return _write_shard(before, after)


def explain_rejected_balance(leg: Leg, item: Item | None) -> Rejection | None:
    """What a refused balance means; None where it only moved on and is worth another look.

    `item` is the balance as it stands.
    """
    balance = read_balance(leg.account, item)
    kind = kind_of(leg.account)
    if leg.amount > 0:
        # What is paid back can be no more than what is owed.
        is_debt = kind in {AccountKind.RIDERCASH, AccountKind.RECEIVABLE}
        if is_debt and -balance.posted < leg.amount:
            return Rejection(
                "insufficient_funds", f"{leg.account} owes {-balance.posted}, not {leg.amount}"
            )
        return None
    if not kind.has_lines:
        return None
    counter = _debited_counter(leg)
    if counter == "available" and balance.status != ACTIVE:
        return Rejection("frozen", f"{leg.account} is {balance.status}")
    spendable = balance.available if counter == "available" else balance.held
    if spendable < -leg.amount:
        return Rejection("insufficient_funds", f"{leg.account} has {spendable} of {-leg.amount}")
    return None


def _debited_counter(leg: Leg) -> str:
    """Out of what a debit comes: what may be spent, or what was held for it."""
    is_held = kind_of(leg.account) is AccountKind.RIDERCASH or leg.category == PAYOUT
    return "held" if is_held else "available"


def _apply_amount(leg: Leg, balance: Balance, stamp: EntryStamp) -> Balance:
    changes = {"posted": balance.posted + leg.amount}
    is_cash = kind_of(leg.account) is AccountKind.RIDERCASH
    if leg.amount < 0:
        counter = _debited_counter(leg)
        changes[counter] = getattr(balance, counter) + leg.amount
    elif not is_cash:
        changes["available"] = balance.available + leg.amount
    is_earned = leg.category in EARNING_CATEGORIES and leg.amount > 0
    return msgspec.structs.replace(
        balance,
        **changes,
        earned=balance.earned + (leg.amount if is_earned else 0),
        entries=balance.entries + (leg.account == stamp.counting_account),
        updated_at=stamp.recorded_at,
        v=balance.v + 1,
    )


def _line_item(leg: Leg, balance: Balance, stamp: EntryStamp) -> Item:
    recorded_at = stamp.recorded_at
    key = line_key(leg.account, balance.seq + 1)
    entry = stamp.entry
    line: Item = {
        "transactionId": transaction_id(entry.entry_id, leg.account),
        "seq": balance.seq + 1,
        "amount": leg.amount,
        "balanceBefore": balance.posted,
        "balanceAfter": balance.posted + leg.amount,
        "category": leg.category,
        "entry": entry.entry_id,
        "orderId": entry.order_id,
        "createdAt": recorded_at,
        "prev": balance.head,
    }
    if entry.order_id is not None:
        line["GSI1PK"] = f"ORDER#{entry.order_id}#TRANSACTIONS"
        line["GSI1SK"] = time_sort_key(recorded_at, leg.account)
    return {"PK": key.pk, "SK": key.sk, **line, "hash": line_hash(leg.account, line)}


# What a line's hash covers, besides its account.
HASHED_FIELDS = (
    "prev",
    "seq",
    "amount",
    "balanceBefore",
    "balanceAfter",
    "category",
    "entry",
    "createdAt",
)


def line_hash(account: str, line: Item) -> str:
    """The hash that chains a line to the one before. Source: SHA-256 over a JSON list."""
    body = [account, *(line[name] for name in HASHED_FIELDS)]
    return hashlib.sha256(orjson.dumps(body)).hexdigest()


def _write_wallet(before: Balance, after: Balance) -> Write:
    account, delta = before.account, after.posted - before.posted
    is_cash = kind_of(account) is AccountKind.RIDERCASH
    if before.is_new and delta > 0 and not is_cash:
        return Put(item=_balance_item(after), condition=IF_ABSENT)
    # Lines are numbered without gaps, so the line before ours must still be the last.
    condition = "seq = :before"
    names: dict[str, str] = {}
    values: dict[str, Any] = {
        ":d": delta,
        ":before": before.seq,
        ":seq": after.seq,
        ":head": after.head,
        ":earned": after.earned - before.earned,
        ":entries": after.entries - before.entries,
        ":zero": 0,
        ":now": after.updated_at,
        ":one": after.v - before.v,
    }
    counters = {name: getattr(after, name) - getattr(before, name) for name in _COUNTERS}
    moved = {name: change for name, change in counters.items() if change}
    sets = "".join(f"{name} = {name} + :{name}, " for name in moved)
    values |= {f":{name}": change for name, change in moved.items()}
    for name, change in moved.items():
        if change < 0:
            condition += f" AND {name} >= :need"
            values[":need"] = -change
    if moved.get("available", 0) < 0:
        condition += " AND #status = :active"
        names["#status"] = "status"
        values[":active"] = ACTIVE
    removes = ""
    if is_cash:
        cash = _cash_changes(before, after, values)
        condition, sets, removes = condition + cash[0], sets + cash[1], cash[2]
    return Update(
        key=balance_key(account),
        expression=(
            f"SET posted = posted + :d, {sets}seq = :seq, head = :head, "
            "earned = if_not_exists(earned, :zero) + :earned, "
            "entries = if_not_exists(entries, :zero) + :entries, "
            f"v = v + :one, updatedAt = :now{removes}"
        ),
        condition=condition,
        names=names,
        values=values,
    )


_COUNTERS = ("available", "held")


def _cash_changes(before: Balance, after: Balance, values: dict[str, Any]) -> tuple[str, str, str]:
    """What else changes with a rider's cash: condition, SET and REMOVE; `values` grows."""
    delta = after.posted - before.posted
    if delta < 0:
        rider_id = before.account.partition("#")[2]
        values[":pk"] = f"{CASH_OUTSTANDING}#{list_shard_of(rider_id)}"
        values[":since"] = time_sort_key(after.updated_at, rider_id)
        # He is exposed since he took the order, and has the cash since the first of them.
        return "", "GSI2PK = :pk, GSI2SK = if_not_exists(GSI2SK, :since), ", ""
    values[":owed"] = -delta
    removes = "" if after.posted else " REMOVE GSI2PK, GSI2SK"
    return " AND posted <= :owed", "exposure = exposure - :d, ", removes


# Lanes have no lines, no floor and no earnings.
_WALLET_ONLY_FIELDS = frozenset({"held", "available", "earned", "seq", "head", "status"})


def _write_shard(before: Balance, after: Balance) -> Write:
    delta = after.posted - before.posted
    is_repaid = kind_of(before.account) is AccountKind.RECEIVABLE and delta > 0
    if before.is_new and not is_repaid:
        item = _balance_item(after)
        lane = {name: value for name, value in item.items() if name not in _WALLET_ONLY_FIELDS}
        return Put(item=lane, condition=IF_ABSENT)
    # Nobody needs a lane's balance before it moves, so additions may come in any order.
    values = {
        ":d": delta,
        ":entries": after.entries - before.entries,
        ":one": after.v - before.v,
        ":now": after.updated_at,
    }
    return Update(
        key=balance_key(before.account),
        expression=(
            "SET posted = posted + :d, entries = entries + :entries, v = v + :one, updatedAt = :now"
        ),
        condition="posted <= :owed" if is_repaid else "attribute_exists(PK)",
        values={**values, ":owed": -delta} if is_repaid else values,
    )


def _balance_item(balance: Balance) -> Item:
    key = balance_key(balance.account)
    fields = msgspec.to_builtins(balance)
    return {
        "PK": key.pk,
        "SK": key.sk,
        **fields,
        "ccy": CURRENCY,
        "createdAt": balance.updated_at,
    }


def _account_listing(after: Balance) -> Put:
    """The account's place in the list of all accounts, with its first movement."""
    key = listing_key(after.account)
    return Put(item={"PK": key.pk, "SK": key.sk, "createdAt": after.updated_at})
