"""Builds the context of each HTTP endpoint module and puts it into the application."""

from aiohttp import web

from dispatch.money.checkout import Checkout
from dispatch.wire.events import Freshness
from handlers.app.services import Services
from handlers.http.accounts import ACCOUNTS, AccountsContext
from handlers.http.admin import ADMIN, AdminContext
from handlers.http.admin_money import ADMIN_MONEY, AdminMoneyContext
from handlers.http.admin_people import ADMIN_PEOPLE, AdminPeopleContext
from handlers.http.approvals import APPROVALS, ApprovalsContext
from handlers.http.audit import AUDIT, AuditContext
from handlers.http.catalogue import CATALOGUE, CatalogueContext
from handlers.http.earnings import EarningsReport
from handlers.http.framework.idempotency import KEPT_ANSWERS
from handlers.http.orders import ORDERS, OrdersContext
from handlers.http.profiles import PROFILES, ProfilesContext
from handlers.http.promotions import PROMOTIONS, PromotionsContext
from handlers.http.service_rates import SERVICE_RATES, ServiceRatesContext
from handlers.http.tokens import TOKENS, TokensContext
from handlers.http.wallets import WALLETS, WalletsContext
from handlers.http.webhooks import WEBHOOKS, WebhooksContext, WebhookSecrets


def add_http_contexts(app: web.Application, services: Services) -> None:
    """Give each endpoint module what it uses, and nothing else."""

    def freshness(received_at_ms: int) -> Freshness:
        age_ms = services.clock.now_ms() - received_at_ms
        return services.freshness_limits.of_age(age_ms)

    app[KEPT_ANSWERS] = services.kept_answers
    app[ACCOUNTS] = AccountsContext(
        accounts=services.accounts,
        sign_ins=services.sign_ins,
        revocations=services.revocations,
        passwords=services.passwords,
        attempts=services.attempts,
        sign_in_codes=services.sign_in_codes,
        registration=services.settings.accounts,
    )
    app[TOKENS] = TokensContext(revocations=services.revocations)
    app[AUDIT] = AuditContext(audit_log=services.audit_log)
    app[CATALOGUE] = CatalogueContext(catalogue=services.catalogue)
    app[PROFILES] = ProfilesContext(
        catalogue=services.catalogue,
        riders=services.riders,
        people=services.people,
        rider_registry=services.rider_registry,
        load_rider=services.rider_loader.read,
        service_area=services.settings.area,
    )
    checkout = Checkout(
        services.order_service, services.payment_service, services.settings.payment_provider
    )
    app[SERVICE_RATES] = ServiceRatesContext(
        service_rates=services.service_rates, payment_methods=checkout.payment_methods
    )
    app[PROMOTIONS] = PromotionsContext(promotions=services.promotions)
    app[ADMIN] = AdminContext(
        orders=services.orders,
        decisions=services.decisions,
        offer_policies=services.offer_policies,
        rider_index=services.rider_index,
        freshness=freshness,
    )
    app[ADMIN_PEOPLE] = AdminPeopleContext(
        people=services.people,
        riders=services.riders,
        standing_changes=services.standing_changes,
    )
    app[ORDERS] = OrdersContext(
        checkout=checkout,
        order_service=services.order_service,
        correction_service=services.correction_service,
        orders=services.orders,
        positions=services.positions,
        trails=services.trails,
    )
    _add_money_contexts(app, services)


def _add_money_contexts(app: web.Application, services: Services) -> None:
    app[WALLETS] = WalletsContext(
        payment_service=services.payment_service,
        payout_requests=services.payouts.requests,
        payout_store=services.payout_store,
        statements=services.statements,
        history=services.history,
        earnings=EarningsReport(
            statements=services.statements, history=services.history, orders=services.orders
        ),
    )
    app[ADMIN_MONEY] = AdminMoneyContext(
        payout_decisions=services.payouts.decisions,
        payout_store=services.payout_store,
        correction_service=services.correction_service,
        cash_headroom=services.cash_headroom,
        statements=services.statements,
        history=services.history,
    )
    app[APPROVALS] = ApprovalsContext(
        approval_service=services.approval_service, cash_headroom=services.cash_headroom
    )
    app[WEBHOOKS] = WebhooksContext(
        payment_service=services.payment_service,
        payout_reports=services.payouts.reports,
        secrets=WebhookSecrets(services.settings),
    )
