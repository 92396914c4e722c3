"""Money from outside: asked for at a provider, and believed only when the provider says so."""

from typing import Any

import msgspec
import structlog

from dispatch import ids
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.events.idempotency_records import RequestKey, write_record
from dispatch.events.kept_answers import KeptAnswers
from dispatch.ids import OrderId
from dispatch.money.ledger_errors import translate_ledger_errors
from dispatch.orders.service import OrderService
from dispatch.orders.unit_of_work import Caller
from dispatch.storage.dynamodb_errors import RetryableTable
from dispatch.wire.http.wallets import TopUp
from dispatch.wire.webhooks import PAYMENT_FAILED, PAYMENT_SUCCEEDED, PaymentEvent, PaymentReport
from ledger.core import plan
from ledger.core.accounts import user
from ledger.core.money import CURRENCY
from ledger.dynamodb.table import Table, TransactionCancelled
from ledger.posting.ledger import Ledger
from ledger.records.payments import PaymentState, ProviderPayment, fail_payment, start_payment

# Plays the provider where a developer has none: it confirms whatever it is asked for, at once.
SANDBOX = "sandbox"

log = structlog.get_logger(__name__)


class PaymentSources(msgspec.Struct, frozen=True, kw_only=True):
    """Where money may come from; `webhooks` says that events can be checked at all."""

    sandbox: bool
    webhooks: bool


class PaymentService:
    """Takes top-ups and the payments of orders."""

    def __init__(
        self,
        table: Table,
        ledger: Ledger,
        order_service: OrderService,
        sources: PaymentSources,
        clock: Clock,
    ) -> None:
        self._table = RetryableTable(table)
        self._answers = KeptAnswers(table, clock)
        self._ledger = ledger
        self._order_service = order_service
        self._sources = sources
        self._clock = clock

    async def top_up(self, caller: Caller, body: TopUp) -> dict[str, Any]:
        """Ask a provider for money into the caller's wallet.

        The sandbox pays before the answer; any other provider says later, by an event.

        Errors: Refused SERVICE_DISABLED for a provider nobody could hear from; CONFLICT.
        """
        self.check_provider(body.provider)
        asked = await self._start_payment(caller, body)
        if body.provider != SANDBOX:
            return asked
        paid = PaymentReport(payment_id=asked["paymentId"], amount=body.amount, currency=CURRENCY)
        return await self._confirm_payment(SANDBOX, paid)

    def check_provider(self, provider: str) -> None:
        """Refuse a provider from whom no word could ever come.

        Errors: Refused SERVICE_DISABLED.
        """
        if provider == SANDBOX and not self._sources.sandbox:
            raise Refused(Refusal.SERVICE_DISABLED, "the sandbox provider needs a server in --dev")
        if provider != SANDBOX and not self._sources.webhooks:
            raise Refused(
                Refusal.SERVICE_DISABLED, f"provider {provider} needs WEBHOOK_SECRET to be set"
            )

    async def _start_payment(self, caller: Caller, body: TopUp) -> dict[str, Any]:
        """Write down what is asked for; a repeat finds what was asked before."""
        first = await self._answers.find(caller.request_key)
        if first is not None:
            return first
        payment = ProviderPayment(
            provider=body.provider,
            payment_id=ids.new_id("pay"),
            user_id=caller.id,
            amount=body.amount,
        )
        answer = {**_payment_view(payment), "status": PaymentState.PENDING.value}
        now_ms = self._clock.now_ms()
        writes = [start_payment(payment, now_ms)]
        if caller.request_key is not None:
            writes.append(write_record(caller.request_key, answer, now_ms))
        try:
            await self._table.transact(writes)
        except TransactionCancelled:
            # A copy of the same request that ran beside was faster.
            first = await self._answers.find(caller.request_key)
            assert first is not None, "only a receipt can stand in the way of a new payment"
            return first
        return answer

    async def pay_by_sandbox(self, order: dict[str, Any]) -> None:
        """Let the sandbox pay an order that was just placed to be paid through it.

        `order` is the order as its customer sees it; paying twice changes nothing.
        """
        payment = order["payment"]
        if payment.get("provider") != SANDBOX or not self._sources.sandbox:
            return
        news = PaymentReport(
            payment_id=payment["paymentId"], amount=order["pricing"]["total"], currency=CURRENCY
        )
        await self._confirm_payment(SANDBOX, news)

    async def handle_webhook_event(
        self, provider: str, event: PaymentEvent, request_key: RequestKey
    ) -> dict[str, Any]:
        """Carry out what a provider says, once for each event of his.

        Errors: Refused NOT_FOUND for a payment nobody asked for, CONFLICT for another amount or
            another event under the same id, MALFORMED for another currency.
        """
        first = await self._answers.find(request_key)
        if first is not None:
            return first
        # An event delivered twice at one moment is carried out twice; a payment counts once.
        return await self._answers.save(request_key, await self._apply_event(provider, event))

    async def _apply_event(self, provider: str, event: PaymentEvent) -> dict[str, Any]:
        if event.data.currency != CURRENCY:
            raise Refused(Refusal.MALFORMED, f"data.currency: only {CURRENCY} is taken")
        if event.type == PAYMENT_SUCCEEDED:
            return await self._confirm_payment(provider, event.data)
        if event.type == PAYMENT_FAILED:
            return await self._fail_payment(provider, event.data)
        return {"ignored": event.type}

    async def _confirm_payment(self, provider: str, report: PaymentReport) -> dict[str, Any]:
        """The money is there: into the wallet or the order it was asked for; once for ever."""
        payment = await self._get_payment(provider, report)
        answer = {**_payment_view(payment), "status": PaymentState.SUCCESS.value}
        if payment.order_id is not None:
            await self._confirm_order(payment, payment.order_id)
            return answer
        fact = plan.TopUp(payment.user_id, payment.amount, provider, payment.payment_id)
        with translate_ledger_errors():
            posted = await self._ledger.post(fact)
        line = posted.lines[user(payment.user_id)]
        return {**answer, "balance": line.balance_after, "transactionId": line.transaction_id}

    async def _confirm_order(self, payment: ProviderPayment, order_id: str) -> None:
        # The order may have been called off since, and its money be back in the wallet.
        if payment.state is PaymentState.SUCCESS:
            return
        with translate_ledger_errors():
            await self._order_service.payment_confirmed(OrderId(order_id))

    async def _fail_payment(self, provider: str, report: PaymentReport) -> dict[str, Any]:
        """Nothing was paid; a payment that has come in meanwhile stays.

        Of an order its customer is told.
        """
        payment = await self._get_payment(provider, report)
        state = PaymentState.FAILED
        try:
            now_ms = self._clock.now_ms()
            await self._table.transact([fail_payment(provider, payment.payment_id, now_ms)])
        except TransactionCancelled:
            state = (await self._get_payment(provider, report)).state
        if state is PaymentState.FAILED and payment.order_id is not None:
            await self._order_service.payment_failed(OrderId(payment.order_id), report.reason)
        log.info("payment_failed", provider=provider, payment=payment.payment_id, state=state)
        return {**_payment_view(payment), "status": state.value}

    async def _get_payment(self, provider: str, report: PaymentReport) -> ProviderPayment:
        with translate_ledger_errors():
            return await self._ledger.match_payment(provider, report.payment_id, report.amount)


def _payment_view(payment: ProviderPayment) -> dict[str, Any]:
    view: dict[str, Any] = {
        "paymentId": payment.payment_id,
        "provider": payment.provider,
        "amount": payment.amount,
        "currency": CURRENCY,
    }
    if payment.order_id is not None:
        view["orderId"] = payment.order_id
    return view
