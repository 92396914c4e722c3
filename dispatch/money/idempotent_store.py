"""Idempotent store: writes that keep the first answer to their request in the same transaction."""

from collections.abc import Sequence
from typing import Any

import msgspec

from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.events.audit_records import OperatorAct, audit_record
from dispatch.events.idempotency_records import RequestKey, write_record
from dispatch.events.kept_answers import KeptAnswers
from dispatch.storage.dynamodb_errors import RetryableTable
from ledger.dynamodb.table import Item, Key, Table, TransactionCancelled, Write

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


class KeptRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a request in the transaction of its effect.

    The answer, under the request's key if it has one; where an operator sent it, its act; where
    another operator proposed the act, the decision about the approval.
    """

    answer: Answer
    request_key: RequestKey | None = None
    act: OperatorAct | None = None
    decision: Write | None = None


def not_pending(item: Item | None) -> Refused:
    """The refusal of a decision about an approval that is decided or expired by now."""
    state = item.get("approvalState", "gone") if item else "gone"
    return Refused(
        Refusal.WRONG_STATE, f"the approval is {'expired' if state == 'PENDING' else state}"
    )


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

    async def _get_known(self, key: Key, what: str) -> Item:
        """An item that must exist, consistently read; `what` names it in the refusal.

        Errors: Refused NOT_FOUND.
        DynamoDB: GetItem.
        """
        item = await self._table.get(key)
        if item is None:
            raise Refused(Refusal.NOT_FOUND, f"there is no {what}")
        return item

    async def _transact(self, writes: Sequence[Write], kept: KeptRequest) -> Answer:
        """Write a transaction with its answer; a repeated request gets the first answer.

        Errors: WriteConflict; Refused CONFLICT where the key was used for another body,
        WRONG_STATE where the approval is decided already.
        DynamoDB: one transaction, and one GetItem where it is cancelled.
        """
        try:
            await self._table.transact([*writes, *self._records(kept)])
        except TransactionCancelled as cancelled:
            first = await self.find_answer(kept.request_key)
            if first is not None:
                return first
            position = cancelled.failed_positions()[0]
            item = cancelled.reasons[position].item
            if position >= len(writes):
                raise not_pending(item) from cancelled
            raise WriteConflict(position, item) from cancelled
        return kept.answer

    def _records(self, kept: KeptRequest) -> list[Write]:
        """The writes of what is kept; the decision is the first, and alone can fail."""
        now_ms = self._clock.now_ms()
        records: list[Write] = [] if kept.decision is None else [kept.decision]
        if kept.request_key is not None:
            records.append(write_record(kept.request_key, kept.answer, now_ms))
        if kept.act is not None:
            records.append(audit_record(kept.act, now_ms))
        return records
