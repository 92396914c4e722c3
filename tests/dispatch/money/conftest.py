"""The services of money over a vendor, a customer and a rider on real engines."""

from typing import Any

import pytest

from dispatch.events.audit_log import AuditFilter, AuditLog
from dispatch.events.idempotency_records import RequestKey, request_key
from dispatch.ids import OrderId
from dispatch.money.approvals.proposals import Proposals, keep_answer
from dispatch.money.approvals.service import ApprovalService, Executors
from dispatch.money.approvals.store import ApprovalStore
from dispatch.money.correction_store import CorrectionStore
from dispatch.money.corrections import CorrectionService
from dispatch.money.payment_store import PaymentStore
from dispatch.money.payments import PaymentService, PaymentSources
from dispatch.money.payouts.decisions import DecisionStores
from dispatch.money.payouts.gate_store import PayoutGateStore
from dispatch.money.payouts.providers import MANUAL, NamedProvider, ProviderReport, ProviderStatus
from dispatch.money.payouts.services import PayoutBooks, build_payout_services
from dispatch.money.payouts.store import PayoutStore
from dispatch.orders.unit_of_work import Caller
from dispatch.storage.paging import PageRequest
from dispatch.wire.events import Alert
from dispatch.wire.http.wallets import PayoutRequest
from dispatch.wire.webhooks import PayoutEvent, PayoutReport
from ledger.core.facts import Adjustment, AdjustmentLeg
from ledger.records.payouts import Payout
from tests.dispatch.order_scenario import OrderScenario

PROVIDER = "bank"
# More than any payout here, so that one operator decides where a test is about something else.
TWO_PERSON_ABOVE_XAF = 100_000
EARNED_XAF = 200_000
AMOUNT_XAF = 60_000


class ScriptedProvider:
    """A payout provider that answers as a test says, and records what it was asked."""

    def __init__(self) -> None:
        self.answer = ProviderReport(ProviderStatus.UNKNOWN)
        self.status = ProviderReport(ProviderStatus.UNKNOWN)
        self.submitted: list[str] = []

    async def submit(self, payout: Payout, reference: str) -> ProviderReport:
        self.submitted.append(reference)
        return self.answer

    async def check_status(self, payout: Payout, reference: str) -> ProviderReport:
        return self.status


def key(name: str, body: bytes = b"") -> RequestKey:
    """The key of a request."""
    return request_key("owner", name, body)


def vendor(name: str | None = None) -> Caller:
    """The vendor, with a request key of this name."""
    return Caller(audience="vendor", id="ven_1", request_key=None if name is None else key(name))


def rider(name: str | None = None) -> Caller:
    """The rider, with a request key of this name."""
    return Caller(audience="rider", id="rdr_1", request_key=None if name is None else key(name))


def customer(name: str | None = None) -> Caller:
    """The customer, with a request key of this name."""
    return Caller(audience="user", id="usr_1", request_key=None if name is None else key(name))


def operator(number: int = 1, name: str | None = None) -> Caller:
    """One of the operators, with a request key of this name."""
    by = f"adm_{number}"
    return Caller(audience="ops", id=by, request_key=None if name is None else key(name))


class MoneyScenario:
    """All services of money on one table, and short names for what happens before a test."""

    def __init__(self, orders: OrderScenario) -> None:
        self.orders = orders
        self.clock, self.table, self.ledger = orders.clock, orders.table, orders.ledger
        self.statements = orders.statements
        self.provider = ScriptedProvider()
        self.provider_name = PROVIDER
        self.alerts: list[Alert] = []
        self.payment_store = PaymentStore(self.table, self.clock)
        self.payments = self.payment_service(sandbox=True, webhooks=True)
        self.payout_store = PayoutStore(self.table, self.clock)
        self.payout_gate = PayoutGateStore(self.table, self.clock)
        self.correction_store = CorrectionStore(self.table, self.ledger, self.clock)
        self.approval_store = ApprovalStore(self.table, self.clock)
        self.limit_xaf(TWO_PERSON_ABOVE_XAF)

    def limit_xaf(self, above_xaf: int) -> None:
        """Build the services anew with another limit of one operator."""
        self.proposals = Proposals(self.approval_store, above_xaf, self.clock)
        self.decision_stores = DecisionStores(
            self.payout_store, self.payout_gate, self.correction_store, self.proposals
        )
        self.payouts = build_payout_services(
            self.decision_stores,
            PayoutBooks(self.statements, self.ledger, self.raise_alert),
            NamedProvider(self.provider_name, self.provider),
            self.clock,
        )
        self.corrections = CorrectionService(
            self.correction_store, self.orders.orders, self.proposals, self.clock
        )
        self.approvals = ApprovalService(
            self.approval_store, Executors(self.corrections, self.payouts.decisions), self.clock
        )

    async def raise_alert(self, alert: Alert, _every_ms: int) -> bool:
        """Keep an alert."""
        self.alerts.append(alert)
        return True

    async def audited(self) -> list[tuple[str, str, str]]:
        """Actor, action and resource of every audit record about money, oldest first."""
        records, _ = await AuditLog(self.table).list_records(AuditFilter(), PageRequest(100))
        found = [(each.actor, each.action, each.resource) for each in reversed(records)]
        # The price lists were changed when the scenario was set up.
        return [each for each in found if each[1] != "put_service"]

    def payment_service(self, *, sandbox: bool, webhooks: bool) -> PaymentService:
        """Payments of a server with or without the sandbox and webhooks."""
        sources = PaymentSources(sandbox=sandbox, webhooks=webhooks)
        return PaymentService(
            self.payment_store, self.ledger, self.orders.order_service, sources, self.statements
        )

    async def earn(self, account: str, amount: int = EARNED_XAF) -> None:
        """Fill a wallet from the bank."""
        legs = (AdjustmentLeg(account, amount), AdjustmentLeg("CLEARING#BANK.0", -amount))
        await self.ledger.post(
            Adjustment(f"earn-{account.replace('#', '-')}", legs, "opening", "adm_8", "adm_9")
        )

    async def wallet(self, kind: str, owner: str) -> tuple[int, int]:
        """What a wallet may spend and what it holds."""
        details = await self.statements.wallet_details(kind, owner)
        return details["availableBalance"], details["held"]

    async def requested_payout(self) -> Payout:
        """A payout that the vendor has requested out of its earnings."""
        await self.earn("VENDOR#ven_1")
        body = PayoutRequest(amount=AMOUNT_XAF, destination="+237 670")
        answer = await self.payouts.requests.create(vendor(), body)
        return await self.payout_store.get(answer["payoutId"])

    async def submitted_payout(self) -> Payout:
        """A payout that the provider was asked for and has not answered."""
        payout = await self.requested_payout()
        await self.payout_store.approve(payout, "adm_1", keep_answer(operator()))
        await self.payouts.submitter.process_payout(payout.payout_id)
        return await self.payout_store.get(payout.payout_id)

    async def submitted_by_hand(self) -> Payout:
        """A payout that an operator is to pay by hand."""
        self.provider_name = MANUAL
        self.limit_xaf(TWO_PERSON_ABOVE_XAF)
        return await self.submitted_payout()

    async def paid_payout(self) -> Payout:
        """A payout that the provider has paid."""
        self.provider.answer = ProviderReport(ProviderStatus.PAID)
        return await self.submitted_payout()

    async def state_of(self, payout: Payout) -> str:
        """The state of a payout now."""
        return (await self.payout_store.get(payout.payout_id)).payout_state.value

    async def delivered_order(self, **kind: Any) -> OrderId:
        """An order that the rider has delivered."""
        order_id = await self.orders.place_order(**kind)
        await self.orders.accept_order(order_id)
        await self.orders.deliver(order_id)
        return order_id

    async def settled_order(self, **kind: Any) -> OrderId:
        """An order that is delivered and settled."""
        order_id = await self.delivered_order(**kind)
        await self.orders.settlement_worker.settle(order_id)
        return order_id


def payout_event(kind: str, payout: Payout, **changes: Any) -> PayoutEvent:
    """An event of the provider about a payout; override one field and keep the rest."""
    fields: dict[str, Any] = {
        "payout_id": payout.payout_id,
        "reference": payout.provider_ref or "none",
        "amount": payout.amount,
        "currency": "XAF",
    }
    return PayoutEvent(type=kind, data=PayoutReport(**{**fields, **changes}))


@pytest.fixture
def money(order_scenario: OrderScenario) -> MoneyScenario:
    return MoneyScenario(order_scenario)
