"""Builds the money services: payments, settlement, payouts, corrections and the ledger monitor."""

from typing import NamedTuple

from dispatch.accounts.standing import StandingRules
from dispatch.catalogue.promotions import Promotions
from dispatch.clock import Clock
from dispatch.leadership.order_timeouts import OrderTimeouts
from dispatch.money.approvals.proposals import Proposals
from dispatch.money.approvals.service import ApprovalService, Executors
from dispatch.money.approvals.store import ApprovalStore
from dispatch.money.correction_store import CorrectionStore
from dispatch.money.corrections import CorrectionService
from dispatch.money.ledger_monitor import LedgerMonitor
from dispatch.money.payment_store import PaymentStore
from dispatch.money.payments import PaymentService, PaymentSources
from dispatch.money.payouts.decisions import DecisionStores
from dispatch.money.payouts.gate_store import PayoutGateStore
from dispatch.money.payouts.providers import (
    MANUAL,
    SANDBOX,
    ManualProvider,
    NamedProvider,
    SandboxProvider,
)
from dispatch.money.payouts.services import PayoutBooks, PayoutServices, build_payout_services
from dispatch.money.payouts.store import PayoutStore
from dispatch.money.settlement_worker import SettlementWorker
from dispatch.orders.store import OrderStore
from dispatch.settings import Settings
from handlers.app.infrastructure import Infrastructure
from handlers.app.setup.orders import OrderParts
from handlers.gateways.payout_gateway import PayoutGateway
from ledger.reporting.audit import Audit
from ledger.reporting.history import History
from ledger.reporting.statements import Statements


class MoneyServices(NamedTuple):
    """Everything that moves or shows money, on one ledger."""

    payment_service: PaymentService
    settlement_worker: SettlementWorker
    order_timeouts: OrderTimeouts
    payouts: PayoutServices
    correction_service: CorrectionService
    statements: Statements
    history: History
    payout_store: PayoutStore
    approval_service: ApprovalService
    promotions: Promotions
    ledger_monitor: LedgerMonitor


def build_money_services(infrastructure: Infrastructure, orders: OrderParts) -> MoneyServices:
    """The services as the settings configure them."""
    settings, clock, table = infrastructure.settings, infrastructure.clock, infrastructure.table
    ledger, order_service = orders.ledger, orders.order_service
    sources = PaymentSources(
        sandbox=settings.dev,
        webhooks=bool(settings.webhook_secret),
        providers=frozenset(settings.payment_secrets),
    )
    rules = StandingRules(settings.require_approval)
    approvals = ApprovalStore(table, clock)
    stores = DecisionStores(
        payouts=PayoutStore(table, clock, rules),
        gate=PayoutGateStore(table, clock),
        postings=CorrectionStore(table, ledger, clock, rules),
        proposals=Proposals(approvals, settings.two_person_above_xaf, clock),
    )
    books = PayoutBooks(Statements(table), ledger, orders.lookups.alerts.raise_alert)
    payouts = build_payout_services(stores, books, payout_provider(settings, clock), clock)
    corrections = CorrectionService(stores.postings, OrderStore(table), stores.proposals, clock)
    executors = Executors(corrections, payouts.decisions)
    return MoneyServices(
        payment_service=PaymentService(
            PaymentStore(table, clock), ledger, order_service, sources, books.statements
        ),
        settlement_worker=SettlementWorker(order_service, ledger, clock),
        order_timeouts=OrderTimeouts(order_service, OrderStore(table), clock),
        payouts=payouts,
        correction_service=corrections,
        statements=books.statements,
        history=History(table),
        payout_store=stores.payouts,
        approval_service=ApprovalService(approvals, executors, clock),
        promotions=Promotions(table, clock),
        ledger_monitor=LedgerMonitor(stores.gate, lambda: Audit(table, clock.now_ms), clock),
    )


def payout_provider(settings: Settings, clock: Clock) -> NamedProvider:
    """The provider of new payouts: the operator's gateway, the sandbox, or payment by hand."""
    if settings.payout_url is not None:
        gateway = PayoutGateway(settings.payout_url, settings.payout_url_secret, clock)
        return NamedProvider(settings.payout_provider, gateway)
    if settings.dev:
        return NamedProvider(SANDBOX, SandboxProvider())
    return NamedProvider(MANUAL, ManualProvider())
