"""First answers kept on their own, for requests whose effect is in no transaction with them."""

from typing import Any

from dispatch.clock import Clock
from dispatch.events.idempotency_records import Receipt, Receipts, write_receipt
from dispatch.storage.dynamodb_errors import Answering, answering
from ledger.dynamodb.table import Table, TransactionCancelled


class Answers:
    """Finds and keeps answers; of several copies of a request one answer stays."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = Answering(table)
        self._receipts = Receipts(table)
        self._clock = clock

    async def find(self, receipt: Receipt | None) -> Any | None:
        """The first answer, or None where the request is new.

        Errors: Refused CONFLICT where the same name was used for another body; StoreUnavailable.
        """
        with answering():
            return await self._receipts.find(receipt)

    async def keep(self, receipt: Receipt | None, answer: Any) -> Any:
        """Keep `answer`, and return it, or the one that a copy of the request has kept before.

        Errors: as `find`.
        DynamoDB: one conditional Put, and one GetItem where it fails.
        """
        if receipt is None:
            return answer
        try:
            await self._table.transact([write_receipt(receipt, answer, self._clock.now_ms())])
        except TransactionCancelled:
            return await self.find(receipt)
        return answer
