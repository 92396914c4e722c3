"""What operators look at: orders, and riders near a point."""

from typing import Any

import msgspec
from aiohttp import web

from dispatch.catalogue.service_rates import parse_service
from dispatch.errors import Refusal, Refused
from dispatch.orders.offers.policy_store import VersionedPolicy
from dispatch.tracking.stores.geo_cells import Circle
from dispatch.tracking.stores.rider_facts import IndexedRider
from dispatch.wire.http.offer_policy import OfferSettings
from dispatch.wire.snapshots import decisions_view
from handlers.app.contexts import DESK
from handlers.http.framework.envelope import PRINCIPAL, Route, read_body
from handlers.http.framework.pagination import id_of, listing, number_of, page_of
from handlers.http.orders import get_all_orders

# Source: wire contract, the search radius by default; and a whole city with its suburbs.
RADIUS_KM_DEFAULT = "5"
RADIUS_KM_MAX = 100.0


async def get_nearby(request: web.Request) -> Any:
    """The riders around a point, nearest first, whatever they do."""
    desk = request.app[DESK]
    lat = number_of(request, "lat", (-90, 90))
    lng = number_of(request, "lng", (-180, 180))
    radius_km = number_of(request, "radiusKm", (0.001, RADIUS_KM_MAX), RADIUS_KM_DEFAULT)
    limit = page_of(request).limit
    seen = await desk.positions.find_nearest(
        Circle(lat, lng, radius_km), limit, desk.clock.now_ms()
    )
    return listing([_rider_view(each, desk.freshness(each.seen_at_ms)) for each in seen], None)


def _rider_view(rider: IndexedRider, state: str) -> dict[str, Any]:
    return {
        "riderId": rider.rider_id,
        "name": rider.name,
        "vehicle": rider.vehicle,
        "location": {"lat": rider.lat, "lng": rider.lng},
        "distanceKm": round(rider.distance_km, 3),
        "available": rider.available,
        "activeDeliveries": rider.active,
        "duty": rider.duty_status,
        "accuracy": rider.accuracy,
        "ts": rider.ts,
        "receivedAt": rider.seen_at_ms,
        "state": state,
    }


async def get_decisions(request: web.Request) -> Any:
    """Why riders were asked for an order, or nobody was, and what came of it; oldest first."""
    desk, order_id = request.app[DESK], id_of(request, "orderId")
    order = await desk.orders.get(order_id)
    if order is None:
        raise Refused(Refusal.NOT_FOUND, f"there is no order {order_id}")
    kept = await desk.decisions.list_for(order_id)
    made = order.dispatch.decisions if order.dispatch else 0
    page = listing(decisions_view(order, kept), None)
    return {**page, "notKept": max(0, made - len(kept))}


async def get_offer_policy(request: web.Request) -> Any:
    """How riders are asked for a service's orders."""
    name = request.match_info["service"].lower()
    policies = request.app[DESK].offer_policies
    return _policy_view(name, policies.zone, await policies.get_versioned(parse_service(name)))


async def put_offer_policy(request: web.Request) -> Any:
    """Change how riders are asked; holds from the next look of the engine on."""
    name = request.match_info["service"].lower()
    service = parse_service(name)
    body = await read_body(request, OfferSettings)
    policies = request.app[DESK].offer_policies
    after = await policies.put_offers(service, body, request[PRINCIPAL].id)
    return _policy_view(name, policies.zone, after)


def _policy_view(name: str, zone: str, policy: VersionedPolicy) -> dict[str, Any]:
    fields = msgspec.to_builtins(policy.policy)
    return {"service": name, "zone": zone, "version": policy.version, **fields}


ROUTES = (
    Route("GET", "/api/v1/admin/orders/{orderId}/decisions", ("ADMIN",), get_decisions),
    Route("GET", "/api/v1/admin/config/offers/{service}", ("ADMIN",), get_offer_policy),
    Route(
        "PUT",
        "/api/v1/admin/config/offers/{service}",
        ("ADMIN",),
        put_offer_policy,
        OfferSettings,
    ),
    Route("GET", "/api/v1/admin/orders", ("ADMIN",), get_all_orders),
    Route("GET", "/api/v1/admin/riders/nearby", ("ADMIN",), get_nearby),
)
