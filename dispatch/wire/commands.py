"""What a client may ask over a socket: one struct per command, named as on the wire."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dispatch.ids import ID_PATTERN

Id = Annotated[str, Meta(pattern=ID_PATTERN, max_length=64)]
Reason = Annotated[str, Meta(max_length=200)]
FaultParty = Literal["CUSTOMER", "VENDOR", "RIDER", "PLATFORM"]
# Source: JavaScript's Number.MAX_SAFE_INTEGER, the latest moment that an app can say exactly.
UNIX_MS_MAX = 2**53 - 1
Amount = Annotated[int, Meta(ge=0, le=1_000_000_000_000)]


class Command(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """A request; `commandId` makes repeating it harmless."""

    command_id: Id | None = None


class OrderCommand(Command, frozen=True, kw_only=True):
    """A request about one order."""

    order_id: Id


# /user


class SubscribeOrder(OrderCommand, frozen=True):
    """Show me this order now and as it moves."""


class UnsubscribeOrder(OrderCommand, frozen=True):
    """Stop showing me this order."""


class CancelOrder(OrderCommand, frozen=True):
    """Call the order off; at whose door it lies is for operators to say."""

    reason: Reason | None = None
    fault: FaultParty | None = None


class RateOrder(OrderCommand, frozen=True):
    """Say how it was, one to five."""

    rating: Annotated[int, Meta(ge=1, le=5)]
    comment: Annotated[str, Meta(max_length=500)] | None = None


# /vendor


class AcceptOrder(OrderCommand, frozen=True):
    """The vendor takes the order."""

    prep_minutes: Annotated[int, Meta(ge=0, le=240)] | None = None


class RejectOrder(OrderCommand, frozen=True):
    """The vendor turns the order down."""

    reason: Reason


class OrderPreparing(OrderCommand, frozen=True):
    """The kitchen has begun."""


class OrderReady(OrderCommand, frozen=True):
    """The order waits for its rider."""


class SetOnline(Command, frozen=True):
    """Open or close the shop."""

    online: bool


# /rider


class Fix(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """One GPS fix as a device reports it; unknown fields are ignored, an `orderId` above all.

    Units: degrees WGS 84, metres per second, metres, degrees from north, Unix milliseconds.
    """

    lat: float
    lng: float
    heading: float | None = None
    speed: float | None = None
    accuracy: float | None = None
    ts: int | float | None = None
    seq: int | None = None


class LocationBatch(Command, frozen=True):
    """Fixes a device kept while it was offline."""

    fixes: Annotated[list[Fix], Meta(max_length=100)]


class SetAvailability(Command, frozen=True):
    """Go on or off duty, perhaps until a moment (Unix ms) after which he picks nothing up."""

    available: bool
    until: Annotated[int, Meta(ge=0, le=UNIX_MS_MAX)] | None = None


class AcceptDelivery(OrderCommand, frozen=True):
    """Take an offered delivery."""

    offer_id: Id


class DeclineDelivery(OrderCommand, frozen=True):
    """Turn an offered delivery down."""

    offer_id: Id
    reason: Reason | None = None


class ArrivedPickup(OrderCommand, frozen=True):
    """The rider stands at the pickup."""


class PickUp(OrderCommand, frozen=True):
    """The rider has the goods."""


class ArrivedDropoff(OrderCommand, frozen=True):
    """The rider stands at the customer's door."""


class CompleteDelivery(OrderCommand, frozen=True):
    """The goods are handed over, and the cash taken where cash was due."""

    cash_collected: Amount | None = None
    proof: Annotated[str, Meta(max_length=500)] | None = None


class ReleaseDelivery(OrderCommand, frozen=True):
    """The rider gives an assigned delivery back before the pickup."""

    reason: Reason


# /ops


class Bbox(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A map window. Units: degrees WGS 84."""

    south: Annotated[float, Meta(ge=-90, le=90)]
    west: Annotated[float, Meta(ge=-180, le=180)]
    north: Annotated[float, Meta(ge=-90, le=90)]
    east: Annotated[float, Meta(ge=-180, le=180)]


# `[west, south, east, north]`. Source: GeoJSON, RFC 7946 section 5.
BboxArray = Annotated[list[float], Meta(min_length=4, max_length=4)]


class WatchArea(Command, frozen=True):
    """Show me the riders and orders inside a window, as four named edges or as GeoJSON's array."""

    bbox: Bbox | BboxArray


class UnwatchArea(Command, frozen=True):
    """Stop showing me the window."""


class Reassign(OrderCommand, frozen=True):
    """Take the order from its rider and search again, or offer it to one named rider."""

    rider_id: Id | None = None
    reason: Reason | None = None


Audience = Literal["user", "vendor", "rider", "ops"]
