"""Asking the HTTP endpoints: a desk on real stores, a client for any role, bodies of orders."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from dispatch.clock import ManualClock
from dispatch.settings import Settings
from dispatch.storage.redis_client import RedisClients, Scripts
from handlers.app.composition import HTTP_MODULES, Infrastructure, compose
from handlers.app.contexts import DESK, Desk
from handlers.http.framework.envelope import HTTP_EDGE, HttpEdge, register_routes
from handlers.sessions.auth import Tokens, UserType
from handlers.sessions.client_address import TrustedProxies
from handlers.sessions.origins import AllowedOrigins
from handlers.sessions.rate_limits import RateLimits
from handlers.sockets.gate import http_gate
from ledger.dynamodb.client import DynamoTable

SECRET = "whsec_" + "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"

# Who asks, as in the tokens: (type, id).
Actor = tuple[UserType, str]
ADA: Actor = ("USER", "usr_ada")
CHEZ_ADA: Actor = ("VENDOR", "ven_1")
AWA: Actor = ("RIDER", "rdr_1")
ADMIN: Actor = ("ADMIN", "adm_1")


class ApiResponse(NamedTuple):
    """What came back; `data` or `error` is None."""

    status: int
    data: Any
    error: Any
    headers: Any


class ApiClient:
    """Asks as whoever it is told to."""

    def __init__(self, client: TestClient[Any, Any], desk: Desk, tokens: Tokens) -> None:
        self.client = client
        self.desk = desk
        self.tokens = tokens

    async def request(
        self, actor: Actor | None, request_line: str, body: object = None, key: str | None = None
    ) -> ApiResponse:
        """Ask `line`, as in "GET /orders"."""
        method, path = request_line.split(" ", 1)
        headers = {"Idempotency-Key": key} if key is not None else {}
        if actor is not None:
            token = self.tokens.issue(*actor, 600, self.desk.clock.now_ms())
            headers["Authorization"] = f"Bearer {token}"
        return await self.request_raw(method, path, headers, json=body)

    async def request_raw(
        self, method: str, path: str, headers: dict[str, str], **body: Any
    ) -> ApiResponse:
        """Ask with headers and a body of one's own."""
        url = f"/api/v1{path}"
        async with self.client.request(method, url, headers=headers, **body) as got:
            told = await got.json()
            assert told["success"] is (got.status < 400)
            return ApiResponse(got.status, told.get("data"), told.get("error"), got.headers)

    async def fund(self, actor: Actor, amount: int) -> None:
        """Fill a wallet through the sandbox."""
        body = {"amount": amount, "provider": "sandbox"}
        assert (await self.request(actor, "POST /wallet/topup", body)).status == 201

    async def open_shop(self, **items: dict[str, Any]) -> None:
        """Chez Ada has a place, is open, and sells `items` (one dish where none is named)."""
        who = CHEZ_ADA
        profile = {
            "name": "Chez Ada",
            "location": {"lat": 4.05, "lng": 9.7, "address": "Akwa"},
            "online": True,
        }
        assert (await self.request(who, "PUT /vendor/profile", profile)).status == 200
        for item_id, item in (items or {"ndole": {"name": "Ndolé", "price": 2500}}).items():
            assert (await self.request(who, f"PUT /vendor/items/{item_id}", item)).status == 200


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
    """The body of a parcel's order."""
    return {
        "orderType": "PACKAGE",
        "pickup": {"lat": 4.05, "lng": 9.7},
        "dropoff": {"lat": 4.06, "lng": 9.7},
        "packageDetails": {"category": "papers", "weight": weight},
        "recipient": {"name": "Eto", "phone": "+237600000000"},
        "paymentMethod": method,
    }


def build_desk(table: DynamoTable, redis: RedisClients, settings: Settings) -> Desk:
    """A desk as the server wires it, with none of its loops running; its clock stands still."""
    basis = Infrastructure(settings, ManualClock(), table, redis, Scripts(redis.commands), "node-a")
    return compose(basis)[0]


async def serve(desk: Desk) -> AsyncIterator[ApiClient]:
    """The endpoints on a port of their own."""
    app, tokens = web.Application(middlewares=[http_gate]), Tokens(desk.settings)
    app[DESK] = desk
    ours = desk.settings
    app[HTTP_EDGE] = HttpEdge(
        ours, desk.clock, tokens, RateLimits(ours), AllowedOrigins(ours), TrustedProxies(ours)
    )
    for room in HTTP_MODULES:
        register_routes(app, room.ROUTES)
    async with TestClient(TestServer(app)) as client:
        yield ApiClient(client, desk, tokens)
