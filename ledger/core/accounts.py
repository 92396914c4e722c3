"""The chart of accounts: what an account is called, who may go below zero, where it is kept."""

import re
from enum import StrEnum
from functools import lru_cache
from zlib import crc32

from ledger.dynamodb.table import Key

# Source: wire contract. `#` would forge a key, `.` a lane.
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHARDED_NAME = re.compile(r"[A-Z0-9_-]{1,64}\.[0-9]{1,4}")
_OWNER_NAME = re.compile(r"(USER|VENDOR|RIDER)\.[A-Za-z0-9_-]{1,64}")

# Lists that would otherwise be one hot partition are kept in this many.
# Source: 16 partitions take 16,000 writes a second on DynamoDB.
LIST_SHARDS = 16
# Names whose kind is remembered: a settlement asks for one a dozen times.
NAMES_KEPT = 10_000


class AccountKind(StrEnum):
    """What an account is; the first part of its name.

    Credits are positive: what we owe and earn is above zero, what is owed to us below.
    """

    # What a customer, vendor or rider may spend or draw; never below zero.
    USER = "USER"
    VENDOR = "VENDOR"
    RIDER = "RIDER"
    # Cash of ours in a rider's hands; never above zero.
    RIDERCASH = "RIDERCASH"
    # One order's escrow; kept in its FUNDS item and not in a wallet.
    ORDER = "ORDER"
    # Our revenue and our expenses, in lanes.
    PLATFORM = "PLATFORM"
    # What a payment provider holds for us, in lanes.
    CLEARING = "CLEARING"
    # What an owner owes us because his wallet was empty; never above zero.
    RECEIVABLE = "RECEIVABLE"
    # Money of which nobody knows yet whose it is, in lanes; empty in the end.
    SUSPENSE = "SUSPENSE"

    @property
    def has_lines(self) -> bool:
        """Whether each movement is a numbered line of a wallet."""
        return self in _KINDS_WITH_LINES

    @property
    def is_sharded(self) -> bool:
        """Whether the account is many, so that no single item is in everybody's way."""
        return self in _SHARDED_KINDS


_KINDS_WITH_LINES = frozenset(
    {AccountKind.USER, AccountKind.VENDOR, AccountKind.RIDER, AccountKind.RIDERCASH}
)
OWNERS = frozenset({AccountKind.USER, AccountKind.VENDOR, AccountKind.RIDER})
_SHARDED_KINDS = frozenset({AccountKind.PLATFORM, AccountKind.CLEARING, AccountKind.SUSPENSE})
# Where the cash lies that riders have handed in.
CASH_DESK = "CASHDESK"


class PlatformAccount(StrEnum):
    """The platform's own accounts."""

    COMMISSION = "COMMISSION"
    # Of orders called off at the customer's fault.
    FEES = "FEES"
    # Expenses: discounts, what we give back or pay for others, what providers take, what is lost.
    PROMO = "PROMO"
    GOODWILL = "GOODWILL"
    PROVIDER_FEES = "PSPFEE"
    LOSS = "LOSS"


def checked_id(text: str) -> str:
    """The id itself, when it may be part of a key.

    Errors: ValueError for one that could be mistaken for another key.
    """
    if not isinstance(text, str) or _ID.fullmatch(text) is None:
        raise ValueError(f"not an id: {text!r}")
    return text


def user(user_id: str) -> str:
    """A customer's wallet."""
    return f"{AccountKind.USER}#{checked_id(user_id)}"


def vendor(vendor_id: str) -> str:
    """A vendor's wallet."""
    return f"{AccountKind.VENDOR}#{checked_id(vendor_id)}"


def rider(rider_id: str) -> str:
    """A rider's earnings."""
    return f"{AccountKind.RIDER}#{checked_id(rider_id)}"


def rider_cash(rider_id: str) -> str:
    """The cash a rider has collected and not yet handed in."""
    return f"{AccountKind.RIDERCASH}#{checked_id(rider_id)}"


def escrow(order_id: str) -> str:
    """What was paid for an order and not yet given to anyone."""
    return f"{AccountKind.ORDER}#{checked_id(order_id)}"


def platform(account: PlatformAccount, shard: int) -> str:
    """One of the platform's own accounts, one lane of it."""
    return f"{AccountKind.PLATFORM}#{account}.{shard}"


def commission(shard: int) -> str:
    """The platform's commission, one lane of it."""
    return platform(PlatformAccount.COMMISSION, shard)


def owner(owner_type: str, owner_id: str) -> str:
    """The wallet of a customer, vendor or rider.

    Errors: ValueError for another type or a malformed id.
    """
    kind = AccountKind(owner_type)
    if kind not in OWNERS:
        raise ValueError(f"no wallet for {owner_type}")
    return f"{kind}#{checked_id(owner_id)}"


def receivable(owner_type: str, owner_id: str) -> str:
    """What an owner owes us beyond his wallet."""
    return f"{AccountKind.RECEIVABLE}#{owner(owner_type, owner_id).replace('#', '.')}"


def clearing(provider: str, shard: int) -> str:
    """What came in through a payment provider, one lane of it."""
    return f"{AccountKind.CLEARING}#{checked_id(provider).upper()}.{shard}"


@lru_cache(maxsize=NAMES_KEPT)
def kind_of(account: str) -> AccountKind:
    """What kind of account a name names.

    Errors: ValueError for a name outside the chart.
    """
    head, _, tail = account.partition("#")
    kind = AccountKind(head)
    pattern = (
        _OWNER_NAME if kind is AccountKind.RECEIVABLE else _SHARDED_NAME if kind.is_sharded else _ID
    )
    if pattern.fullmatch(tail) is None:
        raise ValueError(f"not an account: {account!r}")
    return kind


def balance_key(account: str) -> Key:
    """Where an account's balance is kept."""
    return Key(f"WALLET#{account}", "BALANCE")


def line_key(account: str, seq: int) -> Key:
    """Where a wallet's line of that number is kept; lines sort by number. Source: 12 digits."""
    return Key(f"WALLET#{account}", f"{LINE_PREFIX}{seq:012d}")


LINE_PREFIX = "TXN#"


def listing_key(account: str) -> Key:
    """Where an account is named in the list of all accounts that ever moved."""
    return Key(f"ACCOUNTS#{list_shard_of(account)}", account)


def list_shard_of(text: str) -> int:
    """A stable shard of a name. Source: CRC-32, ISO 3309; spread matters here, not secrecy."""
    return crc32(text.encode()) % LIST_SHARDS
