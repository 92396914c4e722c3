"""Profile endpoints of vendors and riders."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypedDict

from aiohttp import web

from dispatch.accounts.people import People
from dispatch.catalogue.area_rule import check_place
from dispatch.catalogue.store import Catalogue, Vendor
from dispatch.ids import RiderId
from dispatch.riders.store import Rider, Riders, Workload
from dispatch.service_area import ServiceArea
from dispatch.tracking.rider_registry import RiderRegistry
from dispatch.tracking.rider_state import RiderAttributes
from dispatch.wire.http.profiles import RiderProfile, VendorProfile
from handlers.http.framework.envelope import PRINCIPAL, Route, read_body


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilesContext:
    """What the profile endpoints use.

    `load_rider` reads a rider's workload and attributes from the stores.
    """

    catalogue: Catalogue
    riders: Riders
    people: People
    rider_registry: RiderRegistry
    load_rider: Callable[[RiderId], Awaitable[tuple[Workload, RiderAttributes]]]
    service_area: ServiceArea


PROFILES = web.AppKey("profiles", ProfilesContext)


class PlaceView(TypedDict):
    """A place with its postal address. Units: degrees WGS 84."""

    lat: float
    lng: float
    address: str


class VendorView(TypedDict):
    """A vendor's profile. Units: minutes."""

    vendorId: str
    name: str
    phone: str
    location: PlaceView | None
    services: list[str]
    online: bool
    prepMinutes: int | None
    standing: str
    standingReason: str


class RiderView(TypedDict):
    """A rider's profile, workload and statistics. Units: percent, stars out of five."""

    riderId: str
    name: str
    phone: str
    vehicle: str | None
    available: bool
    orders: list[str]
    completion: float
    rating: float
    standing: str
    standingReason: str


async def get_vendor(request: web.Request) -> VendorView:
    """The vendor's profile; empty before one is saved."""
    context, vendor_id = request.app[PROFILES], request[PRINCIPAL].id
    saved = await context.catalogue.vendor(vendor_id)
    return await _vendor_view(context, saved or Vendor(vendor_id=vendor_id))


async def put_vendor(request: web.Request) -> VendorView:
    """Save the fields in the body; the others stay unchanged.

    Errors: Refused OUT_OF_AREA; NOT_APPROVED for one that opens without being approved.
    """
    context, body = request.app[PROFILES], await read_body(request, VendorProfile)
    vendor_id = request[PRINCIPAL].id
    if body.location is not None:
        check_place(context.service_area, "location", body.location)
    if body.online:
        await context.people.require_active("VENDOR", vendor_id)
    return await _vendor_view(context, await context.catalogue.put_vendor(vendor_id, body))


async def _vendor_view(context: ProfilesContext, vendor: Vendor) -> VendorView:
    place = vendor.location
    person = await context.people.get("VENDOR", vendor.vendor_id)
    return {
        "vendorId": vendor.vendor_id,
        "name": vendor.name,
        "phone": vendor.phone,
        "location": (
            {"lat": place.lat, "lng": place.lng, "address": place.address} if place else None
        ),
        "services": list(vendor.services),
        "online": vendor.online,
        "prepMinutes": vendor.prep_minutes,
        "standing": context.people.rules.effective(person.standing).value,
        "standingReason": person.reason,
    }


async def get_rider(request: web.Request) -> RiderView:
    """The rider's profile; empty before one is saved."""
    context, rider_id = request.app[PROFILES], RiderId(request[PRINCIPAL].id)
    saved = await context.riders.profile(rider_id)
    return await _rider_view(context, saved or Rider(rider_id=rider_id))


async def put_rider(request: web.Request) -> RiderView:
    """Save the fields in the body, the others stay unchanged; matching uses them at once."""
    context, body = request.app[PROFILES], await read_body(request, RiderProfile)
    rider_id = RiderId(request[PRINCIPAL].id)
    saved = await context.riders.put_profile(rider_id, body)
    _, attributes = await context.load_rider(rider_id)
    context.rider_registry.set_attributes(rider_id, attributes)
    return await _rider_view(context, saved)


async def _rider_view(context: ProfilesContext, rider: Rider) -> RiderView:
    workload, stats = await context.riders.workload_and_stats(rider.rider_id)
    person = await context.people.get("RIDER", rider.rider_id)
    return {
        "riderId": rider.rider_id,
        "name": rider.name,
        "phone": rider.phone,
        "vehicle": rider.vehicle,
        "available": workload.available,
        "orders": list(workload.orders),
        "completion": round(stats.completion, 1),
        "rating": round(stats.rating, 2),
        "standing": context.people.rules.effective(person.standing).value,
        "standingReason": person.reason,
    }


ROUTES = (
    Route("GET", "/api/v1/vendor/profile", ("VENDOR",), get_vendor),
    Route("PUT", "/api/v1/vendor/profile", ("VENDOR",), put_vendor, VendorProfile),
    Route("GET", "/api/v1/rider/profile", ("RIDER",), get_rider),
    Route("PUT", "/api/v1/rider/profile", ("RIDER",), put_rider, RiderProfile),
)
