"""Chart of accounts: account names, which kinds may go below zero, and the keys of their items."""

import re
from enum import StrEnum
from functools import lru_cache
from zlib import crc32

from ledger.dynamodb.table import Key

# Source: docs/contract.md, ids. A `#` would forge a key, a `.` an account shard.
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHARDED_NAME = re.compile(r"[A-Z0-9_-]{1,64}\.[0-9]{1,4}")
_OWNER_NAME = re.compile(r"(USER|VENDOR|RIDER)\.[A-Za-z0-9_-]{1,64}")

# Shards of a list that would otherwise be one hot partition.
# Source: 16 partitions take 16,000 writes a second on DynamoDB.
LIST_SHARDS = 16
# Account names whose kind is cached: one settlement looks up a dozen. Source: chosen.
KINDS_CACHED_MAX = 10_000


class AccountKind(StrEnum):
    """Kind of an account; the first part of its name.

    Credits are positive: what the platform owes or earned is above zero, what it is owed below.
    """

    # Wallet of a customer, vendor or rider: what it may spend or draw; never below zero.
    USER = "USER"
    VENDOR = "VENDOR"
    RIDER = "RIDER"
    # Cash that a rider collected and still has to remit; never above zero.
    RIDERCASH = "RIDERCASH"
    # Escrow of one order; kept in its FUNDS item, not in a wallet.
    ORDER = "ORDER"
    # The platform's revenue and expenses; sharded.
    PLATFORM = "PLATFORM"
    # What a payment provider holds for the platform; sharded.
    CLEARING = "CLEARING"
    # What a wallet's owner owes because the wallet was empty; never above zero.
    RECEIVABLE = "RECEIVABLE"
    # Money whose owner is not known yet; sharded, empty in the end.
    SUSPENSE = "SUSPENSE"

    @property
    def has_lines(self) -> bool:
        """Whether each movement is a numbered line of a wallet."""
        return self in _KINDS_WITH_LINES

    @property
    def is_sharded(self) -> bool:
        """Whether the account is split into shards, so that postings do not conflict."""
        return self in _SHARDED_KINDS


_KINDS_WITH_LINES = frozenset(
    {AccountKind.USER, AccountKind.VENDOR, AccountKind.RIDER, AccountKind.RIDERCASH}
)
OWNERS = frozenset({AccountKind.USER, AccountKind.VENDOR, AccountKind.RIDER})
_SHARDED_KINDS = frozenset({AccountKind.PLATFORM, AccountKind.CLEARING, AccountKind.SUSPENSE})


class PlatformAccount(StrEnum):
    """The platform's own accounts."""

    COMMISSION = "COMMISSION"
    # Income from orders that were cancelled at the customer's fault.
    FEES = "FEES"
    # Expenses: discounts; goodwill and payments for others; providers' fees; losses.
    PROMO = "PROMO"
    GOODWILL = "GOODWILL"
    PROVIDER_FEES = "PSPFEE"
    LOSS = "LOSS"


def checked_id(text: str) -> str:
    """The id, if it may be part of a key.

    Errors: ValueError for an id that would change the meaning of the key.
    """
    if _ID.fullmatch(text) is None:
        raise ValueError(f"not an id: {text!r}")
    return text


def user(user_id: str) -> str:
    """Account name of a customer's wallet."""
    return f"{AccountKind.USER}#{checked_id(user_id)}"


def vendor(vendor_id: str) -> str:
    """Account name of a vendor's wallet."""
    return f"{AccountKind.VENDOR}#{checked_id(vendor_id)}"


def rider(rider_id: str) -> str:
    """Account name of a rider's wallet, which holds its earnings."""
    return f"{AccountKind.RIDER}#{checked_id(rider_id)}"


def rider_cash(rider_id: str) -> str:
    """Account name of the cash that a rider collected and has not remitted."""
    return f"{AccountKind.RIDERCASH}#{checked_id(rider_id)}"


def escrow(order_id: str) -> str:
    """Account name of an order's escrow: what was paid and is not settled yet."""
    return f"{AccountKind.ORDER}#{checked_id(order_id)}"


def platform(account: PlatformAccount, shard: int) -> str:
    """Account name of one shard of a platform account."""
    return f"{AccountKind.PLATFORM}#{account}.{shard}"


def commission(shard: int) -> str:
    """Account name of one shard of the platform's commission."""
    return platform(PlatformAccount.COMMISSION, shard)


def owner(owner_type: str, owner_id: str) -> str:
    """Account name of the wallet of a customer, vendor or rider.

    Errors: ValueError for another type or a malformed id.
    """
    kind = AccountKind(owner_type)
    if kind not in OWNERS:
        raise ValueError(f"no wallet for {owner_type}")
    return f"{kind}#{checked_id(owner_id)}"


def receivable(owner_type: str, owner_id: str) -> str:
    """Account name of an owner's debt: what could not be taken from its wallet."""
    return f"{AccountKind.RECEIVABLE}#{owner(owner_type, owner_id).replace('#', '.')}"


def clearing(provider: str, shard: int) -> str:
    """Account name of one shard of what a payment provider holds."""
    return f"{AccountKind.CLEARING}#{checked_id(provider).upper()}.{shard}"


@lru_cache(maxsize=KINDS_CACHED_MAX)
def kind_of(account: str) -> AccountKind:
    """The kind of the account with that name.

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
    """Key of an account's BALANCE item."""
    return Key(f"WALLET#{account}", "BALANCE")


def line_key(account: str, seq: int) -> Key:
    """Key of a wallet line; lines sort by number. Source: chosen, 12 digits."""
    return Key(f"WALLET#{account}", f"{LINE_PREFIX}{seq:012d}")


LINE_PREFIX = "TXN#"


def listing_key(account: str) -> Key:
    """Key of an account's item in the list of all accounts that ever had a movement."""
    return Key(accounts_pk(list_shard_of(account)), account)


def accounts_pk(shard: int) -> str:
    """Partition of one shard of the list of all accounts."""
    return f"ACCOUNTS#{shard}"


def list_shard_of(text: str) -> int:
    """Shard of a name in a sharded list. Source: CRC-32, ISO 3309; spread matters, not secrecy."""
    return crc32(text.encode()) % LIST_SHARDS
