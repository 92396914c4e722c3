"""Every act of an operator leaves one audit record, in the transaction of its effect.

The routes and commands come from the tables that the server serves, so that a new one fails here
until it is declared read-only or has a case.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from inspect import ismethod
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import msgspec
import pytest

from dispatch import settings
from dispatch.storage.redis_client import RedisClients
from dispatch.wire import commands
from handlers.app.application import HTTP_MODULES
from handlers.app.setup.sockets import build_socket_contexts
from handlers.sockets.audiences import COMMANDS
from ledger.dynamodb.client import DynamoTable
from tests.handlers.delivery_flow import VENDOR, deliver_cash_order, deliver_order
from tests.handlers.http_api import ADA, ADMIN, ApiClient, goods_order, run_api
from tests.handlers.payout_flow import request_payout

pytestmark = pytest.mark.engines

PREFIX = "/api/v1"
ROUTES = {
    f"{route.method} {route.path.removeprefix(PREFIX)}"
    for subject in HTTP_MODULES
    for route in subject.ROUTES
    if "ADMIN" in route.roles
}
# A GET reads; `test_a_read_leaves_no_record` holds it to that.
READ_ROUTES = {name for name in ROUTES if name.startswith("GET ")}
READ_COMMANDS = {"watch_area", "unwatch_area"}

PathValues = dict[str, str]
# Names in the paths of reading routes.
PATH_NAMES: list[str] = ["orderId", "vendorId", "code", "personId"]


async def nothing(_api: ApiClient) -> PathValues:
    """No state is needed."""
    return {}


async def with_order(api: ApiClient) -> PathValues:
    """A placed order."""
    await api.open_shop()
    await api.fund(ADA, 10_000)
    return {"orderId": (await api.request(ADA, "POST /orders", goods_order())).data["orderId"]}


async def with_settled_order(api: ApiClient) -> PathValues:
    """An order whose money is split."""
    return {"orderId": (await deliver_order(api))["orderId"]}


async def with_cash(api: ApiClient) -> PathValues:
    """A rider who holds collected cash."""
    await deliver_cash_order(api)
    return {"riderId": "rdr_1"}


async def with_payout(api: ApiClient) -> PathValues:
    """A requested payout."""
    return {"payoutId": (await request_payout(api))["payoutId"]}


async def with_paid_payout(api: ApiClient) -> PathValues:
    """A payout that its provider has paid."""
    values = await with_payout(api)
    await api.services.payouts.decisions.approve(OTHER_OPERATOR, values["payoutId"])
    await api.services.payouts.submitter.sweep_once()
    return values


async def with_promotion(api: ApiClient) -> PathValues:
    """A promotion that runs."""
    await api.request(OTHER, "POST /admin/promotions", PROMOTION)
    return {"code": "NDOLE"}


async def with_adjustment(api: ApiClient) -> PathValues:
    """An adjustment that another operator proposed, of a wallet that has the amount."""
    await api.fund(("USER", "b"), 1)
    proposed = await api.request(OTHER, "POST /admin/adjustments", ADJUSTMENT)
    return {"adjustmentId": proposed.data["adjustmentId"]}


async def with_person(_api: ApiClient) -> PathValues:
    """Somebody whom only a token has named so far."""
    return {"personId": "person_1"}


async def with_approval(api: ApiClient) -> PathValues:
    """Letting payouts continue, as another operator proposed it."""
    await api.request(OTHER, GATE, {"stopped": True, "reason": "a break"})
    proposed = await api.request(OTHER, GATE, {"stopped": False, "reason": "repaired"})
    return {"approvalId": proposed.data["approvalId"]}


OTHER = ("ADMIN", "adm_9")
OTHER_OPERATOR = msgspec.structs.replace(VENDOR, audience="ops", id="adm_9")
GATE = "PUT /admin/ledger/payout-gate"
PROMOTION = {
    "code": "NDOLE",
    "services": ["FOOD"],
    "amount": 1,
    "budget": 1,
    "endsAt": 10**13 - 1,
}
ADJUSTMENT = {
    "legs": [{"account": "USER#a", "amount": 1}, {"account": "USER#b", "amount": -1}],
    "reason": "forgotten",
}


class Case(NamedTuple):
    """An act: what stands before it, its body, and how its record names it.

    `resource` has the path's values in it; `reason` is that of the body.
    """

    action: str
    resource: str
    body: dict[str, Any] | None = None
    before: Callable[[ApiClient], Awaitable[PathValues]] = nothing
    reason: str | None = None


CASES: dict[str, Case] = {
    "PUT /admin/config/services/{service}": Case(
        "put_service", "service:FOOD", {"deliveryFee": 1_700}
    ),
    "PUT /admin/config/offers/{service}": Case(
        "put_offers", "offers:douala:FOOD", {"windowMs": 20_000}
    ),
    "POST /admin/promotions": Case("create_promotion", "promotion:NDOLE", PROMOTION),
    "POST /admin/promotions/{code}/stop": Case(
        "stop_promotion", "promotion:NDOLE", {"reason": "fraud"}, with_promotion, "fraud"
    ),
    "POST /admin/tokens/revoke": Case(
        "revoke_tokens", "token:abc", {"jti": "abc", "reason": "stolen"}, reason="stolen"
    ),
    "POST /orders/{orderId}/cancel": Case(
        "cancel_order",
        "order:{orderId}",
        {"reason": "fire", "fault": "VENDOR"},
        with_order,
        "fire",
    ),
    "POST /admin/orders/{orderId}/refund": Case(
        "refund_order",
        "order:{orderId}",
        {"amount": 500, "reason": "cold"},
        with_settled_order,
        "cold",
    ),
    "POST /admin/riders/{riderId}/remittances": Case(
        "record_remittance", "rider:rdr_1", {"amount": 500}, with_cash
    ),
    "POST /admin/riders/{riderId}/shortages": Case(
        "propose_adjustment",
        "adjustment:{adjustmentId}",
        {"amount": 500, "charge": "RIDER", "reason": "robbed"},
        with_cash,
        "robbed",
    ),
    "POST /admin/adjustments": Case(
        "propose_adjustment", "adjustment:{adjustmentId}", ADJUSTMENT, reason="forgotten"
    ),
    "POST /admin/adjustments/{adjustmentId}/approve": Case(
        "approve_adjustment", "adjustment:{adjustmentId}", None, with_adjustment, "forgotten"
    ),
    "POST /admin/adjustments/{adjustmentId}/reject": Case(
        "reject_adjustment", "adjustment:{adjustmentId}", None, with_adjustment, "forgotten"
    ),
    "POST /admin/payouts/{payoutId}/approve": Case(
        "approve_payout", "payout:{payoutId}", None, with_payout
    ),
    "POST /admin/payouts/{payoutId}/reject": Case(
        "reject_payout", "payout:{payoutId}", {"reason": "whose?"}, with_payout, "whose?"
    ),
    "POST /admin/payouts/{payoutId}/outcome": Case(
        "propose_record_payout_outcome",
        "payout:{payoutId}",
        {"status": "RETURNED", "reason": "closed"},
        with_paid_payout,
        "closed",
    ),
    GATE: Case(
        "stop_payouts", "payout_gate", {"stopped": True, "reason": "a break"}, reason="a break"
    ),
    "PUT /admin/wallets/{ownerType}/{ownerId}/status": Case(
        "set_wallet_status",
        "wallet:user:usr_ada",
        {"status": "FROZEN", "reason": "stolen phone"},
        reason="stolen phone",
    ),
    **{
        f"POST /admin/{people}/{{personId}}/standing": Case(
            "set_standing",
            f"{kind}:person_1",
            {"standing": "SUSPENDED", "reason": "a complaint"},
            with_person,
            "a complaint",
        )
        for people, kind in (("riders", "rider"), ("vendors", "vendor"), ("users", "user"))
    },
    "POST /admin/approvals/{approvalId}/approve": Case(
        "reopen_payouts", "payout_gate", None, with_approval, "repaired"
    ),
    "POST /admin/approvals/{approvalId}/reject": Case(
        "reject_reopen_payouts_proposal", "payout_gate", {"reason": "no"}, with_approval, "no"
    ),
}


class RecordingDynamo:
    """A DynamoDB client that keeps the keys of every transaction."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.transactions: list[list[str]] = []

    def __getattr__(self, operation: str) -> Any:
        found = getattr(self._client, operation)
        if operation != "transact_write_items" or not ismethod(found):
            return found

        def transact(**request: Any) -> Any:
            writes = [write for item in request["TransactItems"] for write in item.values()]
            keys = [(write.get("Key") or write["Item"])["PK"]["S"] for write in writes]
            self.transactions.append(keys)
            return found(**request)

        return transact


class RecordedApi(NamedTuple):
    """The endpoints, and the transactions that they write."""

    client: ApiClient
    transactions: list[list[str]]


@pytest.fixture
async def recorded(table: DynamoTable, redis: RedisClients) -> AsyncIterator[RecordedApi]:
    """Endpoints under --dev whose transactions are recorded."""
    dynamo = RecordingDynamo(table.client)
    environ = {"RATE_LIMITS": "off", "TWO_PERSON_ABOVE_XAF": "100000"}
    dev = settings.read(environ, dev=True)
    async with run_api(DynamoTable(dynamo, table.name), redis, dev) as client:
        yield RecordedApi(client, dynamo.transactions)


def path_of(name: str, values: PathValues) -> str:
    """The request line of a route with these values."""
    examples = {"service": "food", "ownerType": "user", "ownerId": "usr_ada"}
    return name.format(**{**examples, **values})


def test_every_act_has_a_case():
    """A route or command of operators that is not read-only and has no case fails."""
    assert CASES.keys() == ROUTES - READ_ROUTES
    assert COMMANDS["ops"].keys() == READ_COMMANDS | {"reassign"}


def effects_beside_records(transactions: list[list[str]]) -> list[list[str]]:
    """What else the transactions with an audit record wrote, idempotency records apart."""
    return [
        [key for key in keys if not key.startswith(("AUDIT#", "IDEMPOTENCY#"))]
        for keys in transactions
        if any(key.startswith("AUDIT#") for key in keys)
    ]


@pytest.mark.parametrize("name", CASES)
async def test_an_act_is_recorded_with_its_effect(recorded: RecordedApi, name: str):
    """One record, also for a repeated request; it is written together with the effect."""
    api, case = recorded.client, CASES[name]
    values = await case.before(api)
    api.clock.advance(1_000)
    recorded.transactions.clear()
    first = await api.request(ADMIN, path_of(name, values), case.body, key="k")
    again = await api.request(ADMIN, path_of(name, values), case.body, key="k")
    since_ms = api.clock.now_ms()
    records = (await api.request(ADMIN, f"GET /admin/audit?from={since_ms}")).data["items"]

    assert first.status < 300, first
    assert again.status == first.status
    assert [(each["actor"], each["action"], each["reason"]) for each in records] == [
        ("adm_1", case.action, case.reason)
    ]
    known = {**values, **{k: v for k, v in first.data.items() if k == "adjustmentId"}}
    assert records[0]["resource"] == case.resource.format(**known)
    assert records[0]["at"] == since_ms
    [effect] = effects_beside_records(recorded.transactions)
    assert effect, "the record was written without its effect"


@pytest.mark.parametrize("name", sorted(READ_ROUTES))
async def test_a_read_leaves_no_record(recorded: RecordedApi, name: str):
    """It writes nothing at all."""
    values: PathValues = dict.fromkeys(PATH_NAMES, "thing_1")
    await recorded.client.request(ADMIN, f"{path_of(name, values)}?lat=4.05&lng=9.7&from=0&to=1")
    assert recorded.transactions == []


async def test_reassigning_an_order_is_recorded_with_its_effect(recorded: RecordedApi):
    """The command of operators' sockets has its record, with the reason, once."""
    api = recorded.client
    order_id = (await with_order(api))["orderId"]
    accepted = commands.AcceptOrder(order_id=order_id)
    await api.services.order_service.accept_order(VENDOR, accepted)
    recorded.transactions.clear()
    principal = SimpleNamespace(id="adm_1", audience="ops", identity="ops:adm_1")
    session = cast("Any", SimpleNamespace(principal=principal, identity="ops:adm_1"))
    command = commands.Reassign(
        order_id=order_id, rider_id="rdr_7", reason="nearer", command_id="c1"
    )
    ops = build_socket_contexts(api.services).ops
    for _ in range(2):
        await cast("Any", COMMANDS["ops"]["reassign"].handler(ops, session, command))
    [record] = (await api.request(ADMIN, "GET /admin/audit?action=reassign")).data["items"]

    assert (record["actor"], record["resource"]) == ("adm_1", f"order:{order_id}")
    assert (record["reason"], record["details"]["riderId"]) == ("nearer", "rdr_7")
    [effect] = effects_beside_records(recorded.transactions)
    assert f"ORDER#{order_id}" in effect


async def test_a_refused_act_leaves_no_record(recorded: RecordedApi):
    """Nothing was done, and nothing is written."""
    api = recorded.client
    refused = await api.request(
        ADMIN, "POST /admin/orders/ord_none/refund", {"amount": 1, "reason": "x"}
    )
    assert refused.status == 404
    assert (await api.request(ADMIN, "GET /admin/audit")).data["items"] == []
