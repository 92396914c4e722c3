"""Builds the context of each HTTP endpoint module and puts it into the application."""

from aiohttp import web

from dispatch.money.checkout import Checkout
from handlers.app.contexts import Desk
from handlers.http.accounts import ACCOUNTS, AccountsContext
from handlers.http.admin import ADMIN, AdminContext
from handlers.http.admin_money import ADMIN_MONEY, AdminMoneyContext
from handlers.http.catalogue import CATALOGUE, CatalogueContext
from handlers.http.earnings import EarningsReport
from handlers.http.framework.idempotency import KEPT_ANSWERS
from handlers.http.orders import ORDERS, OrdersContext
from handlers.http.profiles import PROFILES, ProfilesContext
from handlers.http.promotions import PROMOTIONS, PromotionsContext
from handlers.http.service_rates import SERVICE_RATES, ServiceRatesContext
from handlers.http.tokens import TOKENS, TokensContext
from handlers.http.wallets import WALLETS, WalletsContext
from handlers.http.webhooks import WEBHOOKS, WebhooksContext


def add_http_contexts(app: web.Application, desk: Desk) -> None:
    """Give each endpoint module what it uses, and nothing else."""
    app[KEPT_ANSWERS] = desk.kept_answers
    app[ACCOUNTS] = AccountsContext(
        accounts=desk.accounts,
        sign_ins=desk.sign_ins,
        revocations=desk.revocations,
        passwords=desk.passwords,
        code_sender=desk.code_sender,
    )
    app[TOKENS] = TokensContext(revocations=desk.revocations)
    app[CATALOGUE] = CatalogueContext(catalogue=desk.catalogue)
    app[PROFILES] = ProfilesContext(
        catalogue=desk.catalogue,
        riders=desk.riders,
        rider_registry=desk.rider_registry,
        load_rider=desk.load_rider,
    )
    app[SERVICE_RATES] = ServiceRatesContext(service_rates=desk.service_rates)
    app[PROMOTIONS] = PromotionsContext(promotions=desk.promotions)
    app[ADMIN] = AdminContext(
        orders=desk.orders,
        decisions=desk.decisions,
        offer_policies=desk.offer_policies,
        positions=desk.positions,
        freshness=desk.freshness,
    )
    app[ORDERS] = OrdersContext(
        checkout=Checkout(desk.order_service, desk.payment_service, desk.settings.payment_provider),
        order_service=desk.order_service,
        correction_service=desk.correction_service,
        orders=desk.orders,
        positions=desk.positions,
        trails=desk.trails,
    )
    _add_money_contexts(app, desk)


def _add_money_contexts(app: web.Application, desk: Desk) -> None:
    app[WALLETS] = WalletsContext(
        payment_service=desk.payment_service,
        payout_service=desk.payout_service,
        payout_store=desk.payout_store,
        statements=desk.statements,
        history=desk.history,
        earnings=EarningsReport(
            statements=desk.statements, history=desk.history, orders=desk.orders
        ),
    )
    app[ADMIN_MONEY] = AdminMoneyContext(
        payout_service=desk.payout_service,
        payout_store=desk.payout_store,
        correction_service=desk.correction_service,
        cash_headroom=desk.cash_headroom,
        statements=desk.statements,
        history=desk.history,
    )
    app[WEBHOOKS] = WebhooksContext(
        payment_service=desk.payment_service,
        payout_service=desk.payout_service,
        webhook_secret=desk.settings.webhook_secret,
    )
