"""Cache of account balances: spares reads before a transaction; conditions decide what is right."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from ledger.core.accounts import balance_key
from ledger.dynamodb.table import Table
from ledger.records.wallets import Balance, read_balance

# Balances in the cache; the least recently stored is dropped first, which costs a read.
# Source: chosen.
BALANCES_CACHED_MAX = 10_000


class BalanceCache:
    """Reads balances through a bounded cache."""

    def __init__(self, table: Table, balances_max: int = BALANCES_CACHED_MAX) -> None:
        self._table = table
        self._balances_max = balances_max
        self._balances: OrderedDict[str, Balance] = OrderedDict()

    async def read(self, accounts: Sequence[str]) -> list[Balance]:
        """Balances in the order of `accounts`, possibly stale. Units: whole XAF.

        Errors: TableUnavailable.

        DynamoDB: BatchGetItem of those that are not cached.
        """
        found = {a: self._balances[a] for a in accounts if a in self._balances}
        missing = [account for account in accounts if account not in found]
        if missing:
            items = await self._table.get_many([balance_key(account) for account in missing])
            for account, item in zip(missing, items, strict=True):
                found[account] = read_balance(account, item)
                self.store(found[account])
        return [found[account] for account in accounts]

    def store(self, balance: Balance) -> None:
        """Remember a balance as it was written or found."""
        self._balances[balance.account] = balance
        self._balances.move_to_end(balance.account)
        if len(self._balances) > self._balances_max:
            self._balances.popitem(last=False)

    def forget(self, accounts: Iterable[str]) -> None:
        """Drop balances that may be stale."""
        for account in accounts:
            self._balances.pop(account, None)
