"""Stored answers of requests whose effect is not in one transaction with the answer."""

from typing import Any

from dispatch.clock import Clock
from dispatch.events.idempotency_records import IdempotencyRecords, RequestKey, write_record
from dispatch.storage.dynamodb_errors import RetryableTable, translate_dynamodb_errors
from ledger.dynamodb.table import Table, TransactionCancelled


class KeptAnswers:
    """Finds and saves first answers; concurrent copies of a request get one answer."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = RetryableTable(table)
        self._records = IdempotencyRecords(table)
        self._clock = clock

    async def find(self, request_key: RequestKey | None) -> Any | None:
        """The first answer, None where the request is new or has no key.

        DynamoDB: GetItem, consistent.
        Errors: Refused CONFLICT where the same name was used for another body; StoreUnavailable.
        """
        with translate_dynamodb_errors():
            return await self._records.find(request_key)

    async def save(self, request_key: RequestKey | None, answer: Any) -> Any:
        """Store `answer` and return it, or the one that a copy of the request stored before.

        DynamoDB: one conditional Put, and one GetItem where it fails.
        Errors: as `find`.
        """
        if request_key is None:
            return answer
        try:
            await self._table.transact([write_record(request_key, answer, self._clock.now_ms())])
        except TransactionCancelled:
            return await self.find(request_key)
        return answer
