"""Money from outside: asked for at a provider, and believed only when the provider says so."""

from typing import Any

import msgspec
import structlog

from dispatch import ids
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.events.idempotency_records import Receipt, write_receipt
from dispatch.events.kept_answers import Answers
from dispatch.money.ledger_errors import in_our_words
from dispatch.orders.service import Flow
from dispatch.orders.unit_of_work import Caller
from dispatch.storage.dynamodb_errors import Answering
from dispatch.wire.http.requests import TopUp
from dispatch.wire.webhooks import FAILED, SUCCEEDED, PaymentEvent, PaymentNews
from ledger.core import plan
from ledger.core.accounts import user
from ledger.core.money import CURRENCY
from ledger.dynamodb.table import Table, TransactionCancelled
from ledger.posting.ledger import Ledger
from ledger.records.payments import Payment, PaymentState, fail_payment, start_payment

# Plays the provider where a developer has none: it confirms whatever it is asked for, at once.
SANDBOX = "sandbox"

log = structlog.get_logger(__name__)


class Tills(msgspec.Struct, frozen=True, kw_only=True):
    """Where money may come from; `webhooks` says that events can be checked at all."""

    sandbox: bool
    webhooks: bool


class Cashier:
    """Takes top-ups and the payments of orders."""

    def __init__(
        self, table: Table, ledger: Ledger, flow: Flow, tills: Tills, clock: Clock
    ) -> None:
        self._table = Answering(table)
        self._answers = Answers(table, clock)
        self._ledger = ledger
        self._flow = flow
        self._tills = tills
        self._clock = clock

    async def top_up(self, caller: Caller, body: TopUp) -> dict[str, Any]:
        """Ask a provider for money into the caller's wallet.

        The sandbox pays before the answer; any other provider says later, by an event.

        Errors: Refused SERVICE_DISABLED for a provider nobody could hear from; CONFLICT.
        """
        self.check_till(body.provider)
        asked = await self._ask(caller, body)
        if body.provider != SANDBOX:
            return asked
        paid = PaymentNews(payment_id=asked["paymentId"], amount=body.amount, currency=CURRENCY)
        return await self._pay(SANDBOX, paid)

    def check_till(self, provider: str) -> None:
        """Refuse a provider from whom no word could ever come.

        Errors: Refused SERVICE_DISABLED.
        """
        if provider == SANDBOX and not self._tills.sandbox:
            raise Refused(Refusal.SERVICE_DISABLED, "the sandbox provider needs a server in --dev")
        if provider != SANDBOX and not self._tills.webhooks:
            raise Refused(
                Refusal.SERVICE_DISABLED, f"provider {provider} needs WEBHOOK_SECRET to be set"
            )

    async def _ask(self, caller: Caller, body: TopUp) -> dict[str, Any]:
        """Write down what is asked for; a repeat finds what was asked before."""
        first = await self._answers.find(caller.receipt)
        if first is not None:
            return first
        payment = Payment(
            provider=body.provider,
            payment_id=ids.mint("pay"),
            user_id=caller.id,
            amount=body.amount,
        )
        answer = {**_view(payment), "status": PaymentState.PENDING.value}
        now_ms = self._clock.now_ms()
        writes = [start_payment(payment, now_ms)]
        if caller.receipt is not None:
            writes.append(write_receipt(caller.receipt, answer, now_ms))
        try:
            await self._table.transact(writes)
        except TransactionCancelled:
            # A copy of the same request that ran beside was faster.
            first = await self._answers.find(caller.receipt)
            assert first is not None, "only a receipt can stand in the way of a new payment"
            return first
        return answer

    async def settle_sandbox(self, order: dict[str, Any]) -> None:
        """Let the sandbox pay an order that was just placed to be paid through it.

        `order` is the order as its customer sees it; paying twice changes nothing.
        """
        payment = order["payment"]
        if payment.get("provider") != SANDBOX or not self._tills.sandbox:
            return
        news = PaymentNews(
            payment_id=payment["paymentId"], amount=order["pricing"]["total"], currency=CURRENCY
        )
        await self._pay(SANDBOX, news)

    async def news(self, provider: str, event: PaymentEvent, receipt: Receipt) -> dict[str, Any]:
        """Carry out what a provider says, once for each event of his.

        Errors: Refused NOT_FOUND for a payment nobody asked for, CONFLICT for another amount or
            another event under the same id, MALFORMED for another currency.
        """
        first = await self._answers.find(receipt)
        if first is not None:
            return first
        # An event delivered twice at one moment is carried out twice; a payment counts once.
        return await self._answers.keep(receipt, await self._carry_out(provider, event))

    async def _carry_out(self, provider: str, event: PaymentEvent) -> dict[str, Any]:
        if event.data.currency != CURRENCY:
            raise Refused(Refusal.MALFORMED, f"data.currency: only {CURRENCY} is taken")
        if event.type == SUCCEEDED:
            return await self._pay(provider, event.data)
        if event.type == FAILED:
            return await self._fail(provider, event.data)
        return {"ignored": event.type}

    async def _pay(self, provider: str, news: PaymentNews) -> dict[str, Any]:
        """The money is there: into the wallet or the order it was asked for; once for ever."""
        payment = await self._payment(provider, news)
        answer = {**_view(payment), "status": PaymentState.SUCCESS.value}
        if payment.order_id is not None:
            await self._pay_order(payment, payment.order_id)
            return answer
        fact = plan.TopUp(payment.user_id, payment.amount, provider, payment.payment_id)
        with in_our_words():
            posted = await self._ledger.post(fact)
        line = posted.lines[user(payment.user_id)]
        return {**answer, "balance": line.balance_after, "transactionId": line.transaction_id}

    async def _pay_order(self, payment: Payment, order_id: str) -> None:
        # The order may have been called off since, and its money be back in the wallet.
        if payment.state is PaymentState.SUCCESS:
            return
        with in_our_words():
            await self._flow.payment_confirmed(order_id)

    async def _fail(self, provider: str, news: PaymentNews) -> dict[str, Any]:
        """Nothing was paid; a payment that has come in meanwhile stays.

        Of an order its customer is told.
        """
        payment = await self._payment(provider, news)
        state = PaymentState.FAILED
        try:
            now_ms = self._clock.now_ms()
            await self._table.transact([fail_payment(provider, payment.payment_id, now_ms)])
        except TransactionCancelled:
            state = (await self._payment(provider, news)).state
        if state is PaymentState.FAILED and payment.order_id is not None:
            await self._flow.payment_failed(payment.order_id, news.reason)
        log.info("payment_failed", provider=provider, payment=payment.payment_id, state=state)
        return {**_view(payment), "status": state.value}

    async def _payment(self, provider: str, news: PaymentNews) -> Payment:
        with in_our_words():
            return await self._ledger.payment(provider, news.payment_id, news.amount)


def _view(payment: Payment) -> dict[str, Any]:
    view: dict[str, Any] = {
        "paymentId": payment.payment_id,
        "provider": payment.provider,
        "amount": payment.amount,
        "currency": CURRENCY,
    }
    if payment.order_id is not None:
        view["orderId"] = payment.order_id
    return view
