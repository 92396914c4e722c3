"""Idempotent store: writes that keep the first answer to their request in the same transaction."""

from collections.abc import Sequence
from typing import Any

from dispatch.clock import Clock
from dispatch.events.idempotency_records import RequestKey, write_record
from dispatch.events.kept_answers import KeptAnswers
from dispatch.storage.dynamodb_errors import RetryableTable
from ledger.dynamodb.table import Item, Table, TransactionCancelled, Write

# The JSON object that a request is answered with.
Answer = dict[str, Any]


class WriteConflict(Exception):
    """A condition of a transaction failed, and no earlier request has the same key.

    `position` is that of the write in the transaction, `item` what stood in its place.
    """

    def __init__(self, position: int, item: Item | None) -> None:
        super().__init__(f"the condition of write {position} failed")
        self.position = position
        self.item = item


class IdempotentStore:
    """Base of the stores of money whose writes answer requests that may be repeated.

    Errors: every method raises StoreUnavailable.
    """

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = RetryableTable(table)
        self._answers = KeptAnswers(table, clock)
        self._clock = clock

    async def find_answer(self, request_key: RequestKey | None) -> Answer | None:
        """The first answer to a request, None where it is new.

        Errors: Refused CONFLICT where the key was used for another body.
        DynamoDB: GetItem, one round trip; none without a key.
        """
        return await self._answers.find(request_key)

    async def save_answer(self, request_key: RequestKey | None, answer: Answer) -> Answer:
        """Keep an answer whose effect is not in one transaction with it; the first one is returned.

        Errors: Refused CONFLICT where the key was used for another body.
        DynamoDB: one conditional Put, and one GetItem where it fails.
        """
        return await self._answers.save(request_key, answer)

    async def _transact(
        self, writes: Sequence[Write], request_key: RequestKey | None, answer: Answer
    ) -> Answer:
        """Write a transaction with its answer; a repeated request gets the first answer.

        Errors: WriteConflict; Refused CONFLICT where the key was used for another body.
        DynamoDB: one transaction, and one GetItem where it is cancelled.
        """
        try:
            await self._table.transact([*writes, *self._records(request_key, answer)])
        except TransactionCancelled as cancelled:
            first = await self.find_answer(request_key)
            if first is not None:
                return first
            position = cancelled.failed_positions()[0]
            raise WriteConflict(position, cancelled.reasons[position].item) from cancelled
        return answer

    def _records(self, request_key: RequestKey | None, answer: Answer) -> list[Write]:
        """The idempotency record of a request, none without a key."""
        if request_key is None:
            return []
        return [write_record(request_key, answer, self._clock.now_ms())]
