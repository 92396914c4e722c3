"""Vendors and riders about themselves."""

from typing import Any

import msgspec
from aiohttp import web

from dispatch.catalogue.store import Vendor
from dispatch.riders.store import Rider
from dispatch.wire.http.profiles import RiderProfile, VendorProfile
from handlers.app.contexts import DESK, Desk
from handlers.http.framework.envelope import PRINCIPAL, Route, read_body


async def get_vendor(request: web.Request) -> Any:
    """The vendor's profile, empty before he saved one."""
    vendor_id = request[PRINCIPAL].id
    saved = await request.app[DESK].catalogue.vendor(vendor_id)
    return vendor_view(saved or Vendor(vendor_id=vendor_id))


async def put_vendor(request: web.Request) -> Any:
    """Save what the body names; the rest stays."""
    body = await read_body(request, VendorProfile)
    return vendor_view(await request.app[DESK].catalogue.put_vendor(request[PRINCIPAL].id, body))


def vendor_view(vendor: Vendor) -> dict[str, Any]:
    """A profile with all of its fields."""
    return {
        "vendorId": vendor.vendor_id,
        "name": vendor.name,
        "phone": vendor.phone,
        "location": msgspec.structs.asdict(vendor.location) if vendor.location else None,
        "services": list(vendor.services),
        "online": vendor.online,
        "prepMinutes": vendor.prep_minutes,
    }


async def get_rider(request: web.Request) -> Any:
    """The rider's profile, empty before he saved one."""
    rider_id = request[PRINCIPAL].id
    saved = await request.app[DESK].riders.profile(rider_id)
    return await rider_view(request.app[DESK], saved or Rider(rider_id=rider_id))


async def put_rider(request: web.Request) -> Any:
    """Save what the body names; the rest stays, and matching learns of it at once."""
    desk, body = request.app[DESK], await read_body(request, RiderProfile)
    rider_id = request[PRINCIPAL].id
    saved = await desk.riders.put_profile(rider_id, body)
    _, about = await desk.load_rider(rider_id)
    desk.rider_registry.set_attributes(rider_id, about)
    return await rider_view(desk, saved)


async def rider_view(desk: Desk, rider: Rider) -> dict[str, Any]:
    """A profile with all of its fields, and how the rider stands."""
    duty, stats = await desk.riders.workload_and_stats(rider.rider_id)
    return {
        "riderId": rider.rider_id,
        "name": rider.name,
        "phone": rider.phone,
        "vehicle": rider.vehicle,
        "available": duty.available,
        "orders": list(duty.orders),
        "completion": round(stats.completion, 1),
        "rating": round(stats.rating, 2),
    }


ROUTES = (
    Route("GET", "/api/v1/vendor/profile", ("VENDOR",), get_vendor),
    Route("PUT", "/api/v1/vendor/profile", ("VENDOR",), put_vendor, VendorProfile),
    Route("GET", "/api/v1/rider/profile", ("RIDER",), get_rider),
    Route("PUT", "/api/v1/rider/profile", ("RIDER",), put_rider, RiderProfile),
)
