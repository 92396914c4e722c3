"""Where money is taken in, settled, paid out and looked after: built once, of one set of books."""

from typing import NamedTuple

from dispatch.catalogue.promotions import Promotions
from dispatch.clock import Clock
from dispatch.leadership.order_timeouts import Lapses
from dispatch.money.corrections import Bursar
from dispatch.money.ledger_monitor import Warden
from dispatch.money.payments import Cashier, Tills
from dispatch.money.payout_providers import (
    MANUAL,
    SANDBOX,
    Manual,
    Provider,
    Sandbox,
)
from dispatch.money.payout_store import Payouts
from dispatch.money.payouts import Payer
from dispatch.money.settlement_worker import Settler
from dispatch.orders.service import Flow
from dispatch.orders.store import Orders
from dispatch.settings import Settings
from handlers.gateways.payout_gateway import Bank
from ledger.dynamodb.table import Table
from ledger.posting.ledger import Ledger
from ledger.reporting.history import History
from ledger.reporting.statements import Statements


class Counters(NamedTuple):
    """Each by its name at the desk."""

    cashier: Cashier
    settler: Settler
    lapses: Lapses
    payer: Payer
    bursar: Bursar
    statements: Statements
    history: History
    payouts: Payouts
    promotions: Promotions
    warden: Warden


def open_counters(
    table: Table, ledger: Ledger, flow: Flow, settings: Settings, clock: Clock
) -> Counters:
    """The counters as the settings want them."""
    tills = Tills(sandbox=settings.dev, webhooks=bool(settings.webhook_secret))
    return Counters(
        cashier=Cashier(table, ledger, flow, tills, clock),
        settler=Settler(flow, ledger, clock),
        lapses=Lapses(flow, Orders(table), clock),
        payer=Payer(table, ledger, _provider(settings, clock), clock),
        bursar=Bursar(table, ledger, clock),
        statements=Statements(table),
        history=History(table),
        payouts=Payouts(table),
        promotions=Promotions(table, clock),
        warden=Warden(table, clock),
    )


def _provider(settings: Settings, clock: Clock) -> tuple[str, Provider]:
    """Who pays out: the operator's gateway, a developer's sandbox, or a person who says so."""
    if settings.payout_url is not None:
        bank = Bank(settings.payout_url, settings.webhook_secret, clock)
        return settings.payout_provider, bank
    return (SANDBOX, Sandbox()) if settings.dev else (MANUAL, Manual())
