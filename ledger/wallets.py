"""A wallet: its balance and its numbered lines, each chained to the one before it by a hash."""

import hashlib
from typing import NamedTuple

import msgspec
import orjson

from ledger.accounts import Kind, balance_key, kind_of, line_key, listing_key
from ledger.entries import JournalEntry, Leg
from ledger.fin import ABSENT
from ledger.money import CURRENCY
from ledger.plan import ORDER_EARNINGS, Rejection
from ledger.table import Item, Put, Update, Write

ACTIVE = "ACTIVE"
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


class Line(NamedTuple):
    """One movement in a wallet. Units: whole XAF, below zero for a debit."""

    transaction_id: str
    seq: int
    amount: int
    balance_after: int


class Movement(NamedTuple):
    """What one leg writes: the balance, its line where the account has lines, its listing."""

    balance: Write
    line: Put | None
    listing: Put | None
    after: Balance


class Stamp(NamedTuple):
    """What all movements of one entry share; `counted` is the account that counts the entry."""

    entry: JournalEntry
    recorded_at: int
    counted: str


def read_balance(account: str, item: Item | None) -> Balance:
    """Decode a BALANCE item; a wallet that was never used is empty."""
    return Balance(account=account) if item is None else msgspec.convert(item, Balance)


def transaction_id(entry_id: str, account: str) -> str:
    """The public name of a line, the same however often it is computed."""
    return f"txn_{hashlib.sha256(f'{entry_id}|{account}'.encode()).hexdigest()[:32]}"


def move(leg: Leg, balance: Balance, stamp: Stamp) -> Movement:
    """Carry a leg into its wallet."""
    kind = kind_of(leg.account)
    recorded_at = max(stamp.recorded_at, balance.updated_at)
    after = _after(leg, balance, stamp, recorded_at)
    if not kind.has_lines:
        listing = _listing(after) if balance.is_new else None
        return Movement(_move_lane(after, leg, balance), None, listing, after)
    line = _line(leg, balance, stamp, recorded_at)
    after = msgspec.structs.replace(after, seq=balance.seq + 1, head=line["hash"])
    return Movement(
        balance=_move_wallet(kind, leg, balance, after),
        line=Put(item=line, condition=ABSENT),
        listing=_listing(after) if balance.seq == 0 else None,
        after=after,
    )


def weigh(leg: Leg, item: Item | None) -> Rejection | None:
    """What a refused balance means; None where it only moved on and is worth another look.

    `item` is the balance as it stands.
    """
    balance = read_balance(leg.account, item)
    if leg.amount > 0 or not kind_of(leg.account).has_lines:
        return None
    if balance.status != ACTIVE:
        return Rejection("frozen", f"{leg.account} is {balance.status}")
    spendable = balance.held if kind_of(leg.account) == Kind.RIDERCASH else balance.available
    if spendable < -leg.amount:
        return Rejection("insufficient_funds", f"{leg.account} has {spendable} of {-leg.amount}")
    return None


def _after(leg: Leg, balance: Balance, stamp: Stamp, recorded_at: int) -> Balance:
    is_cash = kind_of(leg.account) == Kind.RIDERCASH
    assert not is_cash or leg.amount < 0, "cash in hand only grows"
    return msgspec.structs.replace(
        balance,
        posted=balance.posted + leg.amount,
        # What a rider has collected was held until now.
        held=balance.held + leg.amount if is_cash else balance.held,
        available=0 if is_cash else balance.available + leg.amount,
        earned=balance.earned + (leg.amount if leg.category == ORDER_EARNINGS else 0),
        entries=balance.entries + (leg.account == stamp.counted),
        updated_at=recorded_at,
        v=balance.v + 1,
    )


def _line(leg: Leg, balance: Balance, stamp: Stamp, recorded_at: int) -> Item:
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
        line["GSI1SK"] = f"{recorded_at:013d}#{leg.account}"
    return {"PK": key.pk, "SK": key.sk, **line, "hash": line_hash(leg.account, line)}


# What a line's hash covers, besides its account.
HASHED = (
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
    body = [account, *(line[name] for name in HASHED)]
    return hashlib.sha256(orjson.dumps(body)).hexdigest()


def _move_wallet(kind: Kind, leg: Leg, before: Balance, after: Balance) -> Write:
    is_debit = leg.amount < 0
    if before.is_new and not is_debit:
        return Put(item=_item(after), condition=ABSENT)
    counter = "held" if kind == Kind.RIDERCASH else "available"
    # Lines are numbered without gaps, so the line before ours must still be the last.
    condition = "seq = :before"
    names = {}
    values = {
        ":d": leg.amount,
        ":before": before.seq,
        ":seq": after.seq,
        ":head": after.head,
        ":earned": after.earned - before.earned,
        ":entries": after.entries - before.entries,
        ":zero": 0,
        ":now": after.updated_at,
        ":one": 1,
    }
    if is_debit:
        condition += f" AND {counter} >= :need AND #status = :active"
        names["#status"] = "status"
        values |= {":need": -leg.amount, ":active": ACTIVE}
    return Update(
        key=balance_key(leg.account),
        expression=(
            f"SET posted = posted + :d, {counter} = {counter} + :d, seq = :seq, head = :head, "
            "earned = if_not_exists(earned, :zero) + :earned, "
            "entries = if_not_exists(entries, :zero) + :entries, "
            "v = v + :one, updatedAt = :now"
        ),
        condition=condition,
        names=names,
        values=values,
    )


# Lanes have no lines, no floor and no earnings.
_WALLET_ONLY = frozenset({"held", "available", "earned", "seq", "head", "status"})


def _move_lane(after: Balance, leg: Leg, before: Balance) -> Write:
    if before.is_new:
        item = _item(after)
        lane = {name: value for name, value in item.items() if name not in _WALLET_ONLY}
        return Put(item=lane, condition=ABSENT)
    # Nobody needs a lane's balance before it moves, so additions may come in any order.
    return Update(
        key=balance_key(leg.account),
        expression=(
            "SET posted = posted + :d, entries = entries + :entries, v = v + :one, updatedAt = :now"
        ),
        condition="attribute_exists(PK)",
        values={
            ":d": leg.amount,
            ":entries": after.entries - before.entries,
            ":one": 1,
            ":now": after.updated_at,
        },
    )


def _item(balance: Balance) -> Item:
    key = balance_key(balance.account)
    fields = msgspec.to_builtins(balance)
    return {
        "PK": key.pk,
        "SK": key.sk,
        **fields,
        "ccy": CURRENCY,
        "createdAt": balance.updated_at,
    }


def _listing(after: Balance) -> Put:
    """The account's place in the list of all accounts, with its first movement."""
    key = listing_key(after.account)
    return Put(item={"PK": key.pk, "SK": key.sk, "createdAt": after.updated_at})
