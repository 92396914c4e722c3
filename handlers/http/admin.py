"""Operators' endpoints about the search for riders: decisions, offer policies, riders nearby."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

import msgspec
from aiohttp import web

from dispatch.catalogue.service_rates import parse_service
from dispatch.errors import Refusal, Refused
from dispatch.orders.decision_store import DecisionStore
from dispatch.orders.offers.policy_store import OfferPolicyStore, VersionedPolicy
from dispatch.orders.store import OrderStore
from dispatch.tracking.stores.geo_cells import Circle
from dispatch.tracking.stores.rider_facts import IndexedRider
from dispatch.tracking.stores.rider_index import RiderIndex
from dispatch.wire.http.offer_policy import OfferSettings
from dispatch.wire.snapshots import Snapshot, decisions_view
from handlers.http.framework.envelope import HTTP_EDGE, PRINCIPAL, JsonObject, Route, read_body
from handlers.http.framework.pagination import (
    ListPage,
    listing,
    number_of,
    order_id_of,
    page_of,
)

# Source: `docs/contract.md`, the default search radius. Chosen: a city with its suburbs.
RADIUS_KM_DEFAULT = "5"
RADIUS_KM_MAX = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminContext:
    """What these endpoints use.

    `freshness` tells live, stale or lost from when the server received a fix (Unix ms).
    """

    orders: OrderStore
    decisions: DecisionStore
    offer_policies: OfferPolicyStore
    rider_index: RiderIndex
    freshness: Callable[[int], str]


ADMIN = web.AppKey("admin", AdminContext)


class LocationView(TypedDict):
    """A position. Units: degrees WGS 84."""

    lat: float
    lng: float


class NearbyRiderView(TypedDict):
    """A rider near a point. Units: kilometres, metres, Unix milliseconds."""

    riderId: str
    name: str
    vehicle: str | None
    location: LocationView
    distanceKm: float
    available: bool
    activeDeliveries: int
    duty: str
    accuracy: float | None
    ts: int
    receivedAt: int
    state: str


class DecisionsView(ListPage[Snapshot]):
    """The decisions kept for an order; `notKept` counts the others."""

    notKept: int


async def get_nearby(request: web.Request) -> ListPage[NearbyRiderView]:
    """Riders around a point, nearest first, whether available or not."""
    context = request.app[ADMIN]
    lat = number_of(request, "lat", -90, 90)
    lng = number_of(request, "lng", -180, 180)
    radius_km = number_of(request, "radiusKm", 0.001, RADIUS_KM_MAX, RADIUS_KM_DEFAULT)
    limit = page_of(request).limit
    now_ms = request.app[HTTP_EDGE].clock.now_ms()
    riders = await context.rider_index.find_nearest(Circle(lat, lng, radius_km), limit, now_ms)
    views = (_rider_view(rider, context.freshness(rider.seen_at_ms)) for rider in riders)
    return listing(views, None)


def _rider_view(rider: IndexedRider, state: str) -> NearbyRiderView:
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


async def get_decisions(request: web.Request) -> DecisionsView:
    """Why riders were offered an order, or none was, and the outcome of each offer; oldest first.

    Errors: Refused NOT_FOUND.
    """
    context, order_id = request.app[ADMIN], order_id_of(request)
    order = await context.orders.get(order_id)
    if order is None:
        raise Refused(Refusal.NOT_FOUND, f"there is no order {order_id}")
    kept = await context.decisions.list_for(order_id)
    made = order.dispatch.decisions if order.dispatch else 0
    page = listing(decisions_view(order, kept), None)
    return {**page, "notKept": max(0, made - len(kept))}


async def get_offer_policy(request: web.Request) -> JsonObject:
    """How riders are offered a service's orders. Errors: Refused NOT_FOUND."""
    name = request.match_info["service"].lower()
    policies = request.app[ADMIN].offer_policies
    return _policy_view(name, policies.zone, await policies.get_versioned(parse_service(name)))


async def put_offer_policy(request: web.Request) -> JsonObject:
    """Change how riders are offered a service's orders; applies from the engine's next tick.

    Errors: Refused NOT_FOUND, MALFORMED.
    """
    name = request.match_info["service"].lower()
    service = parse_service(name)
    body = await read_body(request, OfferSettings)
    policies = request.app[ADMIN].offer_policies
    changed = await policies.put_offers(service, body, request[PRINCIPAL].id)
    return _policy_view(name, policies.zone, changed)


def _policy_view(name: str, zone: str, policy: VersionedPolicy) -> JsonObject:
    fields: dict[str, object] = msgspec.to_builtins(policy.policy)
    return {"service": name, "zone": zone, "version": policy.version, **fields}


_ADMIN = ("ADMIN",)
_OFFER_POLICY = "/api/v1/admin/config/offers/{service}"
ROUTES = (
    Route("GET", "/api/v1/admin/orders/{orderId}/decisions", _ADMIN, get_decisions),
    Route("GET", _OFFER_POLICY, _ADMIN, get_offer_policy),
    Route("PUT", _OFFER_POLICY, _ADMIN, put_offer_policy, OfferSettings),
    Route("GET", "/api/v1/admin/riders/nearby", _ADMIN, get_nearby),
)
