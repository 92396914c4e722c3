"""History of a wallet: its balance at a moment, statements, and earnings since a moment."""

from typing import NamedTuple, TypedDict

from ledger.core.accounts import balance_key, line_key
from ledger.core.line_categories import EARNING_CATEGORIES
from ledger.core.money import CURRENCY
from ledger.dynamodb.table import BATCH_KEYS_MAX, Item, Table
from ledger.records.wallets import read_balance
from ledger.reporting.statements import LineView, line_view


class Earnings(NamedTuple):
    """What a wallet earned, and in how many lines. Units: whole XAF."""

    amount: int
    line_count: int


# `from` is a keyword, so that this type has to be written as a call.
WalletStatement = TypedDict(
    "WalletStatement",
    {
        "openingBalance": int,
        "closingBalance": int,
        "from": int,
        "to": int,
        "currency": str,
        "items": list[LineView],
        "nextCursor": str | None,
    },
)


class History:
    """Finds lines by their number: numbers have no gaps, and timestamps never decrease."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def balance_at(self, account: str, at_ms: int) -> int:
        """Balance of a wallet after all lines of that moment. Units: Unix milliseconds, whole XAF.

        Errors: TableUnavailable.

        DynamoDB: GetItem, one for each doubling of the wallet's lines.
        """
        seq = await self._last_line_until(account, at_ms)
        line = await self._read_line(account, seq)
        return line["balanceAfter"] if line else 0

    async def statement(
        self, account: str, from_ms: int, until_ms: int, limit: int, first_line: int = 0
    ) -> WalletStatement:
        """One page of the lines of a time, oldest first, with the balance before and after it.

        The time includes `from_ms` and excludes `until_ms`. The page has at most `limit` lines and
        starts at the line numbered `first_line`, or at the first line of the time.

        Units: Unix milliseconds, whole XAF.

        Errors: TableUnavailable.

        DynamoDB: GetItem to find both ends, then one BatchGetItem.
        """
        last_before = await self._last_line_until(account, from_ms - 1)
        last = await self._last_line_until(account, until_ms - 1)
        opening, closing = [await self._read_line(account, seq) for seq in (last_before, last)]
        start = max(first_line, last_before + 1)
        numbers = range(start, min(start + limit, last + 1))
        lines = await self._table.get_many([line_key(account, seq) for seq in numbers])
        after = start + len(numbers)
        return {
            "openingBalance": opening["balanceAfter"] if opening else 0,
            "closingBalance": closing["balanceAfter"] if closing else 0,
            "from": from_ms,
            "to": until_ms,
            "currency": CURRENCY,
            "items": [line_view(line) for line in lines if line],
            "nextCursor": str(after) if after <= last else None,
        }

    async def earned_since(self, account: str, *moments: int) -> list[Earnings]:
        """Earnings since each of the moments, in their order. Units: Unix ms, whole XAF.

        Errors: TableUnavailable.

        DynamoDB: GetItem to find the first line, then one BatchGetItem per 100 lines.
        """
        first = await self._last_line_until(account, min(moments) - 1) + 1
        last = await self._last_seq(account)
        found = [Earnings(0, 0) for _ in moments]
        for start in range(first, last + 1, BATCH_KEYS_MAX):
            numbers = range(start, min(start + BATCH_KEYS_MAX, last + 1))
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
        """Number of the last line at or before a moment, by binary search; 0 if there is none."""
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
