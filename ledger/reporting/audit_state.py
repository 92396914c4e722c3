"""What the stages of one audit share: the table, the span of time, counts and sums."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from ledger.core.accounts import balance_key
from ledger.dynamodb.table import Table
from ledger.records.wallets import Balance, read_balance
from ledger.reporting.checks import LedgerBreak
from ledger.reporting.multiset_hash import MultisetHash

BreakPages = AsyncIterator[list[LedgerBreak]]


class AuditSpan(NamedTuple):
    """The time that is audited, both ends included. Units: Unix milliseconds."""

    from_ms: int
    to_ms: int

    def contains(self, at_ms: int) -> bool:
        """Whether a moment lies in the span. Units: Unix milliseconds."""
        return self.from_ms <= at_ms <= self.to_ms


class AuditState:
    """State of one audit. Units: whole XAF.

    `legs_hash` expects the lines that entries name and is given the lines that wallets have;
    `shard_sums` and `escrow_sums` are the legs of account shards and of orders, by account.
    """

    def __init__(
        self, table: Table, now_ms: Callable[[], int], on_progress: Callable[[], None]
    ) -> None:
        self.table = table
        self.now_ms = now_ms
        self.on_progress = on_progress
        self.legs_hash = MultisetHash()
        self.shard_sums: dict[str, int] = defaultdict(int)
        self.escrow_sums: dict[str, int] = defaultdict(int)
        self.refunded_orders: set[str] = set()
        self.line_count = self.entry_count = self.account_count = 0

    async def read_balance(self, account: str) -> Balance:
        """Current balance of an account. Units: whole XAF. DynamoDB: GetItem, consistent."""
        return read_balance(account, await self.table.get(balance_key(account)))
