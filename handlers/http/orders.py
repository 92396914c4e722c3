"""Order endpoints: quote, place, read, list, cancel, rate, tip."""

from dataclasses import dataclass
from typing import Literal

import msgspec
from aiohttp import web

from dispatch.errors import Refusal, Refused
from dispatch.ids import OrderId
from dispatch.model import Order, OrderStatus
from dispatch.money.checkout import Checkout
from dispatch.money.corrections import CorrectionService
from dispatch.orders.placing.draft import Placement
from dispatch.orders.service import OrderService
from dispatch.orders.store import OrderStore
from dispatch.tracking.polyline import build_trail
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.stores.trails import Trails
from dispatch.wire import commands
from dispatch.wire.http.orders import CancelOrderBody, GoodsOrder, PackageOrder, Rating, Tip
from dispatch.wire.rights import shows_trail
from dispatch.wire.snapshots import Snapshot, order_snapshot, trail_view
from handlers.http.framework.envelope import (
    EVERYONE,
    HTTP_EDGE,
    PRINCIPAL,
    Created,
    JsonObject,
    Route,
    read_body,
)
from handlers.http.framework.idempotency import http_caller, run_once
from handlers.http.framework.pagination import (
    ListPage,
    choice_of,
    listing,
    order_id_of,
    page_of,
)
from handlers.sessions.auth import Principal

_STATUSES = sorted(status.value for status in OrderStatus)
# Operators may also filter by whether an order has ended.
_ADMIN_STATUSES = sorted([*_STATUSES, "OPEN", "CLOSED"])


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdersContext:
    """What the order endpoints use."""

    checkout: Checkout
    order_service: OrderService
    correction_service: CorrectionService
    orders: OrderStore
    positions: Positions
    trails: Trails


ORDERS = web.AppKey("orders", OrdersContext)


class _OrderTypeOnly(msgspec.Struct, rename="camel"):
    """The field that tells the two kinds of order bodies apart."""

    order_type: Literal["FOOD", "MART", "PACKAGE"]


async def _read_placement(request: web.Request) -> Placement:
    # Decoded twice, so that an error names the field at fault instead of a union.
    order_type = (await read_body(request, _OrderTypeOnly)).order_type
    if order_type == "PACKAGE":
        return await read_body(request, PackageOrder)
    return await read_body(request, GoodsOrder)


async def post_order(request: web.Request) -> Created[Snapshot]:
    """Place an order."""
    checkout, body = request.app[ORDERS].checkout, await _read_placement(request)
    return Created(await checkout.place_order(http_caller(request, body), body))


async def post_quote(request: web.Request) -> JsonObject:
    """The price of an order, without placing it."""
    checkout, body = request.app[ORDERS].checkout, await _read_placement(request)
    caller = http_caller(request, body)
    return await run_once(request, body, lambda: checkout.quote(caller, body))


async def get_order(request: web.Request) -> Snapshot:
    """One order of the caller. Errors: Refused NOT_FOUND."""
    return order_snapshot(await _own_order(request), request[PRINCIPAL].audience)


async def _own_order(request: web.Request) -> Order:
    order_id = order_id_of(request)
    order = await request.app[ORDERS].orders.get(order_id)
    if order is None or not _is_party(order, request[PRINCIPAL]):
        raise Refused(Refusal.NOT_FOUND, f"there is no order {order_id} of yours")
    return order


async def get_trail(request: web.Request) -> Snapshot:
    """The trail of an order's rider: so far while it is carried, simplified afterwards.

    Customer and vendor see it for two hours after the order's end.

    Errors: Refused NOT_FOUND.
    """
    context, order = request.app[ORDERS], await _own_order(request)
    now_ms = request.app[HTTP_EDGE].clock.now_ms()
    if not shows_trail(order, request[PRINCIPAL].audience, now_ms):
        raise Refused(Refusal.NOT_FOUND, "the trail of this order is not shown any more")
    rider_id = order.rider_id
    if rider_id is None:
        return trail_view(order, None, is_final=order.is_terminal)
    archived = await context.trails.get(OrderId(order.order_id))
    if archived is not None:
        return trail_view(order, archived, is_final=True)
    fixes = await context.positions.read_trail(order.order_id, rider_id)
    return trail_view(order, build_trail(rider_id, fixes), is_final=False)


def _is_party(order: Order, principal: Principal) -> bool:
    """Whether the principal is the order's customer, vendor or rider, or an operator."""
    parties = {"user": order.user_id, "vendor": order.vendor_id, "rider": order.rider_id}
    return principal.audience == "ops" or parties[principal.audience] == principal.id


async def get_orders(request: web.Request) -> ListPage[Snapshot]:
    """The caller's orders, newest first; all orders for an operator.

    Errors: Refused MALFORMED.
    """
    principal = request[PRINCIPAL]
    if principal.audience == "ops":
        return await get_all_orders(request)
    page, status = page_of(request), _status_filter(request, _STATUSES)
    orders, cursor = await request.app[ORDERS].orders.list_for(
        principal.audience, principal.id, status, page
    )
    return listing([order_snapshot(order, principal.audience) for order in orders], cursor)


async def get_all_orders(request: web.Request) -> ListPage[Snapshot]:
    """All orders of the company, for operators. Errors: Refused MALFORMED."""
    page, status = page_of(request), _status_filter(request, _ADMIN_STATUSES)
    orders, cursor = await request.app[ORDERS].orders.list_all(status, page)
    return listing([order_snapshot(order, "ops") for order in orders], cursor)


def _status_filter(request: web.Request, allowed: list[str]) -> str | None:
    return choice_of(request, "status", allowed, "") if "status" in request.query else None


async def post_cancel(request: web.Request) -> JsonObject:
    """Cancel an order."""
    body = await read_body(request, CancelOrderBody)
    command = commands.CancelOrder(
        order_id=order_id_of(request), reason=body.reason, fault=body.fault
    )
    order_service = request.app[ORDERS].order_service
    return await order_service.cancel_order(http_caller(request, body), command)


async def post_rating(request: web.Request) -> JsonObject:
    """Rate a delivered order."""
    body = await read_body(request, Rating)
    command = commands.RateOrder(
        order_id=order_id_of(request), rating=body.rating, comment=body.comment
    )
    order_service = request.app[ORDERS].order_service
    return await order_service.rate_order(http_caller(request, body), command)


async def post_tip(request: web.Request) -> Created[JsonObject]:
    """Tip the rider of a delivered order."""
    body = await read_body(request, Tip)
    corrections, order_id = request.app[ORDERS].correction_service, order_id_of(request)
    return Created(await corrections.tip(http_caller(request, body), order_id, body.amount))


_ORDER = "/api/v1/orders/{orderId}"
ROUTES = (
    Route("POST", "/api/v1/orders", ("USER",), post_order, Placement),
    Route("POST", "/api/v1/orders/quote", ("USER",), post_quote, Placement),
    Route("GET", "/api/v1/orders", EVERYONE, get_orders),
    Route("GET", _ORDER, EVERYONE, get_order),
    Route("GET", f"{_ORDER}/trail", EVERYONE, get_trail),
    Route("POST", f"{_ORDER}/cancel", ("USER", "ADMIN"), post_cancel, CancelOrderBody),
    Route("POST", f"{_ORDER}/rating", ("USER",), post_rating, Rating),
    Route("POST", f"{_ORDER}/tip", ("USER",), post_tip, Tip),
    Route("GET", "/api/v1/admin/orders", ("ADMIN",), get_all_orders),
)
