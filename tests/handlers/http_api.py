"""HTTP test client: the real endpoints on real stores, a client for any role, order bodies."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from dispatch.clock import ManualClock
from dispatch.settings import Settings
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.wire.phones import PhoneNumbers
from handlers.app.application import HTTP_MODULES
from handlers.app.background_tasks import BackgroundTasks
from handlers.app.composition import compose
from handlers.app.http_contexts import add_http_contexts
from handlers.app.infrastructure import Infrastructure
from handlers.app.services import Services
from handlers.http.framework.envelope import HTTP_EDGE, HttpEdge, register_routes
from handlers.http.framework.middleware import http_gate
from handlers.sessions.auth import Tokens, UserType
from handlers.sessions.client_address import TrustedProxies
from handlers.sessions.origins import AllowedOrigins
from handlers.sessions.rate_limits import RateLimits
from ledger.dynamodb.client import DynamoTable
from ledger.posting.ledger import Ledger

SECRET = "whsec_" + "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
PAYOUT_SECRET = "whsec_" + "cGF5b3V0cGF5b3V0cGF5b3V0cGF5b3V0"
# Of another payout provider.
MOMO_SECRET = "whsec_" + "bW9tb21vbW9tb21vbW9tb21vbW9tb21v"

# A caller, as in its token: (user type, id).
Actor = tuple[UserType, str]
ADA: Actor = ("USER", "usr_ada")
CHEZ_ADA: Actor = ("VENDOR", "ven_1")
AWA: Actor = ("RIDER", "rdr_1")
ADMIN: Actor = ("ADMIN", "adm_1")
SECOND_ADMIN: Actor = ("ADMIN", "adm_2")


class ApiResponse(NamedTuple):
    """A decoded response; `data` or `error` is None."""

    status: int
    data: Any
    error: Any
    headers: Any


class ApiClient:
    """Sends requests as any actor."""

    def __init__(
        self,
        client: TestClient[Any, Any],
        services: Services,
        background: BackgroundTasks,
        tokens: Tokens,
        infrastructure: Infrastructure,
    ) -> None:
        self.client = client
        self.services = services
        self.background = background
        self.tokens = tokens
        assert isinstance(infrastructure.clock, ManualClock)
        self.clock = infrastructure.clock
        self.table = infrastructure.table
        self.redis = infrastructure.redis
        # A ledger beside the server's own, for entries that no endpoint makes.
        self.ledger = Ledger(self.table, self.clock.now_ms, 1, 0)

    def auth_headers(self, actor: Actor) -> dict[str, str]:
        """The Authorization header of an actor."""
        token = self.tokens.issue(*actor, 600, self.clock.now_ms())
        return {"Authorization": f"Bearer {token}"}

    async def request(
        self, actor: Actor | None, request_line: str, body: object = None, key: str | None = None
    ) -> ApiResponse:
        """Send a request such as "GET /orders", with an idempotency key if one is given."""
        method, path = request_line.split(" ", 1)
        headers = {"Idempotency-Key": key} if key is not None else {}
        if actor is not None:
            headers |= self.auth_headers(actor)
        return await self.request_raw(method, path, headers, json=body)

    async def request_raw(
        self, method: str, path: str, headers: dict[str, str], **body: Any
    ) -> ApiResponse:
        """Send a request with these headers and body."""
        url = f"/api/v1{path}"
        async with self.client.request(method, url, headers=headers, **body) as response:
            answer = await response.json()
            assert answer["success"] is (response.status < 400)
            data, error = answer.get("data"), answer.get("error")
            return ApiResponse(response.status, data, error, response.headers)

    async def fund(self, actor: Actor, amount: int) -> None:
        """Fill a wallet through the sandbox."""
        body = {"amount": amount, "provider": "sandbox"}
        assert (await self.request(actor, "POST /wallet/topup", body)).status == 201

    async def open_shop(self, **items: dict[str, Any]) -> None:
        """Give Chez Ada a location, open it, and put `items` on sale (by default one dish)."""
        profile = {
            "name": "Chez Ada",
            "location": {"lat": 4.05, "lng": 9.7, "address": "Akwa"},
            "online": True,
        }
        assert (await self.request(CHEZ_ADA, "PUT /vendor/profile", profile)).status == 200
        for item_id, item in (items or {"ndole": {"name": "Ndolé", "price": 2500}}).items():
            saved = await self.request(CHEZ_ADA, f"PUT /vendor/items/{item_id}", item)
            assert saved.status == 200

    async def available_xaf(self, actor: Actor) -> int:
        """What an actor may spend."""
        return (await self.request(actor, "GET /wallet/balance")).data["availableBalance"]

    async def agree(self, proposed: ApiResponse) -> ApiResponse:
        """The second operator approves what the first one proposed."""
        assert proposed.status == 202, proposed
        approval_id = proposed.data["approvalId"]
        return await self.request(SECOND_ADMIN, f"POST /admin/approvals/{approval_id}/approve")

    async def trial_balance_total(self) -> int:
        """The sum over all accounts, which is to be zero."""
        return (await self.request(ADMIN, "GET /admin/ledger/trial-balance")).data["total"]


def goods_order(
    *items: tuple[str, int], method: str = "WALLET", kind: str = "FOOD"
) -> dict[str, Any]:
    """The body of an order from Chez Ada."""
    lines = items or (("ndole", 2),)
    return {
        "orderType": kind,
        "vendorId": "ven_1",
        "items": [{"itemId": item, "quantity": quantity} for item, quantity in lines],
        "deliveryAddress": {"lat": 4.06, "lng": 9.71, "address": "Bali"},
        "paymentMethod": method,
    }


def package_order(weight: float = 2.0, method: str = "CASH") -> dict[str, Any]:
    """The body of a parcel order."""
    return {
        "orderType": "PACKAGE",
        "pickup": {"lat": 4.05, "lng": 9.7},
        "dropoff": {"lat": 4.06, "lng": 9.7},
        "packageDetails": {"category": "papers", "weight": weight},
        "recipient": {"name": "Eto", "phone": "+237600000000"},
        "paymentMethod": method,
    }


@asynccontextmanager
async def run_api(
    table: DynamoTable, redis: RedisClients, settings: Settings
) -> AsyncIterator[ApiClient]:
    """Serve the endpoints as the server wires them, without sockets and background tasks.

    The clock stands still until a test advances it.
    """
    clock = ManualClock()
    infrastructure = Infrastructure(
        settings, clock, table, redis, Scripts(redis.commands), "node-a"
    )
    services, background = compose(infrastructure)
    app, tokens = web.Application(middlewares=[http_gate]), Tokens(settings)
    add_http_contexts(app, services)
    app[HTTP_EDGE] = HttpEdge(
        clock,
        tokens,
        RateLimits(settings),
        AllowedOrigins(settings),
        TrustedProxies(settings),
        PhoneNumbers(settings.phone_region),
        standing_of=services.barred.standing_of,
    )
    for module in HTTP_MODULES:
        register_routes(app, module.ROUTES)
    async with TestClient(TestServer(app)) as client:
        yield ApiClient(client, services, background, tokens, infrastructure)
