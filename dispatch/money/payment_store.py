"""Payment store: payments that a provider was asked for, in DynamoDB."""

from dispatch.events.idempotency_records import RequestKey
from dispatch.money.idempotent_store import Answer, IdempotentStore, KeptRequest, WriteConflict
from ledger.dynamodb.table import TransactionCancelled
from ledger.records.payments import ProviderPayment, fail_payment, start_payment


class PaymentStore(IdempotentStore):
    """Writes payments down before a provider is asked, and marks failed ones.

    The ledger marks successful ones when it posts them.

    Errors: every method raises StoreUnavailable.
    """

    async def start(
        self, payment: ProviderPayment, answer: Answer, request_key: RequestKey | None
    ) -> Answer:
        """Write a new payment down; a repeated request gets the first answer.

        Errors: Refused CONFLICT where the key was used for another body.
        DynamoDB: one transaction, Put PAYMENT if absent; one GetItem where it is cancelled.
        """
        started = start_payment(payment, self._clock.now_ms())
        try:
            return await self._transact(
                [started], KeptRequest(answer=answer, request_key=request_key)
            )
        except WriteConflict as conflict:
            raise AssertionError("the id of a new payment is unique") from conflict

    async def fail(self, payment: ProviderPayment, reason: str | None) -> bool:
        """Mark a pending payment as failed, and why; False where it is not pending any more.

        DynamoDB: one conditional Update.
        """
        now_ms = self._clock.now_ms()
        write = fail_payment(payment.provider, payment.payment_id, now_ms, reason)
        try:
            await self._table.transact([write])
        except TransactionCancelled:
            return False
        return True
