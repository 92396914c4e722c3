"""Wallets: a balance and numbered lines, each chained to the line before it by a hash."""

import hashlib
from typing import NamedTuple

import msgspec
import orjson

from ledger.core.accounts import AccountKind, balance_key, kind_of, line_key, listing_key
from ledger.core.entries import JournalEntry, Leg
from ledger.core.line_categories import EARNING_CATEGORIES, PAYOUT
from ledger.core.money import CURRENCY
from ledger.core.order_funds import IF_ABSENT
from ledger.dynamodb.table import Item, Put, time_sort_key

ACTIVE = "ACTIVE"
# Refuses debits only: what the owner is owed is still credited.
FROZEN = "FROZEN"
# Closed while empty; refuses debits, and keeps what is still credited until it is opened again.
CLOSED = "CLOSED"
# Partition of GSI2 that lists riders with unremitted cash, sharded, the longest holder first.
CASH_OUTSTANDING = "RIDERCASH#OUTSTANDING"
# Previous hash of the first line of every wallet.
GENESIS = "0" * 64
# Fields of a line that its hash covers, besides the account.
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


class Balance(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Balance of a wallet or another account. Units: whole XAF, Unix milliseconds.

    `available` is what may be spent; it is stored beside `posted` and `held` because a DynamoDB
    condition cannot subtract. `seq` is the number of the last line, `head` its hash.
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
        """Whether the account has no item yet."""
        return self.v == 0


class WalletLine(NamedTuple):
    """One movement in a wallet. Units: whole XAF, below zero for a debit."""

    transaction_id: str
    seq: int
    amount: int
    balance_after: int


class Movement(NamedTuple):
    """Result of one leg: the balance after it, and its line if the account has lines.

    `listing` is the account's item in the list of accounts, written with its first movement.
    """

    balance_after: Balance
    line: Put | None
    listing: Put | None


class EntryStamp(NamedTuple):
    """What all movements of one entry share. Units: Unix milliseconds.

    `counting_account` is the account whose balance counts the entry.
    """

    entry: JournalEntry
    recorded_at: int
    counting_account: str


def read_balance(account: str, item: Item | None) -> Balance:
    """Decode a BALANCE item; an account without one is at zero. Units: whole XAF."""
    return Balance(account=account) if item is None else msgspec.convert(item, Balance)


def transaction_id(entry_id: str, account: str) -> str:
    """Public id of a line, derived from its entry and account."""
    return f"txn_{hashlib.sha256(f'{entry_id}|{account}'.encode()).hexdigest()[:32]}"


def apply_leg(leg: Leg, balance: Balance, stamp: EntryStamp) -> Movement:
    """Apply a leg to its account's balance. Units: whole XAF."""
    after = _apply_amount(leg, balance, stamp)
    if not kind_of(leg.account).has_lines:
        return Movement(after, None, _account_listing(after) if balance.is_new else None)
    line = _line_item(leg, balance, stamp)
    return Movement(
        balance_after=msgspec.structs.replace(after, seq=balance.seq + 1, head=line["hash"]),
        line=Put(item=line, condition=IF_ABSENT),
        listing=_account_listing(after) if balance.seq == 0 else None,
    )


def debited_counter(leg: Leg) -> str:
    """The balance field that a debit reduces: what may be spent, or what was held for it."""
    is_held = kind_of(leg.account) is AccountKind.RIDERCASH or leg.category == PAYOUT
    return "held" if is_held else "available"


def balance_item(balance: Balance) -> Item:
    """Item of a balance that is written for the first time. Units: whole XAF."""
    key = balance_key(balance.account)
    fields = msgspec.to_builtins(balance)
    created = {"ccy": CURRENCY, "createdAt": balance.updated_at}
    return {"PK": key.pk, "SK": key.sk, **fields, **created}


def line_hash(account: str, line: Item) -> str:
    """Hash that chains a line to the line before. Source: SHA-256 over a JSON list."""
    body = [account, *(line[name] for name in HASHED_FIELDS)]
    return hashlib.sha256(orjson.dumps(body)).hexdigest()


def _apply_amount(leg: Leg, balance: Balance, stamp: EntryStamp) -> Balance:
    changes = {"posted": balance.posted + leg.amount}
    is_cash = kind_of(leg.account) is AccountKind.RIDERCASH
    if leg.amount < 0:
        counter = debited_counter(leg)
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


def _account_listing(after: Balance) -> Put:
    key = listing_key(after.account)
    return Put(item={"PK": key.pk, "SK": key.sk, "createdAt": after.updated_at})
