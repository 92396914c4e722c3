"""Payments: top-ups and order payments by a payment provider, booked when the provider confirms."""

from typing import Any

import msgspec
import structlog

from dispatch import ids
from dispatch.errors import Refusal, Refused
from dispatch.events.idempotency_records import RequestKey
from dispatch.ids import OrderId
from dispatch.money.idempotent_store import Answer
from dispatch.money.ledger_errors import translate_ledger_errors
from dispatch.money.payment_store import PaymentStore
from dispatch.orders.service import OrderService
from dispatch.orders.unit_of_work import Caller
from dispatch.wire.http.wallets import TopUp
from dispatch.wire.webhooks import PAYMENT_FAILED, PAYMENT_SUCCEEDED, PaymentEvent, PaymentReport
from ledger.core import facts
from ledger.core.accounts import user
from ledger.core.money import CURRENCY
from ledger.posting.errors import LedgerRefused
from ledger.posting.ledger import Ledger
from ledger.records.payments import PaymentState, ProviderPayment
from ledger.reporting.statements import Statements

# The name of the provider that only a server with --dev has: it confirms every payment at once.
SANDBOX = "sandbox"

# How often balance and debt are read again because they changed meanwhile.
NETTING_ATTEMPTS = 3

log = structlog.get_logger(__name__)


class PaymentSources(msgspec.Struct, frozen=True, kw_only=True):
    """Which providers may be used: the sandbox, and others if their webhooks can be verified."""

    sandbox: bool
    webhooks: bool
    # Those whose events can be verified although not every provider's can.
    providers: frozenset[str] = frozenset()


class PaymentService:
    """Takes top-ups and the payments of orders.

    Errors: every method raises StoreUnavailable.
    """

    def __init__(
        self,
        payments: PaymentStore,
        ledger: Ledger,
        order_service: OrderService,
        sources: PaymentSources,
        statements: Statements,
    ) -> None:
        self._statements = statements
        self._payments = payments
        self._ledger = ledger
        self._order_service = order_service
        self._sources = sources

    async def top_up(self, caller: Caller, body: TopUp) -> Answer:
        """Ask a provider for money into the caller's wallet.

        The sandbox pays before the answer; any other provider confirms later by a webhook event.

        Errors: Refused SERVICE_DISABLED for a provider that could not confirm; CONFLICT where the
        request key was used for another body.
        """
        self.check_provider(body.provider)
        started = await self._start_payment(caller, body)
        if body.provider != SANDBOX:
            return started
        report = PaymentReport(
            payment_id=started["paymentId"], amount=body.amount, currency=CURRENCY
        )
        return await self._confirm_payment(SANDBOX, report)

    def accepts_provider(self, provider: str) -> bool:
        """Whether a provider could confirm a payment here."""
        sources = self._sources
        if provider == SANDBOX:
            return sources.sandbox
        return sources.webhooks or provider in sources.providers

    def check_provider(self, provider: str) -> None:
        """Refuse a provider that could never confirm a payment.

        Errors: Refused SERVICE_DISABLED.
        """
        if self.accepts_provider(provider):
            return
        if provider == SANDBOX:
            message = "no payment provider collects here; the sandbox needs a server in --dev"
        else:
            message = f"provider {provider} has no secret in PAYMENT_WEBHOOK_SECRETS"
        raise Refused(Refusal.SERVICE_DISABLED, message)

    async def _start_payment(self, caller: Caller, body: TopUp) -> Answer:
        """Write a payment down before the provider is asked; a repeat gets the first answer."""
        first = await self._payments.find_answer(caller.request_key)
        if first is not None:
            return first
        payment = ProviderPayment(
            provider=body.provider,
            payment_id=ids.new_id("pay"),
            user_id=caller.id,
            amount=body.amount,
        )
        answer = {**_payment_view(payment), "status": PaymentState.PENDING.value}
        return await self._payments.start(payment, answer, caller.request_key)

    async def pay_by_sandbox(self, order: dict[str, Any]) -> None:
        """Confirm the payment of an order that was placed with the sandbox; idempotent.

        Shapes: `order` is the order as its customer sees it, JSON.
        """
        payment = order["payment"]
        if payment.get("provider") != SANDBOX or not self._sources.sandbox:
            return
        report = PaymentReport(
            payment_id=payment["paymentId"], amount=order["pricing"]["total"], currency=CURRENCY
        )
        await self._confirm_payment(SANDBOX, report)

    async def handle_webhook_event(
        self, provider: str, event: PaymentEvent, request_key: RequestKey
    ) -> Answer:
        """Apply a provider's event, once for each event id; an unknown type changes nothing.

        Errors: Refused NOT_FOUND for an unknown payment; CONFLICT for another amount, or another
        event under the same id; MALFORMED for another currency.
        """
        first = await self._payments.find_answer(request_key)
        if first is not None:
            return first
        # Concurrent copies of an event are all applied; the ledger posts a payment once.
        answer = await self._apply_event(provider, event)
        return await self._payments.save_answer(request_key, answer)

    async def _apply_event(self, provider: str, event: PaymentEvent) -> Answer:
        if event.data.currency != CURRENCY:
            raise Refused(Refusal.MALFORMED, f"data.currency: only {CURRENCY} is taken")
        if event.type == PAYMENT_SUCCEEDED:
            return await self._confirm_payment(provider, event.data)
        if event.type == PAYMENT_FAILED:
            return await self._fail_payment(provider, event.data)
        return {"ignored": event.type}

    async def _confirm_payment(self, provider: str, report: PaymentReport) -> Answer:
        """Book a confirmed payment into the wallet or order that it was asked for, once."""
        payment = await self._get_payment(provider, report)
        answer = {**_payment_view(payment), "status": PaymentState.SUCCESS.value}
        if payment.order_id is not None:
            await self._confirm_order(payment, payment.order_id)
            return answer
        fact = facts.TopUp(payment.user_id, payment.amount, provider, payment.payment_id)
        with translate_ledger_errors():
            posted = await self._ledger.post(fact)
            await self._net_debt(payment)
        line = posted.lines[user(payment.user_id)]
        return {**answer, "balance": line.balance_after, "transactionId": line.transaction_id}

    async def _net_debt(self, payment: ProviderPayment) -> None:
        """Pay what the customer owes from the wallet that money has arrived in.

        A repeated report of the payment finishes what a crash left undone. A frozen wallet pays
        nothing; one that changes all the time pays with the next top-up.
        """
        fact_id = f"net-{payment.payment_id}"
        for _ in range(NETTING_ATTEMPTS):
            owed = await self._statements.owner_balance("USER", payment.user_id)
            amount = min(owed.debt, owed.available)
            if amount <= 0:
                return
            fact = facts.Netting(fact_id, "USER", payment.user_id, cash=0, debt=amount)
            try:
                await self._ledger.post(fact)
            except LedgerRefused as refused:
                if refused.code == "frozen":
                    return
                if refused.code != "insufficient_funds":
                    raise
            else:
                return

    async def _confirm_order(self, payment: ProviderPayment, order_id: str) -> None:
        # The order may have been cancelled since, and its money be back in the wallet.
        if payment.state is PaymentState.SUCCESS:
            return
        with translate_ledger_errors():
            await self._order_service.payment_confirmed(OrderId(order_id))

    async def _fail_payment(self, provider: str, report: PaymentReport) -> Answer:
        """Mark a payment as failed, unless it has succeeded since; inform an order's customer."""
        payment = await self._get_payment(provider, report)
        state = PaymentState.FAILED
        if not await self._payments.fail(payment, report.reason):
            state = (await self._get_payment(provider, report)).state
        if state is PaymentState.FAILED and payment.order_id is not None:
            await self._order_service.payment_failed(OrderId(payment.order_id), report.reason)
        log.info("payment_failed", provider=provider, payment=payment.payment_id, state=state)
        return {**_payment_view(payment), "status": state.value}

    async def _get_payment(self, provider: str, report: PaymentReport) -> ProviderPayment:
        with translate_ledger_errors():
            return await self._ledger.match_payment(provider, report.payment_id, report.amount)


def _payment_view(payment: ProviderPayment) -> Answer:
    view: Answer = {
        "paymentId": payment.payment_id,
        "provider": payment.provider,
        "amount": payment.amount,
        "currency": CURRENCY,
    }
    if payment.order_id is not None:
        view["orderId"] = payment.order_id
    return view
