"""A wallet's past: its balance at a moment, a statement between two, what was earned since one."""

from typing import Any, NamedTuple

from ledger.core.accounts import balance_key, line_key
from ledger.core.line_categories import EARNING_CATEGORIES
from ledger.core.money import CURRENCY
from ledger.dynamodb.table import Item, Table
from ledger.records.wallets import read_balance
from ledger.reporting.statements import line_view

# Lines read at a time. Source: API limit of BatchGetItem.
BATCH_LINES = 100


class Earnings(NamedTuple):
    """What a wallet earned, by how many lines. Units: whole XAF."""

    amount: int
    line_count: int


class History:
    """Reads lines by their number: they have no gaps and never go back in time."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def balance_at(self, account: str, at_ms: int) -> int:
        """What a wallet had when that moment was over. Units: Unix ms, whole XAF.

        DynamoDB: GetItem, one for each doubling of the wallet's lines.
        """
        seq = await self._last_line_until(account, at_ms)
        line = await self._read_line(account, seq)
        return line["balanceAfter"] if line else 0

    async def statement(
        self, account: str, between: tuple[int, int], page: tuple[int, int]
    ) -> dict[str, Any]:
        """The lines of a time, oldest first, with the balance before and after it.

        `between` includes its first moment and not its last; `page` is how many lines, from which
        number on (0: the first).

        DynamoDB: GetItem to find both ends, then one BatchGetItem.
        """
        from_ms, until_ms = between
        limit, at = page
        last_before = await self._last_line_until(account, from_ms - 1)
        last = await self._last_line_until(account, until_ms - 1)
        ends = [await self._read_line(account, seq) for seq in (last_before, last)]
        start = max(at, last_before + 1)
        numbers = range(start, min(start + limit, last + 1))
        lines = await self._table.get_many([line_key(account, seq) for seq in numbers])
        after = start + len(numbers)
        return {
            "openingBalance": ends[0]["balanceAfter"] if ends[0] else 0,
            "closingBalance": ends[1]["balanceAfter"] if ends[1] else 0,
            "from": from_ms,
            "to": until_ms,
            "currency": CURRENCY,
            "items": [line_view(line) for line in lines if line],
            "nextCursor": str(after) if after <= last else None,
        }

    async def earned_since(self, account: str, *moments: int) -> list[Earnings]:
        """What came in as earnings since each moment, the latest moment first.

        DynamoDB: GetItem to find the first line, then BatchGetItem by hundreds.
        """
        oldest = min(moments)
        first = await self._last_line_until(account, oldest - 1) + 1
        last = await self._last_seq(account)
        found = [Earnings(0, 0) for _ in moments]
        for start in range(first, last + 1, BATCH_LINES):
            numbers = range(start, min(start + BATCH_LINES, last + 1))
            for line in await self._table.get_many([line_key(account, seq) for seq in numbers]):
                if line is None or line["category"] not in EARNING_CATEGORIES or line["amount"] < 0:
                    continue
                found = [
                    Earnings(sum_.amount + line["amount"], sum_.line_count + 1)
                    if line["createdAt"] >= moment
                    else sum_
                    for sum_, moment in zip(found, moments, strict=True)
                ]
        return found

    async def _last_line_until(self, account: str, at_ms: int) -> int:
        """The number of the last line at or before a moment; 0 where there is none."""
        low, high = 0, await self._last_seq(account)
        while low < high:
            middle = (low + high + 1) // 2
            line = await self._read_line(account, middle)
            assert line is not None, "lines have no gaps"
            if line["createdAt"] <= at_ms:
                low = middle
            else:
                high = middle - 1
        return low

    async def _last_seq(self, account: str) -> int:
        return read_balance(account, await self._table.get(balance_key(account))).seq

    async def _read_line(self, account: str, seq: int) -> Item | None:
        return await self._table.get(line_key(account, seq)) if seq else None
