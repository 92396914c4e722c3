"""One person as shop, customer and riders: cash orders with itself, up to a payout request."""

import asyncio
from typing import Any, NamedTuple

from bench.common.client import CommandRefused, SocketClient, connect
from bench.common.scenario import LAT, LNG
from tests.e2e.fleet import Fleet

PASSWORD = "correct horse"
# Orders that would bring the shop above the smallest payout. Units: whole XAF.
ORDERS, DISH_XAF, PAYOUT_XAF = 4, 20_000, 50_000
# An offer comes within a second where one comes at all.
OFFER_WAIT_S = 4.0
REPORT_EVERY_S = 0.5


class ApiError(Exception):
    """The server refused a request."""

    def __init__(self, step: str, code: str) -> None:
        super().__init__(step, code)
        self.code = code


class Account(NamedTuple):
    """An account that the person made with an invented phone."""

    user_type: str
    user_id: str
    token: str
    login: dict[str, str]


class Defences(NamedTuple):
    """What an honest operator and real phones have let through."""

    approves: frozenset[str] = frozenset()
    has_phone: bool = False


class SelfDealing:
    """The attack; each step raises ApiError or CommandRefused where the server stops it."""

    def __init__(self, servers: Fleet, defences: Defences) -> None:
        self._servers = servers
        self._url = servers.nodes[0].site.url
        self._defences = defences
        self._offers: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        self._sockets: dict[str, SocketClient] = {}

    async def run(self) -> dict[str, Any]:
        """Register, sell to itself for cash, and ask for the money; the payout if it came to that.

        Errors: ApiError, CommandRefused, TimeoutError where no rider is asked.
        """
        shop = await self._register("VENDOR", 1)
        customer = await self._register("USER", 2)
        riders = [await self._register("RIDER", 3), await self._register("RIDER", 4)]
        await self._open(shop)
        for rider in riders:
            await self._go_on_duty(rider)
        reports = asyncio.create_task(self._report_positions(riders))
        try:
            for _ in range(ORDERS):
                await self._sell(shop, customer)
        finally:
            reports.cancel()
        body = {"amount": PAYOUT_XAF, "destination": "+237 670 00 00 00"}
        return await self._request(shop, "POST", "/wallet/payout", body)

    def close(self) -> None:
        """Close every socket."""
        for client in self._sockets.values():
            client.close()

    async def _register(self, user_type: str, number: int) -> Account:
        login = {"userType": user_type, "phone": f"+23767000000{number}"}
        made = await self._request(None, "POST", "/auth/register", {**login, "password": PASSWORD})
        account = Account(user_type, made["userId"], made["accessToken"], login)
        if user_type in self._defences.approves:
            await self._approve(account)
        if self._defences.has_phone:
            return await self._prove_phone(account)
        return account

    async def _approve(self, account: Account) -> None:
        """An operator is deceived."""
        operator = Account("ADMIN", "adm_1", self._servers.token_signer.sign("ADMIN", "adm_1"), {})
        path = f"/admin/{account.user_type.lower()}s/{account.user_id}/standing"
        body = {"standing": "APPROVED", "reason": "looks real"}
        await self._request(operator, "POST", path, body)

    async def _prove_phone(self, account: Account) -> Account:
        """The phone exists, and its code is read from it; the account with its new token."""
        code = (await self._request(None, "POST", "/auth/otp/request", account.login))["devCode"]
        body = {**account.login, "code": code}
        proven = await self._request(None, "POST", "/auth/otp/verify", body)
        return account._replace(token=proven["accessToken"])

    async def _open(self, shop: Account) -> None:
        item = {"name": "Nothing", "price": DISH_XAF}
        await self._request(shop, "PUT", "/vendor/items/nothing", item)
        place = {"lat": LAT, "lng": LNG, "address": "Akwa"}
        profile = {"name": "Nowhere", "location": place, "online": True}
        await self._request(shop, "PUT", "/vendor/profile", profile)
        self._sockets[shop.user_id] = await connect(self._url, "/vendor", shop.token, self._ignore)

    async def _go_on_duty(self, rider: Account) -> None:
        def on_event(name: str, payload: dict[str, Any], _at_s: float) -> None:
            if name == "delivery_request":
                self._offers.put_nowait((rider.user_id, payload))

        client = await connect(self._url, "/rider", rider.token, on_event)
        self._sockets[rider.user_id] = client
        await client.call("set_availability", {"available": True})

    async def _report_positions(self, riders: list[Account]) -> None:
        while True:
            for rider in riders:
                fix = {"lat": LAT, "lng": LNG, "accuracy": 5.0}
                await self._sockets[rider.user_id].call("location_update", fix)
            await asyncio.sleep(REPORT_EVERY_S)

    async def _sell(self, shop: Account, customer: Account) -> None:
        """One cash order, from the basket to the "collected" cash."""
        body = {
            "orderType": "FOOD",
            "vendorId": shop.user_id,
            "items": [{"itemId": "nothing", "quantity": 1}],
            "deliveryAddress": {"lat": LAT + 0.001, "lng": LNG, "address": "Akwa"},
            "paymentMethod": "CASH",
        }
        order = {"orderId": (await self._request(customer, "POST", "/orders", body))["orderId"]}
        await self._sockets[shop.user_id].call("accept_order", order)
        await self._sockets[shop.user_id].call("order_ready", order)
        async with asyncio.timeout(OFFER_WAIT_S):
            rider = await self._accept_an_offer(order["orderId"])
        for step in ("arrived_pickup", "pick_up", "arrived_dropoff", "complete_delivery"):
            await rider.call(step, order)

    async def _accept_an_offer(self, order_id: str) -> SocketClient:
        while True:
            rider_id, offer = await self._offers.get()
            client = self._sockets[rider_id]
            taken = {"orderId": offer["orderId"], "offerId": offer["offerId"]}
            if offer["orderId"] == order_id:
                await client.call("accept_delivery", taken)
                return client

    async def _request(
        self, account: Account | None, method: str, path: str, body: object
    ) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {account.token}"} if account else {}
        url = f"{self._url}/api/v1{path}"
        async with self._servers.session.request(method, url, json=body, headers=headers) as answer:
            decoded = await answer.json()
        if not decoded["success"]:
            raise ApiError(f"{method} {path}", decoded["error"]["code"])
        return decoded["data"]

    @staticmethod
    def _ignore(_name: str, _payload: object, _at_s: float) -> None:
        """Events of the shop are not needed: it knows its orders."""


async def attack(servers: Fleet, defences: Defences) -> str:
    """Run the attack; the code that stopped it, "no_offer", or "payout" where nothing did."""
    attacker = SelfDealing(servers, defences)
    try:
        await attacker.run()
    except (ApiError, CommandRefused) as refused:
        return refused.code
    except TimeoutError:
        return "no_offer"
    finally:
        attacker.close()
    return "payout"
