"""Builds the money services: payments, settlement, payouts, corrections and the ledger monitor."""

from typing import NamedTuple

from dispatch.catalogue.promotions import Promotions
from dispatch.clock import Clock
from dispatch.leadership.order_timeouts import OrderTimeouts
from dispatch.money.corrections import CorrectionService
from dispatch.money.ledger_monitor import LedgerMonitor
from dispatch.money.payments import PaymentService, PaymentSources
from dispatch.money.payout_providers import (
    MANUAL,
    SANDBOX,
    ManualProvider,
    PayoutProvider,
    SandboxProvider,
)
from dispatch.money.payout_store import PayoutStore
from dispatch.money.payouts import PayoutService
from dispatch.money.settlement_worker import SettlementWorker
from dispatch.orders.service import OrderService
from dispatch.orders.store import OrderStore
from dispatch.settings import Settings
from handlers.gateways.payout_gateway import PayoutGateway
from ledger.dynamodb.table import Table
from ledger.posting.ledger import Ledger
from ledger.reporting.history import History
from ledger.reporting.statements import Statements


class MoneyServices(NamedTuple):
    """Everything that moves or shows money, on one ledger."""

    payment_service: PaymentService
    settlement_worker: SettlementWorker
    order_timeouts: OrderTimeouts
    payout_service: PayoutService
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
    sources = PaymentSources(sandbox=settings.dev, webhooks=bool(settings.webhook_secret))
    return MoneyServices(
        payment_service=PaymentService(table, ledger, order_service, sources, clock),
        settlement_worker=SettlementWorker(order_service, ledger, clock),
        order_timeouts=OrderTimeouts(order_service, OrderStore(table), clock),
        payout_service=PayoutService(table, ledger, payout_provider(settings, clock), clock),
        correction_service=CorrectionService(table, ledger, clock),
        statements=Statements(table),
        history=History(table),
        payout_store=PayoutStore(table),
        promotions=Promotions(table, clock),
        ledger_monitor=LedgerMonitor(table, clock),
    )


def payout_provider(settings: Settings, clock: Clock) -> tuple[str, PayoutProvider]:
    """The provider of payouts and its name: the operator's gateway, the sandbox, or by hand."""
    if settings.payout_url is not None:
        gateway = PayoutGateway(settings.payout_url, settings.webhook_secret, clock)
        return settings.payout_provider, gateway
    return (SANDBOX, SandboxProvider()) if settings.dev else (MANUAL, ManualProvider())
