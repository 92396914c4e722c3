"""Role by endpoint by ownership over HTTP: every route has its row, and holds to it."""

import json
import re
from typing import Any

import pytest

from dispatch.orders import store as orders_store
from handlers.app.composition import HTTP_MODULES
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
# The people of the order in tests/factories.py.
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
    """The request line of a row, with something in place of its names."""
    for given, value in {**PATH_VALUES, "{orderId}": order_id}.items():
        name = name.replace(given, value)
    # Ids of things that a later route brings along.
    return re.sub(r"\{\w+\}", "thing_1", name)


def test_every_endpoint_has_its_row():
    """Nobody adds an endpoint without saying who may ask it, and whose things it shows."""
    missing = [
        NEW_ROUTE.format(route=name, roles=" ".join(ROUTES[name].roles))
        for name in sorted(ROUTES.keys() - ENDPOINT_RULES.keys())
    ]
    assert not missing, "".join(missing)
    assert ENDPOINT_RULES.keys() <= ROUTES.keys(), "these rows have no endpoint any more"


def test_an_orders_id_is_tried_with_others():
    """A path that holds an order's id is one whose owner matters."""
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
async def test_an_endpoint_is_of_its_roles(api: ApiClient, name: str):
    """Nobody is asked for a token, other roles are turned away, its own are heard."""
    asked = ENDPOINT_RULES[name]
    method, path = request_line(name).split(" ", 1)
    heard: dict[str, Any] = {}
    for role in (None, *ROLES):
        who = OWNERS[role] if role else None
        answer = await api.request(who, f"{method} {path}{asked.query}", asked.body)
        heard[role or "nobody"] = answer.status
    named = set(asked.roles.split())
    turned_away = {role for role, status in heard.items() if status in (401, 403)}
    expected = set() if asked.roles == PUBLIC else {"nobody", *ROLES} - named
    # Everybody is asked for something that he does not have: a signature, a password, a token.
    signed = {"nobody", *ROLES} if name in NEEDS_OTHER_CREDENTIALS else set()
    assert turned_away == expected | signed
    assert {heard[role] for role in expected} <= {401, 403}
    assert max(heard.values()) < 500


@pytest.mark.parametrize(
    "name", [name for name, asked in ENDPOINT_RULES.items() if asked.owned_object == "order"]
)
async def test_an_order_of_others_is_not_there(api: ApiClient, table: DynamoTable, name: str):
    """A stranger of every role that may ask hears of it what he hears of an id that nobody has."""
    asked = ENDPOINT_RULES[name]
    await table.transact([orders_store.insert_order(an_order())])
    heard: dict[str, tuple[int, str]] = {}
    for role in set(asked.roles.split()) - {"ADMIN"}:
        for order_id in ("ord_1", "ord_none"):
            answer = await api.request(STRANGERS[role], request_line(name, order_id), asked.body)
            words = json.dumps(answer.error).replace(order_id, "X")
            heard[f"{role} {order_id}"] = (answer.status, words)
    kept = await api.desk.orders.get("ord_1")

    assert kept.version == 1
    assert {status for status, _ in heard.values()} <= {404}
    assert len(set(heard.values())) <= 1


async def test_lists_hold_nothing_of_others(api: ApiClient, table: DynamoTable):
    """Each role's own list and nobody else's, whatever is asked for."""
    await table.transact([orders_store.insert_order(an_order())])
    own = [len((await api.request(OWNERS[r], "GET /orders")).data["items"]) for r in ROLES]
    strange = [(await api.request(who, "GET /orders")).data["items"] for who in STRANGERS.values()]

    # The order is nobody's to carry yet.
    assert own == [1, 1, 0, 1]
    assert strange == [[], [], []]
