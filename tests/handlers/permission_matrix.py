"""Who may do what: a row for every command and every endpoint, written by hand from the contract.

A command or endpoint without its row fails the tests, and so does a row without its command.
"""

from typing import Any, NamedTuple

from dispatch.model import DispatchState as D
from dispatch.model import OrderStatus as S

# Every place an order can stand in. Source: wire contract, order states.
STAGES: dict[str, tuple[S, D | None]] = {
    "placed": (S.PENDING, None),
    "searching": (S.ACCEPTED, D.SEARCHING),
    "offered": (S.ACCEPTED, D.OFFERED),
    "exhausted": (S.ACCEPTED, D.EXHAUSTED),
    "cooking": (S.PREPARING, D.SEARCHING),
    "assigned": (S.PREPARING, D.ASSIGNED),
    "ready": (S.READY, D.SEARCHING),
    "at pickup": (S.READY, D.AT_PICKUP),
    "carried": (S.IN_TRANSIT, D.PICKED_UP),
    "at the door": (S.IN_TRANSIT, D.AT_DROPOFF),
    "delivered": (S.DELIVERED, D.DONE),
    "settled": (S.FUNDS_DISTRIBUTED, D.DONE),
    "rejected": (S.REJECTED, None),
    "cancelled": (S.CANCELLED, None),
}
_ALL = ", ".join(STAGES)
_NOT_HIS = "placed, searching, exhausted, cooking, ready, rejected, cancelled"


class Told(NamedTuple):
    """A command: what is said, and what its owner hears in each stage.

    `ok` names the stages in which it works, `codes` those with an answer of their own; the rest is
    `otherwise`. A command about no order has no stages, and works.
    """

    body: dict[str, Any]
    ok: str = ""
    codes: dict[str, str] = {}
    otherwise: str = "wrong_state"

    @property
    def is_about_an_order(self) -> bool:
        """Whether it names an order, which may be somebody else's."""
        return "orderId" in self.body

    def expected(self, stage: str) -> str:
        """What the owner of an order in this stage hears."""
        for stages, code in self.codes.items():
            if stage in stages.split(", "):
                return code
        return "ok" if stage in self.ok.split(", ") else self.otherwise


O: dict[str, Any] = {"orderId": "{order}"}  # noqa: E741 (an order)
OFFER = {**O, "offerId": "{offer}"}
# An order that no rider has is not there for riders.
# An offer that was another one is over, whoever has the order now.
_LATE = {_NOT_HIS: "not_found"}
NOBODYS = {f"{_NOT_HIS}, offered": "not_found"}

SOCKETS: dict[tuple[str, str], Told] = {
    ("user", "subscribe_order"): Told(O, ok=_ALL),
    ("user", "unsubscribe_order"): Told(O, ok=_ALL),
    ("user", "cancel_order"): Told(
        # Once the kitchen has begun the shop's goods are lost, and operators decide.
        {**O, "reason": "late"},
        ok="placed, searching, offered, exhausted",
    ),
    ("user", "rate_order"): Told({**O, "rating": 5}, ok="delivered, settled"),
    ("vendor", "accept_order"): Told({**O, "prepMinutes": 5}, ok="placed"),
    ("vendor", "reject_order"): Told({**O, "reason": "closed"}, ok="placed"),
    ("vendor", "order_preparing"): Told(O, ok="searching, offered, exhausted"),
    ("vendor", "order_ready"): Told(O, ok="searching, offered, exhausted, cooking, assigned"),
    ("vendor", "set_online"): Told({"online": True}),
    ("rider", "location_update"): Told({"lat": 4.05, "lng": 9.7}),
    ("rider", "update_location"): Told({"lat": 4.05, "lng": 9.7}),
    ("rider", "location_batch"): Told({"fixes": [{"lat": 4.05, "lng": 9.7}]}),
    ("rider", "set_availability"): Told({"available": True}),
    ("rider", "accept_delivery"): Told(OFFER, "offered", _LATE, "offer_expired"),
    ("rider", "decline_delivery"): Told(OFFER, "offered", _LATE, "offer_expired"),
    ("rider", "arrived_pickup"): Told(O, ok="assigned", codes=NOBODYS),
    ("rider", "pick_up"): Told(O, ok="at pickup", codes=NOBODYS),
    ("rider", "arrived_dropoff"): Told(O, ok="carried", codes=NOBODYS),
    ("rider", "complete_delivery"): Told(O, ok="carried, at the door", codes=NOBODYS),
    ("rider", "release_delivery"): Told(
        {**O, "reason": "flat tyre"}, ok="assigned, at pickup", codes=NOBODYS
    ),
    ("ops", "watch_area"): Told({"bbox": [9.6, 4.0, 9.8, 4.1]}),
    ("ops", "unwatch_area"): Told({}),
    ("ops", "reassign"): Told(O, ok="searching, exhausted, cooking, assigned, ready, at pickup"),
}
# What says nothing about an order, so that it answers alike for one that is not there.
TELLS_NOTHING = frozenset({"unsubscribe_order"})

NEW_COMMAND = """
{audience}: {name} has no row. Say who may use it: add
    ("{audience}", "{name}"): Told({{"orderId": "{{order}}", ...}}, ok="the stages it works in"),
to SOCKETS in permission_matrix.py (stages: {stages}); without an orderId: Told({{...}}).
"""


class Asked(NamedTuple):
    """An endpoint: who may ask, what a good request has, and whose thing its path names.

    `roles` are spelled out here a second time on purpose. `of` is "order" where the path holds an
    order's id, which may be somebody else's.
    """

    roles: str
    body: Any = None
    query: str = ""
    of: str = ""


ANYONE = ""
_GOODS = {
    "orderType": "FOOD",
    "vendorId": "ven_1",
    "items": [{"itemId": "ndole", "quantity": 2}],
    "deliveryAddress": {"lat": 4.06, "lng": 9.71, "address": "Bali"},
    "paymentMethod": "CASH",
}
_EVERYONE = "USER VENDOR RIDER ADMIN"

_CODE = {"userType": "USER", "phone": "+237600000001"}
_PASSWORD = {**_CODE, "password": "correct horse"}

HTTP: dict[str, Asked] = {
    "POST /auth/register": Asked(ANYONE, _PASSWORD),
    "POST /auth/login": Asked(ANYONE, _PASSWORD),
    "POST /auth/refresh": Asked(ANYONE, {"refreshToken": "x"}),
    "POST /auth/logout": Asked(ANYONE, {"refreshToken": "x"}),
    "POST /auth/otp/request": Asked(ANYONE, _CODE),
    "POST /auth/otp/verify": Asked(ANYONE, {**_CODE, "code": "000000"}),
    "GET /config": Asked(ANYONE),
    "GET /config/service/{service}": Asked(ANYONE),
    "PUT /admin/config/services/{service}": Asked("ADMIN", {"enabled": True}),
    "GET /vendor/profile": Asked("VENDOR"),
    "PUT /vendor/profile": Asked("VENDOR", {"name": "Chez Ada"}),
    "GET /vendor/items": Asked("VENDOR"),
    "PUT /vendor/items/{itemId}": Asked("VENDOR", {"name": "Ndole", "price": 2500}),
    "DELETE /vendor/items/{itemId}": Asked("VENDOR"),
    "GET /vendors/{vendorId}/items": Asked(_EVERYONE),
    "GET /rider/profile": Asked("RIDER"),
    "PUT /rider/profile": Asked("RIDER", {"name": "Awa"}),
    "POST /orders": Asked("USER", _GOODS),
    "POST /orders/quote": Asked("USER", _GOODS),
    "GET /orders": Asked(_EVERYONE),
    "GET /orders/{orderId}": Asked(_EVERYONE, of="order"),
    "GET /orders/{orderId}/trail": Asked(_EVERYONE, of="order"),
    "POST /orders/{orderId}/cancel": Asked("USER ADMIN", {}, of="order"),
    "POST /orders/{orderId}/rating": Asked("USER", {"rating": 5}, of="order"),
    "GET /wallet/balance": Asked("USER VENDOR RIDER"),
    "GET /wallet/transactions": Asked("USER VENDOR RIDER"),
    "POST /wallet/topup": Asked("USER", {"amount": 1, "provider": "sandbox"}),
    "GET /wallet/statement": Asked("USER VENDOR RIDER"),
    "POST /wallet/payout": Asked("VENDOR RIDER", {"amount": 60_000, "destination": "1"}),
    "GET /wallet/payouts": Asked("VENDOR RIDER"),
    "POST /wallet/payouts/{payoutId}/cancel": Asked("VENDOR RIDER"),
    "GET /rider/earnings": Asked("RIDER"),
    "GET /vendor/earnings": Asked("VENDOR"),
    "POST /orders/{orderId}/tip": Asked("USER", {"amount": 1}, of="order"),
    "GET /admin/payouts": Asked("ADMIN"),
    "POST /admin/payouts/{payoutId}/approve": Asked("ADMIN"),
    "POST /admin/payouts/{payoutId}/reject": Asked("ADMIN", {"reason": "x"}),
    "POST /admin/payouts/{payoutId}/outcome": Asked("ADMIN", {"status": "PAID"}),
    "GET /admin/ledger/payout-gate": Asked("ADMIN"),
    "PUT /admin/ledger/payout-gate": Asked("ADMIN", {"stopped": False, "reason": "x"}),
    "POST /admin/orders/{orderId}/refund": Asked("ADMIN", {"amount": 1, "reason": "x"}, of="order"),
    "POST /admin/riders/{riderId}/remittances": Asked("ADMIN", {"amount": 1}),
    "POST /admin/riders/{riderId}/shortages": Asked(
        "ADMIN", {"amount": 1, "charge": "RIDER", "reason": "x"}
    ),
    "GET /admin/riders/cash": Asked("ADMIN"),
    "POST /admin/adjustments": Asked(
        "ADMIN",
        {
            "legs": [{"account": "USER#a", "amount": 1}, {"account": "USER#b", "amount": -1}],
            "reason": "x",
        },
    ),
    "GET /admin/adjustments": Asked("ADMIN"),
    "POST /admin/adjustments/{adjustmentId}/approve": Asked("ADMIN"),
    "POST /admin/adjustments/{adjustmentId}/reject": Asked("ADMIN"),
    "GET /admin/wallets/{ownerType}/{ownerId}": Asked("ADMIN"),
    "GET /admin/wallets/{ownerType}/{ownerId}/statement": Asked("ADMIN"),
    "PUT /admin/wallets/{ownerType}/{ownerId}/status": Asked(
        "ADMIN", {"status": "ACTIVE", "reason": "x"}
    ),
    "POST /admin/promotions": Asked(
        "ADMIN",
        {"code": "NDOLE", "services": ["FOOD"], "amount": 1, "budget": 1, "endsAt": 10**13 - 1},
    ),
    "GET /admin/promotions": Asked("ADMIN"),
    "GET /admin/promotions/{code}": Asked("ADMIN"),
    "POST /admin/promotions/{code}/stop": Asked("ADMIN", {"reason": "x"}),
    "GET /admin/orders": Asked("ADMIN"),
    "GET /admin/orders/{orderId}/decisions": Asked("ADMIN", of="order"),
    "GET /admin/config/offers/{service}": Asked("ADMIN"),
    "PUT /admin/config/offers/{service}": Asked("ADMIN", {"windowMs": 15_000}),
    "GET /admin/riders/nearby": Asked("ADMIN", query="?lat=4.05&lng=9.7"),
    "GET /admin/ledger/trial-balance": Asked("ADMIN"),
    "POST /admin/tokens/revoke": Asked("ADMIN", {"jti": "a"}),
    "POST /webhooks/payments/{provider}": Asked(ANYONE, {}),
    "POST /webhooks/payouts/{provider}": Asked(ANYONE, {}),
}

NEW_ROUTE = """
{route} has no row. Say who may ask: add
    "{route}": Asked("{roles}", body_of_a_good_request_if_any, of="order" if the path has its id),
to HTTP in permission_matrix.py; check the roles against the contract, not against the route.
"""
