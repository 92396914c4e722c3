"""The HTTP application of a server: endpoints, health probes, API documents and the console."""

from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from dispatch.wire.phones import PhoneNumbers
from handlers.app.http_contexts import add_http_contexts
from handlers.app.infrastructure import Infrastructure
from handlers.app.limits import check_limits
from handlers.app.services import Services
from handlers.http import (
    accounts,
    admin,
    admin_money,
    admin_people,
    approvals,
    audit,
    catalogue,
    orders,
    profiles,
    promotions,
    service_rates,
    wallets,
)
from handlers.http import (
    tokens as token_routes,
)
from handlers.http import (
    webhooks as webhook_routes,
)
from handlers.http.framework import envelope, health
from handlers.http.framework.api_docs import add_docs
from handlers.http.framework.console import add_console
from handlers.http.framework.metrics_endpoint import MetricsEndpoint
from handlers.http.framework.middleware import http_gate
from handlers.sessions.auth import Tokens
from handlers.sessions.client_address import TrustedProxies
from handlers.sessions.origins import AllowedOrigins
from handlers.sessions.rate_limits import RateLimits
from handlers.sockets.audiences import COMMANDS

CONSOLE = Path(__file__).resolve().parents[2] / "console" / "dist"
DEV_TOKEN_TTL_S = 24 * 3600
# The endpoints, one module for each subject.
HTTP_MODULES = (
    accounts, service_rates, catalogue, profiles, orders, wallets, admin, admin_money,
    admin_people, promotions, approvals, audit, token_routes, webhook_routes,
)  # fmt: skip


def build_application(
    infrastructure: Infrastructure,
    services: Services,
    limits: RateLimits,
    tokens: Tokens,
    is_stopping: Callable[[], bool],
) -> web.Application:
    """The application for the process's role; one without sockets serves health probes only.

    While `is_stopping`, the readiness probe fails.
    """
    settings, clock = infrastructure.settings, infrastructure.clock
    app = web.Application(middlewares=[http_gate], client_max_size=settings.http_body_bytes_max)
    add_http_contexts(app, services)
    app[envelope.HTTP_EDGE] = envelope.HttpEdge(
        clock,
        tokens,
        limits,
        AllowedOrigins(settings),
        TrustedProxies(settings),
        PhoneNumbers(settings.phone_region),
        warns=settings.dev,
        standing_of=services.barred.standing_of,
    )
    probes = health.store_probes(
        infrastructure.redis, infrastructure.scripts, services.pubsub, infrastructure.table
    )
    envelope.register_routes(app, health.routes(probes, is_stopping))
    if settings.dev:
        envelope.register_routes(app, MetricsEndpoint(clock).routes())
    if not settings.has_sockets:
        return app
    routes = [route for subject in HTTP_MODULES for route in subject.ROUTES]
    # The bodies of providers have no largest size of their own.
    check_limits(settings, [route for route in routes if route not in webhook_routes.ROUTES])
    envelope.register_routes(app, routes)

    def issue_dev_token() -> str:
        return tokens.issue("ADMIN", "adm_console", DEV_TOKEN_TTL_S, clock.now_ms())

    add_docs(app, COMMANDS)
    add_console(app, dist=CONSOLE, dev_token=issue_dev_token if settings.dev else None)
    return app
