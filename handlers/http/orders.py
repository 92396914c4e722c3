"""Orders over HTTP: quote, place, look, call off, rate."""

from typing import Any, Literal

import msgspec
from aiohttp import web

from dispatch.errors import Refusal, Refused
from dispatch.model import Order, OrderStatus, PaymentMethod
from dispatch.orders.placing.draft import Placement
from dispatch.tracking.polyline import build_trail
from dispatch.wire import commands
from dispatch.wire.http.orders import CancelOrderBody, GoodsOrder, PackageOrder, Rating, Tip
from dispatch.wire.snapshots import order_snapshot, trail_view
from handlers.app.contexts import DESK
from handlers.http.framework.envelope import (
    EVERYONE,
    PRINCIPAL,
    Created,
    Route,
    read_body,
)
from handlers.http.framework.idempotency import caller_of, run_once
from handlers.http.framework.pagination import id_of, listing, page_of
from handlers.sessions.auth import Principal

STATUSES = frozenset(status.value for status in OrderStatus)


class _OrderTypeOnly(msgspec.Struct, rename="camel"):
    """What tells one kind of order from the other."""

    order_type: Literal["FOOD", "MART", "PACKAGE"]


async def _read_placement(request: web.Request) -> Placement:
    kind = await read_body(request, _OrderTypeOnly)
    if kind.order_type == "PACKAGE":
        return await read_body(request, PackageOrder)
    return await read_body(request, GoodsOrder)


async def post_order(request: web.Request) -> Any:
    """Place an order."""
    desk, body = request.app[DESK], await _read_placement(request)
    if body.payment_method == PaymentMethod.MOBILE_MONEY:
        desk.payment_service.check_provider(desk.settings.payment_provider)
    answer = await desk.order_service.place_order(caller_of(request, body), body)
    await desk.payment_service.pay_by_sandbox(answer)
    return Created(answer)


async def post_quote(request: web.Request) -> Any:
    """Say what an order would cost."""
    desk, body = request.app[DESK], await _read_placement(request)
    caller = caller_of(request, body)
    return await run_once(request, body, lambda: desk.order_service.quote(caller, body))


async def get_order(request: web.Request) -> Any:
    """One order of the caller's."""
    return order_snapshot(await _own_order(request), request[PRINCIPAL].audience)


async def _own_order(request: web.Request) -> Order:
    order_id = id_of(request, "orderId")
    order = await request.app[DESK].orders.get(order_id)
    if order is None or not _is_party(order, request[PRINCIPAL]):
        raise Refused(Refusal.NOT_FOUND, f"there is no order {order_id} of yours")
    return order


async def get_trail(request: web.Request) -> Any:
    """The way on which an order of the caller's is, or was, carried."""
    desk, order = request.app[DESK], await _own_order(request)
    rider_id = order.rider_id
    if rider_id is None:
        return trail_view(order, None, is_final=order.is_terminal)
    kept = await desk.trails.get(order.order_id)
    if kept is not None:
        return trail_view(order, kept, is_final=True)
    fixes = await desk.positions.read_trail(order.order_id, rider_id)
    return trail_view(order, build_trail(rider_id, fixes), is_final=False)


def _is_party(order: Order, principal: Principal) -> bool:
    """Whether the order is the caller's, whatever his role."""
    owners = {"user": order.user_id, "vendor": order.vendor_id, "rider": order.rider_id}
    return principal.audience == "ops" or owners[principal.audience] == principal.id


async def get_orders(request: web.Request) -> Any:
    """The caller's orders, newest first; an operator sees everybody's."""
    principal = request[PRINCIPAL]
    if principal.audience == "ops":
        return await get_all_orders(request)
    page, status = page_of(request), _status_filter(request, STATUSES)
    orders, cursor = await request.app[DESK].orders.list_for(
        principal.audience, principal.id, status, page
    )
    return listing([order_snapshot(order, principal.audience) for order in orders], cursor)


async def get_all_orders(request: web.Request) -> Any:
    """The orders of the whole company, for operators."""
    page, status = page_of(request), _status_filter(request, STATUSES | {"OPEN", "CLOSED"})
    orders, cursor = await request.app[DESK].orders.list_all(status, page)
    return listing([order_snapshot(order, "ops") for order in orders], cursor)


def _status_filter(request: web.Request, allowed: frozenset[str]) -> str | None:
    status = request.query.get("status")
    if status is not None and status not in allowed:
        raise Refused(Refusal.MALFORMED, f"status: one of {', '.join(sorted(allowed))}")
    return status


async def post_cancel(request: web.Request) -> Any:
    """Call an order off."""
    body = await read_body(request, CancelOrderBody)
    command = commands.CancelOrder(
        order_id=id_of(request, "orderId"), reason=body.reason, fault=body.fault
    )
    return await request.app[DESK].order_service.cancel_order(caller_of(request, body), command)


async def post_rating(request: web.Request) -> Any:
    """Say how it was."""
    body = await read_body(request, Rating)
    command = commands.RateOrder(
        order_id=id_of(request, "orderId"), rating=body.rating, comment=body.comment
    )
    return await request.app[DESK].order_service.rate_order(caller_of(request, body), command)


async def post_tip(request: web.Request) -> Any:
    """Thank the rider of a delivered order."""
    body = await read_body(request, Tip)
    bursar, order_id = request.app[DESK].correction_service, id_of(request, "orderId")
    return Created(await bursar.tip(caller_of(request, body), order_id, body.amount))


ROUTES = (
    Route("POST", "/api/v1/orders", ("USER",), post_order, Placement),
    Route("POST", "/api/v1/orders/quote", ("USER",), post_quote, Placement),
    Route("GET", "/api/v1/orders", EVERYONE, get_orders),
    Route("GET", "/api/v1/orders/{orderId}", EVERYONE, get_order),
    Route("GET", "/api/v1/orders/{orderId}/trail", EVERYONE, get_trail),
    Route(
        "POST",
        "/api/v1/orders/{orderId}/cancel",
        ("USER", "ADMIN"),
        post_cancel,
        CancelOrderBody,
    ),
    Route("POST", "/api/v1/orders/{orderId}/rating", ("USER",), post_rating, Rating),
    Route("POST", "/api/v1/orders/{orderId}/tip", ("USER",), post_tip, Tip),
)
