"""Bodies of the profile endpoints of vendors and riders; omitted fields stay unchanged."""

from typing import Annotated, Literal

from msgspec import Meta

from dispatch.wire.http.base import Address, DisplayName, Request
from dispatch.wire.phones import Phone


class VendorProfile(Request, frozen=True, kw_only=True):
    """Changes to a vendor's profile; an omitted field stays unchanged."""

    name: DisplayName | None = None
    phone: Phone | None = None
    location: Address | None = None
    services: Annotated[list[Literal["FOOD", "MART"]], Meta(max_length=2)] | None = None
    online: bool | None = None
    prep_minutes: Annotated[int, Meta(ge=0, le=240)] | None = None


class RiderProfile(Request, frozen=True, kw_only=True):
    """Changes to a rider's profile; an omitted field stays unchanged."""

    name: DisplayName | None = None
    phone: Phone | None = None
    vehicle: Literal["MOTORBIKE", "BICYCLE", "CAR", "FOOT"] | None = None
