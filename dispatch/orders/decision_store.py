"""Decisions of the engine in DynamoDB: why riders were asked, or none was, beside each order."""

import msgspec

from dispatch.ids import OrderId
from dispatch.model import Decision
from dispatch.storage.dynamodb_errors import RetryableTable
from ledger.dynamodb.table import Item, Put, Query, Table

# The first ten show how the search began and the last ten how it ended; the others are
# overwritten.
# Source: docs/decisions/0007-offers-and-withdrawal.md.
FIRST_STORED = 10
LAST_STORED = 10
STORED_MAX = FIRST_STORED + LAST_STORED

_decoder = msgspec.json.Decoder(Decision)


def slot_of(number: int) -> int:
    """The slot of an order's `number`-th decision (from 0); the last ten slots are a ring."""
    if number < FIRST_STORED:
        return number
    return FIRST_STORED + (number - FIRST_STORED) % LAST_STORED


def write_decision(order_id: OrderId, number: int, decision: Decision) -> Put:
    """The write of an order's `number`-th decision; repeating it changes nothing."""
    item: Item = {
        "PK": f"ORDER#{order_id}",
        "SK": f"DECISION#{slot_of(number):02d}",
        "number": number,
        "decision": msgspec.json.encode(decision).decode(),
    }
    return Put(item=item)


class DecisionStore:
    """Reads decisions, and rewrites the last one when only it changes.

    Errors: every method raises StoreUnavailable where DynamoDB does not answer.
    """

    def __init__(self, table: Table) -> None:
        self._table = RetryableTable(table)

    async def list_for(self, order_id: str) -> list[tuple[int, Decision]]:
        """The stored decisions about an order with their numbers, oldest first.

        DynamoDB: Query, consistent, one round trip.
        """
        query = Query(pk=f"ORDER#{order_id}", prefix="DECISION#", limit=STORED_MAX)
        page = await self._table.query(query)
        stored = [(item["number"], _decoder.decode(item["decision"])) for item in page.items]
        return sorted(stored, key=lambda each: each[0])

    async def put(self, order_id: OrderId, number: int, decision: Decision) -> None:
        """Overwrite a decision, after further searches have come to the same.

        DynamoDB: one PutItem; repeating it changes nothing.
        """
        await self._table.transact([write_decision(order_id, number, decision)])
