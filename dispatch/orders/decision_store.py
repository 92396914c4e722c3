"""Why riders were asked, or nobody was: the decisions beside each order, a bounded number."""

import msgspec

from dispatch.model import Decision
from dispatch.storage.dynamodb_errors import RetryableTable
from ledger.dynamodb.table import Item, Put, Query, Table

# The first ten tell how the search began and the last ten how it ended; the rest is counted.
FIRST_STORED = 10
LAST_STORED = 10
STORED_MAX = FIRST_STORED + LAST_STORED

_decoder = msgspec.json.Decoder(Decision)


def slot_of(number: int) -> int:
    """Where the `number`-th decision (from 0) is kept, in the place of an older one after ten."""
    if number < FIRST_STORED:
        return number
    return FIRST_STORED + (number - FIRST_STORED) % LAST_STORED


def write_decision(order_id: str, number: int, decision: Decision) -> Put:
    """The write that keeps a decision with its order; repeating it changes nothing."""
    item: Item = {
        "PK": f"ORDER#{order_id}",
        "SK": f"DECISION#{slot_of(number):02d}",
        "number": number,
        "decision": msgspec.json.encode(decision).decode(),
    }
    return Put(item=item)


class DecisionStore:
    """Reads decisions, and adds to the last one where its order is not written."""

    def __init__(self, table: Table) -> None:
        self._table = RetryableTable(table)

    async def list_for(self, order_id: str) -> list[tuple[int, Decision]]:
        """What is kept of an order's decisions with their numbers, oldest first.

        DynamoDB: Query, one round trip, consistent.
        """
        query = Query(pk=f"ORDER#{order_id}", prefix="DECISION#", limit=STORED_MAX)
        page = await self._table.query(query)
        kept = [(item["number"], _decoder.decode(item["decision"])) for item in page.items]
        return sorted(kept, key=lambda each: each[0])

    async def put(self, order_id: str, number: int, decision: Decision) -> None:
        """Write a decision anew, after more looks have come to the same.

        DynamoDB: one PutItem; repeating it changes nothing.
        """
        await self._table.transact([write_decision(order_id, number, decision)])
