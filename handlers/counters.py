"""Where money is taken in, settled, paid out and looked after: built once, of one set of books."""

from typing import NamedTuple

from dispatch.bursar import Bursar
from dispatch.cashier import Cashier, Tills
from dispatch.clock import Clock
from dispatch.lapses import Lapses
from dispatch.orders.flow import Flow
from dispatch.payer import Payer
from dispatch.providers import MANUAL, SANDBOX, Manual, Provider, Sandbox
from dispatch.settings import Settings
from dispatch.settler import Settler
from dispatch.store.orders import Orders
from dispatch.store.payouts import Payouts
from dispatch.store.promotions import Promotions
from dispatch.warden import Warden
from handlers.bank import Bank
from ledger.commit import Ledger
from ledger.history import History
from ledger.statements import Statements
from ledger.table import Table


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
