"""Permission matrix: a rule for every command and endpoint, written by hand from the contract.

A command or endpoint without a rule fails the tests, and so does a rule without its command.
"""

from typing import Any, NamedTuple

from dispatch.model import DispatchState as D
from dispatch.model import OrderStatus as S

# Every stage an order can be in. Source: `docs/contract.md`, order states.
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
_ALL_STAGES = ", ".join(STAGES)
_STAGES_WITHOUT_RIDER = "placed, searching, exhausted, cooking, ready, rejected, cancelled"


class CommandRule(NamedTuple):
    """A command: an example body, and the answer to the order's owner in each stage.

    It is accepted in `ok_stages`; `codes_by_stages` names stages with a code of their own, and all
    others get `default_code`. A command that names no order has no stages, and is accepted.
    """

    body: dict[str, Any]
    ok_stages: str = ""
    codes_by_stages: dict[str, str] = {}
    default_code: str = "wrong_state"

    @property
    def is_about_an_order(self) -> bool:
        """Whether it names an order, which may belong to others."""
        return "orderId" in self.body

    def expected_code(self, stage: str) -> str:
        """The answer to the owner of an order in this stage."""
        for stages, code in self.codes_by_stages.items():
            if stage in stages.split(", "):
                return code
        return "ok" if stage in self.ok_stages.split(", ") else self.default_code


ORDER: dict[str, Any] = {"orderId": "{order}"}
OFFER = {**ORDER, "offerId": "{offer}"}
# Riders do not find an order without a rider. An offer to another rider has expired for this one,
# whichever rider has the order now.
_NOT_FOUND_WITHOUT_RIDER = {_STAGES_WITHOUT_RIDER: "not_found"}
NOT_FOUND_UNASSIGNED = {f"{_STAGES_WITHOUT_RIDER}, offered": "not_found"}

COMMAND_RULES: dict[tuple[str, str], CommandRule] = {
    ("user", "subscribe_order"): CommandRule(ORDER, ok_stages=_ALL_STAGES),
    ("user", "unsubscribe_order"): CommandRule(ORDER, ok_stages=_ALL_STAGES),
    ("user", "cancel_order"): CommandRule(
        # After the kitchen has begun only operators may cancel.
        {**ORDER, "reason": "late"},
        ok_stages="placed, searching, offered, exhausted",
    ),
    ("user", "rate_order"): CommandRule({**ORDER, "rating": 5}, ok_stages="delivered, settled"),
    ("vendor", "accept_order"): CommandRule({**ORDER, "prepMinutes": 5}, ok_stages="placed"),
    ("vendor", "reject_order"): CommandRule({**ORDER, "reason": "closed"}, ok_stages="placed"),
    ("vendor", "order_preparing"): CommandRule(ORDER, ok_stages="searching, offered, exhausted"),
    ("vendor", "order_ready"): CommandRule(
        ORDER, ok_stages="searching, offered, exhausted, cooking, assigned"
    ),
    ("vendor", "set_online"): CommandRule({"online": True}),
    ("rider", "location_update"): CommandRule({"lat": 4.05, "lng": 9.7}),
    ("rider", "update_location"): CommandRule({"lat": 4.05, "lng": 9.7}),
    ("rider", "location_batch"): CommandRule({"fixes": [{"lat": 4.05, "lng": 9.7}]}),
    ("rider", "set_availability"): CommandRule({"available": True}),
    ("rider", "accept_delivery"): CommandRule(
        OFFER, "offered", _NOT_FOUND_WITHOUT_RIDER, "offer_expired"
    ),
    ("rider", "decline_delivery"): CommandRule(
        OFFER, "offered", _NOT_FOUND_WITHOUT_RIDER, "offer_expired"
    ),
    ("rider", "arrived_pickup"): CommandRule(
        ORDER, ok_stages="assigned", codes_by_stages=NOT_FOUND_UNASSIGNED
    ),
    ("rider", "pick_up"): CommandRule(
        ORDER, ok_stages="assigned, at pickup", codes_by_stages=NOT_FOUND_UNASSIGNED
    ),
    ("rider", "arrived_dropoff"): CommandRule(
        ORDER, ok_stages="carried", codes_by_stages=NOT_FOUND_UNASSIGNED
    ),
    ("rider", "complete_delivery"): CommandRule(
        ORDER, ok_stages="carried, at the door", codes_by_stages=NOT_FOUND_UNASSIGNED
    ),
    ("rider", "release_delivery"): CommandRule(
        {**ORDER, "reason": "flat tyre"},
        ok_stages="assigned, at pickup",
        codes_by_stages=NOT_FOUND_UNASSIGNED,
    ),
    ("ops", "watch_area"): CommandRule({"bbox": [9.6, 4.0, 9.8, 4.1]}),
    ("ops", "unwatch_area"): CommandRule({}),
    ("ops", "reassign"): CommandRule(
        ORDER, ok_stages="searching, exhausted, cooking, assigned, ready, at pickup"
    ),
}
# Commands whose answer is the same for a missing order.
ANSWERS_FOR_ANY_ORDER = frozenset({"unsubscribe_order"})

NEW_COMMAND = """
{audience}: {name} has no rule. Say who may use it: add
    ("{audience}", "{name}"): CommandRule({{"orderId": "{{order}}", ...}}, ok_stages="..."),
to COMMAND_RULES in permission_matrix.py (stages: {stages}); without an orderId:
CommandRule({{...}}).
"""


class EndpointRule(NamedTuple):
    """An endpoint: its roles, an example request, and what its path names.

    `roles` are repeated here on purpose, to be compared with the route's. `owned_object` is "order"
    if the path has an order's id, which may belong to others.
    """

    roles: str
    body: Any = None
    query: str = ""
    owned_object: str = ""


PUBLIC = ""
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

ENDPOINT_RULES: dict[str, EndpointRule] = {
    "POST /auth/register": EndpointRule(PUBLIC, _PASSWORD),
    "POST /auth/login": EndpointRule(PUBLIC, _PASSWORD),
    "POST /auth/refresh": EndpointRule(PUBLIC, {"refreshToken": "x"}),
    "POST /auth/logout": EndpointRule(PUBLIC, {"refreshToken": "x"}),
    "POST /auth/otp/request": EndpointRule(PUBLIC, _CODE),
    "POST /auth/otp/verify": EndpointRule(PUBLIC, {**_CODE, "code": "000000"}),
    "GET /config": EndpointRule(PUBLIC),
    "GET /config/service/{service}": EndpointRule(PUBLIC),
    "PUT /admin/config/services/{service}": EndpointRule("ADMIN", {"enabled": True}),
    "GET /vendor/profile": EndpointRule("VENDOR"),
    "PUT /vendor/profile": EndpointRule("VENDOR", {"name": "Chez Ada"}),
    "GET /vendor/items": EndpointRule("VENDOR"),
    "PUT /vendor/items/{itemId}": EndpointRule("VENDOR", {"name": "Ndole", "price": 2500}),
    "DELETE /vendor/items/{itemId}": EndpointRule("VENDOR"),
    "GET /vendors/{vendorId}/items": EndpointRule(_EVERYONE),
    "GET /rider/profile": EndpointRule("RIDER"),
    "PUT /rider/profile": EndpointRule("RIDER", {"name": "Awa"}),
    "POST /orders": EndpointRule("USER", _GOODS),
    "POST /orders/quote": EndpointRule("USER", _GOODS),
    "GET /orders": EndpointRule(_EVERYONE),
    "GET /orders/{orderId}": EndpointRule(_EVERYONE, owned_object="order"),
    "GET /orders/{orderId}/trail": EndpointRule(_EVERYONE, owned_object="order"),
    "POST /orders/{orderId}/cancel": EndpointRule("USER ADMIN", {}, owned_object="order"),
    "POST /orders/{orderId}/rating": EndpointRule("USER", {"rating": 5}, owned_object="order"),
    "GET /wallet/balance": EndpointRule("USER VENDOR RIDER"),
    "GET /wallet/transactions": EndpointRule("USER VENDOR RIDER"),
    "POST /wallet/topup": EndpointRule("USER", {"amount": 1, "provider": "sandbox"}),
    "GET /wallet/statement": EndpointRule("USER VENDOR RIDER"),
    "POST /wallet/payout": EndpointRule("VENDOR RIDER", {"amount": 60_000, "destination": "1"}),
    "GET /wallet/payouts": EndpointRule("VENDOR RIDER"),
    "POST /wallet/payouts/{payoutId}/cancel": EndpointRule("VENDOR RIDER"),
    "GET /rider/earnings": EndpointRule("RIDER"),
    "GET /vendor/earnings": EndpointRule("VENDOR"),
    "POST /orders/{orderId}/tip": EndpointRule("USER", {"amount": 1}, owned_object="order"),
    "GET /admin/payouts": EndpointRule("ADMIN"),
    "POST /admin/payouts/{payoutId}/approve": EndpointRule("ADMIN"),
    "POST /admin/payouts/{payoutId}/reject": EndpointRule("ADMIN", {"reason": "x"}),
    "POST /admin/payouts/{payoutId}/outcome": EndpointRule("ADMIN", {"status": "PAID"}),
    "GET /admin/ledger/payout-gate": EndpointRule("ADMIN"),
    "PUT /admin/ledger/payout-gate": EndpointRule("ADMIN", {"stopped": False, "reason": "x"}),
    "POST /admin/orders/{orderId}/refund": EndpointRule(
        "ADMIN", {"amount": 1, "reason": "x"}, owned_object="order"
    ),
    "POST /admin/riders/{riderId}/remittances": EndpointRule("ADMIN", {"amount": 1}),
    "POST /admin/riders/{riderId}/shortages": EndpointRule(
        "ADMIN", {"amount": 1, "charge": "RIDER", "reason": "x"}
    ),
    "GET /admin/riders/cash": EndpointRule("ADMIN"),
    "POST /admin/adjustments": EndpointRule(
        "ADMIN",
        {
            "legs": [{"account": "USER#a", "amount": 1}, {"account": "USER#b", "amount": -1}],
            "reason": "x",
        },
    ),
    "GET /admin/adjustments": EndpointRule("ADMIN"),
    "POST /admin/adjustments/{adjustmentId}/approve": EndpointRule("ADMIN"),
    "POST /admin/adjustments/{adjustmentId}/reject": EndpointRule("ADMIN"),
    "GET /admin/wallets/{ownerType}/{ownerId}": EndpointRule("ADMIN"),
    "GET /admin/wallets/{ownerType}/{ownerId}/statement": EndpointRule("ADMIN"),
    "PUT /admin/wallets/{ownerType}/{ownerId}/status": EndpointRule(
        "ADMIN", {"status": "ACTIVE", "reason": "x"}
    ),
    "POST /admin/promotions": EndpointRule(
        "ADMIN",
        {"code": "NDOLE", "services": ["FOOD"], "amount": 1, "budget": 1, "endsAt": 10**13 - 1},
    ),
    "GET /admin/promotions": EndpointRule("ADMIN"),
    "GET /admin/promotions/{code}": EndpointRule("ADMIN"),
    "POST /admin/promotions/{code}/stop": EndpointRule("ADMIN", {"reason": "x"}),
    "GET /admin/orders": EndpointRule("ADMIN"),
    "GET /admin/orders/{orderId}/decisions": EndpointRule("ADMIN", owned_object="order"),
    "GET /admin/config/offers/{service}": EndpointRule("ADMIN"),
    "PUT /admin/config/offers/{service}": EndpointRule("ADMIN", {"windowMs": 15_000}),
    "GET /admin/riders/nearby": EndpointRule("ADMIN", query="?lat=4.05&lng=9.7"),
    "GET /admin/audit": EndpointRule("ADMIN"),
    **{
        route: rule
        for people in ("riders", "vendors", "users")
        for route, rule in {
            f"GET /admin/{people}": EndpointRule("ADMIN"),
            f"GET /admin/{people}/{{personId}}": EndpointRule("ADMIN"),
            f"POST /admin/{people}/{{personId}}/standing": EndpointRule(
                "ADMIN", {"standing": "SUSPENDED", "reason": "x"}
            ),
        }.items()
    },
    "GET /admin/approvals": EndpointRule("ADMIN"),
    "POST /admin/approvals/{approvalId}/approve": EndpointRule("ADMIN"),
    "POST /admin/approvals/{approvalId}/reject": EndpointRule("ADMIN", {"reason": "x"}),
    "GET /admin/ledger/trial-balance": EndpointRule("ADMIN"),
    "POST /admin/tokens/revoke": EndpointRule("ADMIN", {"jti": "a"}),
    "POST /webhooks/payments/{provider}": EndpointRule(PUBLIC, {}),
    "POST /webhooks/payouts/{provider}": EndpointRule(PUBLIC, {}),
}

NEW_ROUTE = """
{route} has no rule. Say who may use it: add
    "{route}": EndpointRule("{roles}", body=..., owned_object="order" if the path has its id),
to ENDPOINT_RULES in permission_matrix.py; check the roles against the contract.
"""
