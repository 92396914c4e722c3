"""Builds the money services: payments, settlement, payouts, corrections and the ledger monitor."""

from typing import NamedTuple

from dispatch.accounts.standing import StandingRules
from dispatch.catalogue.promotions import Promotions
from dispatch.clock import Clock
from dispatch.leadership.order_timeouts import OrderTimeouts
from dispatch.money.correction_store import CorrectionStore
from dispatch.money.corrections import CorrectionService
from dispatch.money.ledger_monitor import LedgerMonitor
from dispatch.money.payment_store import PaymentStore
from dispatch.money.payments import PaymentService, PaymentSources
from dispatch.money.payouts.providers import (
    MANUAL,
    SANDBOX,
    ManualProvider,
    NamedProvider,
    SandboxProvider,
)
from dispatch.money.payouts.services import PayoutServices, build_payout_services
from dispatch.money.payouts.store import PayoutStore
from dispatch.money.settlement_worker import SettlementWorker
from dispatch.orders.service import OrderService
from dispatch.orders.store import OrderStore
from dispatch.settings import Settings
from handlers.gateways.payout_gateway import PayoutGateway
from ledger.dynamodb.table import Table
from ledger.posting.ledger import Ledger
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
    promotions: Promotions
    ledger_monitor: LedgerMonitor


def build_money_services(
    table: Table, ledger: Ledger, order_service: OrderService, settings: Settings, clock: Clock
) -> MoneyServices:
    """The services as the settings configure them."""
    sources = PaymentSources(
        sandbox=settings.dev,
        webhooks=bool(settings.webhook_secret),
        providers=frozenset(settings.payment_secrets),
    )
    rules = StandingRules(settings.require_approval)
    statements, payout_store = Statements(table), PayoutStore(table, clock, rules)
    provider = payout_provider(settings, clock)
    return MoneyServices(
        payment_service=PaymentService(
            PaymentStore(table, clock), ledger, order_service, sources, statements
        ),
        settlement_worker=SettlementWorker(order_service, ledger, clock),
        order_timeouts=OrderTimeouts(order_service, OrderStore(table), clock),
        payouts=build_payout_services(payout_store, statements, ledger, provider, clock),
        correction_service=CorrectionService(
            CorrectionStore(table, ledger, clock, rules), OrderStore(table), clock
        ),
        statements=statements,
        history=History(table),
        payout_store=payout_store,
        promotions=Promotions(table, clock),
        ledger_monitor=LedgerMonitor(payout_store, lambda: Audit(table, clock.now_ms), clock),
    )


def payout_provider(settings: Settings, clock: Clock) -> NamedProvider:
    """The provider of new payouts: the operator's gateway, the sandbox, or payment by hand."""
    if settings.payout_url is not None:
        gateway = PayoutGateway(settings.payout_url, settings.payout_url_secret, clock)
        return NamedProvider(settings.payout_provider, gateway)
    if settings.dev:
        return NamedProvider(SANDBOX, SandboxProvider())
    return NamedProvider(MANUAL, ManualProvider())
