"""The HTTP application: every endpoint module is served, and the readiness probe while stopping."""

import pytest

from handlers.app.application import HTTP_MODULES, build_application
from handlers.app.composition import compose
from handlers.http.framework.envelope import ROUTES
from handlers.sessions.auth import Tokens
from handlers.sessions.rate_limits import RateLimits
from tests.handlers.app.conftest import OpenInfrastructure

pytestmark = pytest.mark.engines


@pytest.mark.parametrize(("role", "has_endpoints"), [("all", True), ("engine", False)])
async def test_every_endpoint_module_is_served_by_a_role_with_sockets(
    infrastructure: OpenInfrastructure, role: str, has_endpoints: bool
):
    """Another role has the health probes, and the metrics under --dev."""
    shared = {"REDIS_URL": "redis://shared", "DYNAMODB_ENDPOINT": "http://shared"}
    built = infrastructure(ROLE=role, **shared)
    services, _ = compose(built)
    limits, tokens = RateLimits(built.settings), Tokens(built.settings)
    app = build_application(built, services, limits, tokens, lambda: False)
    served = {(route.method, route.path) for route in app[ROUTES]}
    endpoints = {(route.method, route.path) for module in HTTP_MODULES for route in module.ROUTES}
    assert {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")} <= served
    assert (endpoints <= served) is has_endpoints
    assert has_endpoints or not endpoints & served
