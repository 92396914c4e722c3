"""What operators look at: orders, riders near a point, the books."""

from typing import Any

from aiohttp import web

from dispatch.store.answering import answering
from dispatch.store.cells import Circle
from dispatch.store.facts import Seen
from handlers.desk import DESK
from handlers.http.envelope import Route
from handlers.http.orders import get_all_orders
from handlers.http.paging import listing, number_of, page_of

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
    seen = await desk.positions.near_any(Circle(lat, lng, radius_km), limit, desk.clock.now_ms())
    return listing([_rider(each, desk.freshness(each.seen_at_ms)) for each in seen], None)


def _rider(seen: Seen, state: str) -> dict[str, Any]:
    return {
        "riderId": seen.rider_id,
        "name": seen.name,
        "vehicle": seen.vehicle,
        "location": {"lat": seen.lat, "lng": seen.lng},
        "distanceKm": round(seen.distance_km, 3),
        "available": seen.available,
        "activeDeliveries": seen.active,
        "duty": seen.duty,
        "ts": seen.ts,
        "state": state,
    }


async def get_trial_balance(request: web.Request) -> Any:
    """The sum of all accounts, which is zero."""
    with answering():
        return await request.app[DESK].statements.trial_balance()


ROUTES = (
    Route("GET", "/api/v1/admin/orders", ("ADMIN",), get_all_orders),
    Route("GET", "/api/v1/admin/riders/nearby", ("ADMIN",), get_nearby),
    Route("GET", "/api/v1/admin/ledger/trial-balance", ("ADMIN",), get_trial_balance),
)
