"""Payment webhooks: an event counts if it is signed, and each payment once."""

import asyncio
from typing import Any

import msgspec
import orjson
import pytest

from dispatch import metrics, settings
from dispatch.orders.unit_of_work import Caller
from dispatch.storage.redis_client import RedisClients
from dispatch.wire.http.orders import GoodsOrder
from dispatch.wire.webhooks import PAYMENT_EVENTS
from ledger.dynamodb.client import DynamoTable
from tests.handlers.http_api import (
    ADA,
    ADMIN,
    ApiClient,
    ApiResponse,
    goods_order,
    run_api,
)
from tests.handlers.signed_webhooks import BROKEN_DATA, OTHER_EVENTS, OTHER_SECRET, sign_headers
from tests.metric_values import metric_value

pytestmark = pytest.mark.engines


CALLER = Caller(audience="user", id=ADA[1])
# Placed past the endpoint, which would let the sandbox pay at once.
ORDER = msgspec.convert(goods_order(method="MOBILE_MONEY"), GoodsOrder)


def event_body(payment_id: str, kind: str = "payment.succeeded", **data: Any) -> bytes:
    return orjson.dumps(
        {
            "type": kind,
            "timestamp": "2026-11-21T10:00:00Z",
            "data": {"paymentId": payment_id, "amount": 5000, "currency": "XAF", **data},
        }
    )


async def post_event(
    api: ApiClient, raw: bytes, headers: dict[str, str], provider: str = "mtn"
) -> ApiResponse:
    return await api.request_raw("POST", f"/webhooks/payments/{provider}", headers, data=raw)


async def request_top_up(api: ApiClient, amount: int = 5000) -> str:
    """A top-up that waits for its provider."""
    body = {"amount": amount, "provider": "mtn"}
    return (await api.request(ADA, "POST /wallet/topup", body)).data["paymentId"]


async def test_a_signed_event_fills_the_wallet(api: ApiClient):
    """A succeeded event brings the money that was requested."""
    raw = event_body(await request_top_up(api))
    answer = await post_event(api, raw, sign_headers(raw))

    assert (answer.status, answer.data["status"], answer.data["balance"]) == (200, "SUCCESS", 5000)
    assert await api.available_xaf(ADA) == 5000


async def test_an_event_counts_once(api: ApiClient):
    """Ten copies at once, and the same payment under another event id, count once."""
    raw = event_body(await request_top_up(api))
    answers = await asyncio.gather(*(post_event(api, raw, sign_headers(raw)) for _ in range(10)))
    renamed = await post_event(api, raw, sign_headers(raw, "evt_2"))

    assert {each.status for each in answers} == {200}
    assert len({str(each.data) for each in answers}) == 1
    assert renamed.status == 200
    assert await api.available_xaf(ADA) == 5000


async def test_an_event_id_names_one_event(api: ApiClient):
    """Another event under a used id is a conflict and has no effect."""
    first, second = event_body(await request_top_up(api)), event_body(await request_top_up(api))
    await post_event(api, first, sign_headers(first))
    answer = await post_event(api, second, sign_headers(second))

    assert (answer.status, answer.error["code"]) == (409, "conflict")
    assert await api.available_xaf(ADA) == 5000


def without(name: str, headers: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key != name}


_RAW = event_body("pay_x")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        sign_headers(_RAW, secret=OTHER_SECRET),
        sign_headers(_RAW + b" "),
        {**sign_headers(_RAW), "webhook-id": "evt_2"},
        {**sign_headers(_RAW), "webhook-timestamp": "soon"},
        {**sign_headers(_RAW), "webhook-signature": "v1,not base64!"},
        {**sign_headers(_RAW), "webhook-signature": "v1"},
        {**sign_headers(_RAW), "webhook-signature": "v1,AAAA v2,BBBB"},
        without("webhook-id", sign_headers(_RAW)),
        without("webhook-timestamp", sign_headers(_RAW)),
        without("webhook-signature", sign_headers(_RAW)),
        {**sign_headers(_RAW), "Authorization": "Bearer x", "webhook-signature": "v1,AAAA"},
    ],
)
async def test_an_event_with_a_bad_signature_is_refused(api: ApiClient, headers: dict[str, str]):
    """Without a valid signature over id, time and bytes nothing is looked up."""
    answer = await post_event(api, _RAW, headers)

    assert (answer.status, answer.error["code"]) == (401, "signature_invalid")


@pytest.mark.parametrize(("age_s", "status"), [(290, 404), (310, 401), (-290, 404), (-310, 401)])
async def test_a_signature_expires(api: ApiClient, age_s: int, status: int):
    """It is valid for 300 seconds before and after its timestamp."""
    answer = await post_event(api, _RAW, sign_headers(_RAW, age_s=age_s))

    assert answer.status == status


async def test_a_body_that_is_not_utf8_has_no_valid_signature(api: ApiClient):
    """It is refused like any other unsigned event."""
    answer = await post_event(api, b"\xff\xfe{", sign_headers(b"{}"))

    assert answer.status == 401


async def test_without_a_secret_no_event_is_accepted(production_api: ApiClient):
    """Not even one that is signed with an empty secret."""
    answer = await post_event(production_api, _RAW, sign_headers(_RAW))

    assert answer.status == 401


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"not json", 400, "malformed"),
        (event_body("pay_none"), 404, "not_found"),
        (event_body("pay#none"), 400, "malformed"),
        (event_body("pay_none", currency="EUR"), 400, "malformed"),
        (event_body("pay_none", amount=-5), 400, "malformed"),
    ],
)
async def test_a_signed_event_is_validated(api: ApiClient, raw: bytes, status: int, code: str):
    """A malformed one is 400, one about a payment that was not requested 404."""
    answer = await post_event(api, raw, sign_headers(raw))

    assert (answer.status, answer.error["code"]) == (status, code)


async def test_the_amount_must_be_what_was_requested(api: ApiClient):
    """Another amount is a conflict and moves nothing."""
    raw = event_body(await request_top_up(api), amount=4999)
    answer = await post_event(api, raw, sign_headers(raw))

    assert (answer.status, answer.error["code"]) == (409, "conflict")
    assert await api.available_xaf(ADA) == 0


async def test_a_payment_belongs_to_its_provider(api: ApiClient):
    """Another provider's event about it is not found."""
    raw = event_body(await request_top_up(api))
    answer = await post_event(api, raw, sign_headers(raw), provider="orange")
    unknown = await post_event(api, raw, sign_headers(raw), provider="Orange%23")

    assert (answer.status, unknown.status) == (404, 404)
    assert await api.available_xaf(ADA) == 0


async def test_success_wins_over_failure(api: ApiClient):
    """Success after failure fills the wallet; failure after success takes nothing."""
    payment_id = await request_top_up(api)
    failed = event_body(payment_id, "payment.failed", reason="no funds")
    paid = event_body(payment_id)
    states = [
        (await post_event(api, raw, sign_headers(raw, event_id))).data["status"]
        for event_id, raw in (("evt_1", failed), ("evt_2", paid), ("evt_3", failed))
    ]

    assert states == ["FAILED", "SUCCESS", "SUCCESS"]
    assert await api.available_xaf(ADA) == 5000


@pytest.mark.parametrize(("raw", "ignored"), OTHER_EVENTS)
async def test_events_of_other_shapes_are_ignored(api: ApiClient, raw: bytes, ignored: str | None):
    """Whatever a provider tests its endpoint with; each is counted."""
    before = metric_value(metrics.WEBHOOK_EVENTS_IGNORED.labels("payment"))
    answer = await post_event(api, raw, sign_headers(raw))
    assert (answer.status, answer.data) == (200, {"ignored": ignored})
    assert metric_value(metrics.WEBHOOK_EVENTS_IGNORED.labels("payment")) == before + 1


@pytest.mark.parametrize("changes", BROKEN_DATA)
@pytest.mark.parametrize("kind", sorted(PAYMENT_EVENTS))
async def test_a_broken_event_of_our_types_is_malformed(
    api: ApiClient, kind: str, changes: dict[str, object]
):
    """Its provider must hear that it was not taken."""
    raw = orjson.dumps({**orjson.loads(event_body("pay_1", kind)), **changes})
    answer = await post_event(api, raw, sign_headers(raw))
    assert (answer.status, answer.error["code"]) == (400, "malformed")


@pytest.mark.parametrize("timestamp", [None, 1763000002, 1763000002.5, "soon", {}])
async def test_the_timestamp_of_an_event_is_not_read(api: ApiClient, timestamp: object):
    """The signature's own time counts; unknown fields are ignored."""
    event = orjson.loads(event_body(await request_top_up(api)))
    raw = orjson.dumps({**event, "timestamp": timestamp, "livemode": True})
    answer = await post_event(api, raw, sign_headers(raw))
    assert (answer.status, answer.data["status"]) == (200, "SUCCESS")


@pytest.mark.parametrize(
    ("provider", "secret", "status"),
    [
        ("momo", "own", 404),
        ("momo", "old", 404),
        ("momo", "default", 401),
        ("orange", "default", 404),
        ("orange", "own", 401),
        ("orange", "payout", 401),
        ("orange", "code", 401),
        ("orange", "payout_url", 401),
    ],
)
async def test_each_provider_has_its_own_secret(
    table: DynamoTable, redis: RedisClients, provider: str, secret: str, status: int
):
    """A provider with a secret of its own is not verified by the default one, nor by what signs."""
    secrets = {
        name: f"whsec_{letter * 32}"
        for letter, name in zip(
            "abcdef", ("own", "old", "default", "payout", "code", "payout_url"), strict=True
        )
    }
    environ = {
        "JWT_SECRET": "s" * 32,
        "PAYMENT_WEBHOOK_SECRETS": f"momo:{secrets['own']},momo:{secrets['old']}",
        "WEBHOOK_SECRET": secrets["default"],
        "PAYOUT_WEBHOOK_SECRETS": f"orange:{secrets['payout']}",
        "CODE_URL_SECRET": secrets["code"],
        "PAYOUT_URL_SECRET": secrets["payout_url"],
    }
    raw = event_body("pay_none")
    async with run_api(table, redis, settings.read(environ)) as api:
        headers = sign_headers(raw, secret=secrets[secret])
        assert (await post_event(api, raw, headers, provider=provider)).status == status


async def test_an_unknown_event_type_is_ignored(api: ApiClient):
    """It is answered with success, so that the provider stops repeating it."""
    raw = event_body("pay_none", "payment.thought_about")
    answer = await post_event(api, raw, sign_headers(raw))

    assert (answer.status, answer.data) == (200, {"ignored": "payment.thought_about"})


async def test_a_signed_event_pays_an_order(api: ApiClient):
    """A mobile money order is PENDING until the event, which counts once."""
    await api.open_shop()
    order = await api.services.order_service.place_order(CALLER, ORDER)
    payment = order["payment"]
    before = await api.request(ADA, f"GET /orders/{order['orderId']}")
    raw = event_body(payment["paymentId"], amount=order["pricing"]["total"])
    answers = [
        await post_event(api, raw, sign_headers(raw, event_id), provider=payment["provider"])
        for event_id in ("evt_1", "evt_2")
    ]
    after = await api.request(ADA, f"GET /orders/{order['orderId']}")
    books = (await api.request(ADMIN, "GET /admin/ledger/trial-balance")).data

    assert before.data["payment"]["state"] == "PENDING"
    assert [(each.status, each.data["orderId"]) for each in answers] == [
        (200, order["orderId"])
    ] * 2
    assert after.data["payment"]["state"] == "CAPTURED"
    assert (books["total"], books["entries"]) == (0, 1)


async def test_money_for_a_cancelled_order_goes_into_the_wallet(api: ApiClient):
    """Once, however often the event comes."""
    await api.open_shop()
    order = await api.services.order_service.place_order(CALLER, ORDER)
    await api.request(ADA, f"POST /orders/{order['orderId']}/cancel")
    raw = event_body(order["payment"]["paymentId"], amount=order["pricing"]["total"])
    answers = [
        await post_event(
            api, raw, sign_headers(raw, event_id), provider=order["payment"]["provider"]
        )
        for event_id in ("evt_1", "evt_2")
    ]

    assert [each.status for each in answers] == [200, 200]
    assert await api.available_xaf(ADA) == 6500
