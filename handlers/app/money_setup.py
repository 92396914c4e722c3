"""Where money is taken in, settled, paid out and looked after: built once, of one set of books."""

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
    """Each by its name at the desk."""

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
    """The counters as the settings want them."""
    tills = PaymentSources(sandbox=settings.dev, webhooks=bool(settings.webhook_secret))
    return MoneyServices(
        payment_service=PaymentService(table, ledger, order_service, tills, clock),
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
    """Who pays out: the operator's gateway, a developer's sandbox, or a person who says so."""
    if settings.payout_url is not None:
        bank = PayoutGateway(settings.payout_url, settings.webhook_secret, clock)
        return settings.payout_provider, bank
    return (SANDBOX, SandboxProvider()) if settings.dev else (MANUAL, ManualProvider())
