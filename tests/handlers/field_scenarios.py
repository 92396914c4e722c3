"""How each command and body is sent to its real handler, and what must be there before."""

from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from typing import NamedTuple, get_args

import msgspec
import orjson

from dispatch.ids import OfferId, OrderId, RiderId
from dispatch.model import Offer
from dispatch.money.payouts.providers import SANDBOX_WAITS_DIGITS
from dispatch.orders.transitions.context import OfferFacts
from dispatch.wire import commands, decoding, webhooks
from dispatch.wire.commands import Audience
from dispatch.wire.http import (
    accounts,
    admin_money,
    catalogue,
    offer_policy,
    orders,
    people,
    profiles,
    promotions,
    service_rates,
    tokens,
    wallets,
)
from dispatch.wire.http.base import ReasonBody
from handlers.app.setup.sockets import build_socket_contexts
from handlers.sockets import rider as rider_sockets
from handlers.sockets.audiences import COMMANDS
from ledger.core.accounts import rider, vendor
from tests.handlers.delivery_flow import (
    RIDER,
    VENDOR,
    accept_delivery,
    deliver_cash_order,
    deliver_order,
    live_engine,
)
from tests.handlers.http_api import (
    ADA,
    ADMIN,
    AWA,
    CHEZ_ADA,
    PAYOUT_SECRET,
    SECOND_ADMIN,
    SECRET,
    Actor,
    ApiClient,
    goods_order,
)
from tests.handlers.kept_fields import Body
from tests.handlers.payout_flow import earn, request_payout
from tests.handlers.signed_webhooks import sign_headers
from tests.handlers.sockets.composed_node import a_session

Overrides = Mapping[str, object]
Prepare = Callable[[ApiClient], Awaitable[Overrides]]
Send = Callable[[ApiClient, Body, Overrides], Awaitable[None]]
OWNERS: dict[str, str] = {
    "user": ADA[1],
    "vendor": CHEZ_ADA[1],
    "rider": AWA[1],
    "ops": ADMIN[1],
}


class FieldScenario(NamedTuple):
    """What must be there, whose values some fields need, and how the payload is sent.

    The values that `prepare` returns are the fields' by dotted path; those in braces are parts of
    the path of a request.
    """

    prepare: Prepare
    send: Send


def command(name: str) -> Send:
    """Send a command to its handler, as its socket's queue does."""

    async def send(api: ApiClient, body: Body, _given: Overrides) -> None:
        audience = _audience_of(name)
        route = COMMANDS[audience][name]
        context = getattr(build_socket_contexts(api.services), audience)
        decoded = decoding.convert(body, route.struct)
        answer = route.handler(context, a_session(audience, OWNERS[audience]), decoded)
        if isawaitable(answer):
            await answer
        await api.background.tracking.writer.flush()

    return send


def _audience_of(name: str) -> Audience:
    return next(each for each in get_args(Audience) if name in COMMANDS[each])


def request(actor: Actor | None, line: str) -> Send:
    """Send a request that must succeed."""

    async def send(api: ApiClient, body: Body, given: Overrides) -> None:
        filled = line
        for name, value in given.items():
            filled = filled.replace(name, str(value)) if name.startswith("{") else filled
        answer = await api.request(actor, filled, body)
        assert answer.status < 300, answer.error

    return send


def webhook(path: str, secret: str = SECRET) -> Send:
    """Send a signed event of a provider."""

    async def send(api: ApiClient, body: Body, _given: Overrides) -> None:
        raw = orjson.dumps(body)
        answer = await api.request_raw(
            "POST", f"/webhooks/{path}", sign_headers(raw, secret=secret), data=raw
        )
        assert answer.status == 200, answer.error

    return send


def given(**values: object) -> Prepare:
    """Nothing must be there; these fields need these values."""

    async def prepare(_api: ApiClient) -> Overrides:
        return {name.replace("__", "."): value for name, value in values.items()}

    return prepare


async def placed(api: ApiClient) -> Overrides:
    """An order that its vendor has not answered."""
    await api.open_shop()
    order = (await api.request(ADA, "POST /orders", goods_order(method="CASH"))).data
    return {"orderId": order["orderId"], "{orderId}": order["orderId"]}


async def cooking(api: ApiClient) -> Overrides:
    """An order that its vendor has accepted."""
    found = await placed(api)
    accept = commands.AcceptOrder(order_id=str(found["orderId"]))
    await api.services.order_service.accept_order(VENDOR, accept)
    return found


async def offered(api: ApiClient) -> Overrides:
    """An order that is offered to Awa."""
    found, now_ms = await cooking(api), api.clock.now_ms()
    offer = Offer(
        offer_id=OfferId("ofr_kept"),
        wave=1,
        made_at_ms=now_ms,
        expires_at_ms=now_ms + 15_000,
        deadline_ms=now_ms + 18_000,
        distance_km=1.0,
    )
    facts = OfferFacts(offers={RiderId(AWA[1]): offer}, due_at_ms=now_ms + 18_000, trip_km=1.0)
    await live_engine(api).make_offers(OrderId(str(found["orderId"])), facts)
    return {**found, "offerId": "ofr_kept"}


async def assigned(api: ApiClient) -> Overrides:
    """An order that Awa is to fetch."""
    found = await placed(api)
    await accept_delivery(api, str(found["orderId"]))
    return found


async def reassignable(api: ApiClient) -> Overrides:
    return {**await assigned(api), "riderId": "rdr_wanted"}


async def carried(api: ApiClient) -> Overrides:
    """A cash order whose goods Awa has."""
    found = await assigned(api)
    pick_up = commands.PickUp(order_id=str(found["orderId"]))
    await api.services.order_service.pick_up(RIDER, pick_up)
    return {**found, "cashCollected": 6_123, "proof.uploadId": "upl_kept"}


async def delivered(api: ApiClient) -> Overrides:
    """An order that is settled, and money in its customer's wallet."""
    order = await deliver_order(api)
    return {"orderId": order["orderId"], "{orderId}": order["orderId"], "amount": 1_234}


async def sent_code(api: ApiClient) -> Overrides:
    """A code that was sent to a phone."""
    phone = {"userType": "USER", "phone": "+237690123456"}
    code = (await api.request(None, "POST /auth/otp/request", phone)).data["devCode"]
    return {**phone, "code": code, "password": "a password of its own"}


async def registered(api: ApiClient) -> Overrides:
    """An account with a password."""
    body = {"userType": "USER", "phone": "+237690123456", "password": "a password of its own"}
    account = (await api.request(None, "POST /auth/register", body)).data
    return {**body, "refreshToken": account["refreshToken"]}


async def promoted_shop(api: ApiClient) -> Overrides:
    """An open shop, and a promotion."""
    await api.open_shop()
    await api.request(ADMIN, "PUT /admin/config/services/packages", {"enabled": True})
    promotion = {
        "code": "KEPT",
        "services": ["FOOD", "PACKAGE"],
        "amount": 100,
        "budget": 1_000,
        "endsAt": api.clock.now_ms() + 3_600_000,
    }
    assert (await api.request(ADMIN, "POST /admin/promotions", promotion)).status == 201
    shared = {"promoCode": "KEPT", "paymentMethod": "CASH", "tip": 777}
    goods = {
        "vendorId": CHEZ_ADA[1],
        "items.itemId": "ndole",
        "items.quantity": 13,
        "deliveryAddress.lat": 4.061234,
        "deliveryAddress.lng": 9.712345,
    }
    parcel = {
        "packageDetails.weight": 3.21,
        "recipient.phone": "+237690123456",
        "pickup.lat": 4.051234,
        "pickup.lng": 9.702345,
        "dropoff.lat": 4.062345,
        "dropoff.lng": 9.713456,
    }
    return {**shared, **goods, **parcel}


async def requested_payout(api: ApiClient) -> Overrides:
    """A payout that no operator has decided."""
    payout = await request_payout(api)
    return {"{payoutId}": payout["payoutId"]}


async def submitted_payout(api: ApiClient) -> Overrides:
    """A payout of which its provider has said nothing yet."""
    payout = await request_payout(api, destination=SANDBOX_WAITS_DIGITS)
    await api.request(ADMIN, f"POST /admin/payouts/{payout['payoutId']}/approve")
    await api.services.payouts.submitter.process_payout(payout["payoutId"])
    listed = await api.request(ADMIN, "GET /admin/payouts?status=SUBMITTED")
    found = listed.data["items"][0]
    return {
        "{payoutId}": found["payoutId"],
        "type": webhooks.PAYOUT_FAILED,
        "data.payoutId": found["payoutId"],
        "data.reference": found["providerReference"],
        "data.amount": found["amount"],
        "data.currency": "XAF",
        "data.fee": 0,
        "status": "PAID",
        "fee": 123,
        "timestamp": "2026-11-21T10:00:00Z",
    }


async def rich_vendor(api: ApiClient) -> Overrides:
    """A vendor with money to draw."""
    await earn(api, vendor(CHEZ_ADA[1]), 900_000)
    return {"amount": 54_321, "destination": "+237 670 11 22 33"}


async def owing_rider(api: ApiClient) -> Overrides:
    """A rider who owes the cash of an order."""
    await deliver_cash_order(api)
    await earn(api, rider(AWA[1]), 5_000)
    return {
        "amount": 1_234,
        "desk": "kept_desk",
        "reference": "kept_reference",
        "charge": "CUSTOMER",
        "customerId": "usr_kept",
    }


async def awaited_payment(api: ApiClient) -> Overrides:
    """A top-up that its provider has not confirmed."""
    body = {"amount": 4_321, "provider": "momo"}
    payment = (await api.request(ADA, "POST /wallet/topup", body)).data
    return {
        "type": webhooks.PAYMENT_FAILED,
        "data.paymentId": payment["paymentId"],
        "data.amount": 4_321,
        "data.currency": "XAF",
        "timestamp": "2026-11-21T10:00:00Z",
    }


async def new_promotion(api: ApiClient) -> Overrides:
    now_ms = api.clock.now_ms()
    return {
        "code": "KEPT",
        "amount": None,
        "percentBps": 1_234,
        "startsAt": now_ms + 4_321,
        "endsAt": now_ms + 3_654_321,
        "services": ["MART"],
    }


async def known_rider(api: ApiClient) -> Overrides:
    """A rider whose app is connected, with an order."""
    await assigned(api)
    context = build_socket_contexts(api.services).rider
    await rider_sockets.on_connect(context, a_session("rider", AWA[1]))
    now_ms = api.clock.now_ms()
    fix = {
        "lat": 4.051234,
        "lng": 9.702345,
        "heading": 123.5,
        "speed": 7.25,
        "accuracy": 11.5,
        "ts": now_ms - 321,
        "seq": 654,
    }
    return {**fix, **{f"fixes.{name}": value for name, value in fix.items()}}


async def open_shop(api: ApiClient) -> Overrides:
    await api.open_shop()
    return {"online": False}


async def nothing(_api: ApiClient) -> Overrides:
    return {}


SCENARIOS: dict[type[msgspec.Struct], FieldScenario] = {
    commands.SubscribeOrder: FieldScenario(placed, command("subscribe_order")),
    commands.UnsubscribeOrder: FieldScenario(placed, command("unsubscribe_order")),
    commands.CancelOrder: FieldScenario(placed, command("cancel_order")),
    commands.RateOrder: FieldScenario(delivered, command("rate_order")),
    commands.AcceptOrder: FieldScenario(placed, command("accept_order")),
    commands.RejectOrder: FieldScenario(placed, command("reject_order")),
    commands.OrderPreparing: FieldScenario(cooking, command("order_preparing")),
    commands.OrderReady: FieldScenario(cooking, command("order_ready")),
    commands.SetOnline: FieldScenario(open_shop, command("set_online")),
    commands.Fix: FieldScenario(known_rider, command("location_update")),
    commands.LocationBatch: FieldScenario(known_rider, command("location_batch")),
    commands.SetAvailability: FieldScenario(nothing, command("set_availability")),
    commands.AcceptDelivery: FieldScenario(offered, command("accept_delivery")),
    commands.DeclineDelivery: FieldScenario(offered, command("decline_delivery")),
    commands.ArrivedPickup: FieldScenario(assigned, command("arrived_pickup")),
    commands.PickUp: FieldScenario(assigned, command("pick_up")),
    commands.ArrivedDropoff: FieldScenario(carried, command("arrived_dropoff")),
    commands.CompleteDelivery: FieldScenario(carried, command("complete_delivery")),
    commands.ReleaseDelivery: FieldScenario(assigned, command("release_delivery")),
    commands.WatchArea: FieldScenario(
        given(bbox__south=4.0, bbox__west=9.6, bbox__north=4.1, bbox__east=9.8),
        command("watch_area"),
    ),
    commands.UnwatchArea: FieldScenario(nothing, command("unwatch_area")),
    commands.Reassign: FieldScenario(reassignable, command("reassign")),
    accounts.Registration: FieldScenario(
        given(password="a password of its own"), request(None, "POST /auth/register")
    ),
    accounts.Credentials: FieldScenario(registered, request(None, "POST /auth/login")),
    accounts.RefreshRequest: FieldScenario(registered, request(None, "POST /auth/refresh")),
    accounts.CodeRequest: FieldScenario(nothing, request(None, "POST /auth/otp/request")),
    accounts.CodeVerification: FieldScenario(sent_code, request(None, "POST /auth/otp/verify")),
    service_rates.ServiceSettings: FieldScenario(
        nothing, request(ADMIN, "PUT /admin/config/services/mart")
    ),
    catalogue.CatalogueItemBody: FieldScenario(
        given(available=False), request(CHEZ_ADA, "PUT /vendor/items/i1")
    ),
    profiles.VendorProfile: FieldScenario(
        given(location__lat=4.051234, location__lng=9.702345),
        request(CHEZ_ADA, "PUT /vendor/profile"),
    ),
    profiles.RiderProfile: FieldScenario(nothing, request(AWA, "PUT /rider/profile")),
    orders.GoodsOrder: FieldScenario(promoted_shop, request(ADA, "POST /orders")),
    orders.PackageOrder: FieldScenario(promoted_shop, request(ADA, "POST /orders")),
    orders.CancelOrderBody: FieldScenario(placed, request(ADMIN, "POST /orders/{orderId}/cancel")),
    orders.Rating: FieldScenario(delivered, request(ADA, "POST /orders/{orderId}/rating")),
    orders.Tip: FieldScenario(delivered, request(ADA, "POST /orders/{orderId}/tip")),
    wallets.TopUp: FieldScenario(given(provider="momo"), request(ADA, "POST /wallet/topup")),
    wallets.PayoutRequest: FieldScenario(rich_vendor, request(CHEZ_ADA, "POST /wallet/payout")),
    offer_policy.OfferSettings: FieldScenario(
        given(mode="batch", batchAbove=2.25, batchBelow=1.75, radiiKm=[3.5], receiptMs=3_210),
        request(ADMIN, "PUT /admin/config/offers/food"),
    ),
    ReasonBody: FieldScenario(
        requested_payout, request(ADMIN, "POST /admin/payouts/{payoutId}/reject")
    ),
    admin_money.PayoutOutcome: FieldScenario(
        submitted_payout, request(SECOND_ADMIN, "POST /admin/payouts/{payoutId}/outcome")
    ),
    admin_money.PayoutGate: FieldScenario(nothing, request(ADMIN, "PUT /admin/ledger/payout-gate")),
    admin_money.RefundBody: FieldScenario(
        delivered, request(ADMIN, "POST /admin/orders/{orderId}/refund")
    ),
    admin_money.RemittanceBody: FieldScenario(
        owing_rider, request(ADMIN, f"POST /admin/riders/{AWA[1]}/remittances")
    ),
    admin_money.ShortageBody: FieldScenario(
        owing_rider, request(ADMIN, f"POST /admin/riders/{AWA[1]}/shortages")
    ),
    admin_money.AdjustmentBody: FieldScenario(
        given(
            legs=[
                {"account": "VENDOR#kept", "amount": 4_321},
                {"account": "CLEARING#KEPT.0", "amount": -4_321},
            ]
        ),
        request(ADMIN, "POST /admin/adjustments"),
    ),
    admin_money.WalletStatusChange: FieldScenario(
        given(status="FROZEN"), request(ADMIN, "PUT /admin/wallets/user/usr_kept/status")
    ),
    people.StandingChange: FieldScenario(
        given(standing="SUSPENDED"), request(ADMIN, "POST /admin/riders/rdr_kept/standing")
    ),
    promotions.NewPromotion: FieldScenario(new_promotion, request(ADMIN, "POST /admin/promotions")),
    tokens.TokenRevocation: FieldScenario(
        given(token=None, userId="usr_kept", userType="USER", jti=None),
        request(ADMIN, "POST /admin/tokens/revoke"),
    ),
    webhooks.PaymentEvent: FieldScenario(awaited_payment, webhook("payments/momo")),
    webhooks.PayoutEvent: FieldScenario(
        submitted_payout, webhook("payouts/sandbox", PAYOUT_SECRET)
    ),
}
