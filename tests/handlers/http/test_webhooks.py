"""Payment events over HTTP: believed only when signed, and each payment once."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import orjson
import pytest
from standardwebhooks.webhooks import Webhook

from dispatch.orders.unit_of_work import Caller
from dispatch.wire.http.orders import GoodsOrder
from tests.handlers.http_api import (
    ADA,
    ADMIN,
    SECRET,
    ApiClient,
    ApiResponse,
    goods_order,
)

pytestmark = pytest.mark.engines

OTHER_SECRET = "whsec_" + "b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcg=="


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


def sign_headers(
    raw: bytes, event_id: str = "evt_1", secret: str = SECRET, age_s: int = 0
) -> dict[str, str]:
    at = datetime.now(UTC) - timedelta(seconds=age_s)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(event_id, at, raw.decode()),
        "Content-Type": "application/json",
    }


async def post_event(
    api: ApiClient, raw: bytes, headers: dict[str, str], provider: str = "mtn"
) -> ApiResponse:
    return await api.request_raw("POST", f"/webhooks/payments/{provider}", headers, data=raw)


async def request_top_up(api: ApiClient, amount: int = 5000) -> str:
    """A top-up that waits for its provider."""
    body = {"amount": amount, "provider": "mtn"}
    return (await api.request(ADA, "POST /wallet/topup", body)).data["paymentId"]


async def balance(api: ApiClient) -> int:
    return (await api.request(ADA, "GET /wallet/balance")).data["availableBalance"]


async def test_a_signed_event_fills_the_wallet(api: ApiClient):
    """The provider's word brings the money that was asked for."""
    raw = event_body(await request_top_up(api))
    told = await post_event(api, raw, sign_headers(raw))

    assert (told.status, told.data["status"], told.data["balance"]) == (200, "SUCCESS", 5000)
    assert await balance(api) == 5000


async def test_an_event_counts_once(api: ApiClient):
    """The same event ten times, and the same payment under another event, bring money once."""
    raw = event_body(await request_top_up(api))
    told = await asyncio.gather(*(post_event(api, raw, sign_headers(raw)) for _ in range(10)))
    renamed = await post_event(api, raw, sign_headers(raw, "evt_2"))

    assert {each.status for each in told} == {200}
    assert len({str(each.data) for each in told}) == 1
    assert renamed.status == 200
    assert await balance(api) == 5000


async def test_an_event_id_names_one_event(api: ApiClient):
    """Another event under an id that was used before is a conflict and has no effect."""
    first, second = event_body(await request_top_up(api)), event_body(await request_top_up(api))
    await post_event(api, first, sign_headers(first))
    told = await post_event(api, second, sign_headers(second))

    assert (told.status, told.error["code"]) == (409, "conflict")
    assert await balance(api) == 5000


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
async def test_an_unsigned_event_is_turned_away(api: ApiClient, headers: dict[str, str]):
    """Without a signature that holds for id, time and bytes, nothing is even looked up."""
    told = await post_event(api, _RAW, headers)

    assert (told.status, told.error["code"]) == (401, "signature_invalid")


@pytest.mark.parametrize(("age_s", "status"), [(290, 404), (310, 401), (-290, 404), (-310, 401)])
async def test_an_event_is_fresh(api: ApiClient, age_s: int, status: int):
    """A signature holds for 300 seconds either way; a fresh one for nothing asked finds nothing."""
    told = await post_event(api, _RAW, sign_headers(_RAW, age_s=age_s))

    assert told.status == status


async def test_bytes_that_are_no_text_cannot_be_signed(api: ApiClient):
    """A body that is no UTF-8 is turned away like any other unsigned one."""
    told = await post_event(api, b"\xff\xfe{", sign_headers(b"{}"))

    assert told.status == 401


async def test_production_without_a_secret_believes_nobody(production_api: ApiClient):
    """Without a secret set, not even an event signed with an empty one is believed."""
    told = await post_event(production_api, _RAW, sign_headers(_RAW))

    assert told.status == 401


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"{}", 400, "malformed"),
        (b"not json", 400, "malformed"),
        (event_body("pay_none"), 404, "not_found"),
        (event_body("pay#none"), 400, "malformed"),
        (event_body("pay_none", currency="EUR"), 400, "malformed"),
        (event_body("pay_none", amount=-5), 400, "malformed"),
    ],
)
async def test_a_signed_event_must_make_sense(api: ApiClient, raw: bytes, status: int, code: str):
    """What is signed but malformed, or about a payment nobody asked for, is refused."""
    told = await post_event(api, raw, sign_headers(raw))

    assert (told.status, told.error["code"]) == (status, code)


async def test_the_amount_is_what_was_asked(api: ApiClient):
    """A payment of another amount than asked for is a conflict, and moves nothing."""
    raw = event_body(await request_top_up(api), amount=4999)
    told = await post_event(api, raw, sign_headers(raw))

    assert (told.status, told.error["code"]) == (409, "conflict")
    assert await balance(api) == 0


async def test_a_payment_is_its_providers(api: ApiClient):
    """One provider cannot confirm what another was asked for."""
    raw = event_body(await request_top_up(api))
    told = await post_event(api, raw, sign_headers(raw), provider="orange")
    nobody = await post_event(api, raw, sign_headers(raw), provider="Orange%23")

    assert (told.status, nobody.status) == (404, 404)
    assert await balance(api) == 0


async def test_money_wins_over_failure(api: ApiClient):
    """Success after failure fills the wallet, failure after success takes nothing."""
    payment_id = await request_top_up(api)
    failed = event_body(payment_id, "payment.failed", reason="no funds")
    paid = event_body(payment_id)
    states = [
        (await post_event(api, raw, sign_headers(raw, event_id))).data["status"]
        for event_id, raw in (("evt_1", failed), ("evt_2", paid), ("evt_3", failed))
    ]

    assert states == ["FAILED", "SUCCESS", "SUCCESS"]
    assert await balance(api) == 5000


async def test_an_unknown_event_is_heard_and_left(api: ApiClient):
    """A type we do not know is answered, so that the provider stops repeating it."""
    raw = event_body("pay_none", "payment.thought_about")
    told = await post_event(api, raw, sign_headers(raw))

    assert (told.status, told.data) == (200, {"ignored": "payment.thought_about"})


async def test_a_signed_event_pays_an_order(api: ApiClient):
    """An order to be paid by mobile money waits for its provider's word, which comes once."""
    await api.open_shop()
    order = await api.desk.order_service.place_order(CALLER, ORDER)
    payment = order["payment"]
    before = await api.request(ADA, f"GET /orders/{order['orderId']}")
    raw = event_body(payment["paymentId"], amount=order["pricing"]["total"])
    told = [
        await post_event(api, raw, sign_headers(raw, event_id), provider=payment["provider"])
        for event_id in ("evt_1", "evt_2")
    ]
    after = await api.request(ADA, f"GET /orders/{order['orderId']}")
    books = (await api.request(ADMIN, "GET /admin/ledger/trial-balance")).data

    assert before.data["payment"]["state"] == "PENDING"
    assert [(each.status, each.data["orderId"]) for each in told] == [(200, order["orderId"])] * 2
    assert after.data["payment"]["state"] == "CAPTURED"
    assert (books["total"], books["entries"]) == (0, 1)


async def test_money_for_an_order_that_is_gone(api: ApiClient):
    """Money that comes after an order was called off goes into its customer's wallet."""
    await api.open_shop()
    order = await api.desk.order_service.place_order(CALLER, ORDER)
    await api.request(ADA, f"POST /orders/{order['orderId']}/cancel")
    raw = event_body(order["payment"]["paymentId"], amount=order["pricing"]["total"])
    told = [
        await post_event(
            api, raw, sign_headers(raw, event_id), provider=order["payment"]["provider"]
        )
        for event_id in ("evt_1", "evt_2")
    ]

    assert [each.status for each in told] == [200, 200]
    assert await balance(api) == 6500
