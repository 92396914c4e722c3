"""Permissions over HTTP: every route by role and by ownership, against the permission matrix."""

import json
import re
from typing import Any

import pytest

from dispatch.orders import store as orders_store
from handlers.app.application import HTTP_MODULES
from handlers.http.framework.envelope import Route
from ledger.dynamodb.client import DynamoTable
from tests.factories import an_order
from tests.handlers.http_api import ADMIN, Actor, ApiClient
from tests.handlers.permission_matrix import ENDPOINT_RULES, NEW_ROUTE, PUBLIC

pytestmark = pytest.mark.engines

PREFIX = "/api/v1"
ROUTES: dict[str, Route] = {
    f"{route.method} {route.path.removeprefix(PREFIX)}": route
    for subject in HTTP_MODULES
    for route in subject.ROUTES
}
ROLES = ("USER", "VENDOR", "RIDER", "ADMIN")
# The parties of the order in tests/factories.py.
OWNERS: dict[str, Actor] = {
    "USER": ("USER", "usr_1"),
    "VENDOR": ("VENDOR", "ven_1"),
    "RIDER": ("RIDER", "rdr_1"),
    "ADMIN": ADMIN,
}
STRANGERS: dict[str, Actor] = {
    "USER": ("USER", "stranger"),
    "VENDOR": ("VENDOR", "stranger"),
    "RIDER": ("RIDER", "stranger"),
}
NEEDS_OTHER_CREDENTIALS = {
    "POST /webhooks/payments/{provider}",
    "POST /webhooks/payouts/{provider}",
    "POST /auth/login",
    "POST /auth/refresh",
    "POST /auth/logout",
    "POST /auth/otp/verify",
}
PATH_VALUES = {
    "{service}": "food",
    "{itemId}": "ndole",
    "{vendorId}": "ven_1",
    "{provider}": "sandbox",
}


def request_line(name: str, order_id: str = "ord_1") -> str:
    """The request line of a rule, with an example for each path parameter."""
    for given, value in {**PATH_VALUES, "{orderId}": order_id}.items():
        name = name.replace(given, value)
    # Parameters without an example of their own.
    return re.sub(r"\{\w+\}", "thing_1", name)


def test_every_endpoint_has_a_rule():
    """A route without a row in the matrix fails, and so does a row without a route."""
    missing = [
        NEW_ROUTE.format(route=name, roles=" ".join(ROUTES[name].roles))
        for name in sorted(ROUTES.keys() - ENDPOINT_RULES.keys())
    ]
    assert not missing, "".join(missing)
    assert ENDPOINT_RULES.keys() <= ROUTES.keys(), "these rules have no endpoint any more"


def test_a_rule_about_an_order_has_the_order_in_its_path():
    """A path with an order's id is tested with an order of others."""
    about = {name: "order" if "{orderId}" in name else "" for name in ENDPOINT_RULES}
    assert {
        name: asked.owned_object
        for name, asked in ENDPOINT_RULES.items()
        if asked.owned_object in ("", "order")
    } == {
        name: about[name]
        for name, asked in ENDPOINT_RULES.items()
        if asked.owned_object in ("", "order")
    }


@pytest.mark.parametrize("name", ENDPOINT_RULES)
async def test_an_endpoint_is_for_its_roles_only(api: ApiClient, name: str):
    """Without a token it is 401, with another role's 403, and with its own roles neither."""
    asked = ENDPOINT_RULES[name]
    method, path = request_line(name).split(" ", 1)
    answers: dict[str, Any] = {}
    for role in (None, *ROLES):
        who = OWNERS[role] if role else None
        answer = await api.request(who, f"{method} {path}{asked.query}", asked.body)
        answers[role or "anonymous"] = answer.status
    named = set(asked.roles.split())
    turned_away = {role for role, status in answers.items() if status in (401, 403)}
    expected = set() if asked.roles == PUBLIC else {"anonymous", *ROLES} - named
    # These need what no role has: a signature, a password, a refresh token.
    signed = {"anonymous", *ROLES} if name in NEEDS_OTHER_CREDENTIALS else set()
    assert turned_away == expected | signed
    assert {answers[role] for role in expected} <= {401, 403}
    assert max(answers.values()) < 500


@pytest.mark.parametrize(
    "name", [name for name, asked in ENDPOINT_RULES.items() if asked.owned_object == "order"]
)
async def test_an_order_of_others_is_not_found(api: ApiClient, table: DynamoTable, name: str):
    """Users, vendors and riders outside of it get the same answer as for a missing order."""
    asked = ENDPOINT_RULES[name]
    await table.transact([orders_store.insert_order(an_order())])
    answers: dict[str, tuple[int, str]] = {}
    for role in set(asked.roles.split()) - {"ADMIN"}:
        for order_id in ("ord_1", "ord_none"):
            answer = await api.request(STRANGERS[role], request_line(name, order_id), asked.body)
            words = json.dumps(answer.error).replace(order_id, "X")
            answers[f"{role} {order_id}"] = (answer.status, words)
    kept = await api.services.orders.get("ord_1")

    assert kept.version == 1
    assert {status for status, _ in answers.values()} <= {404}
    assert len(set(answers.values())) <= 1


async def test_lists_hold_no_orders_of_others(api: ApiClient, table: DynamoTable):
    """Each role lists its own orders only."""
    await table.transact([orders_store.insert_order(an_order())])
    own = [len((await api.request(OWNERS[r], "GET /orders")).data["items"]) for r in ROLES]
    strange = [(await api.request(who, "GET /orders")).data["items"] for who in STRANGERS.values()]

    # The order has no rider yet.
    assert own == [1, 1, 0, 1]
    assert strange == [[], [], []]
