"""Commands that clients send over a socket: one struct each, named as on the wire."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from dispatch.ids import ID_PATTERN
from dispatch.wire.texts import CleanTexts, clean_fields, lines

Id = Annotated[str, Meta(pattern=ID_PATTERN, max_length=64)]
Reason = Annotated[str, Meta(max_length=200)]
ProofKind = Literal["PIN", "PHOTO", "SIGNATURE", "BARCODE"]
FaultParty = Literal["CUSTOMER", "VENDOR", "RIDER", "PLATFORM"]
# Source: ECMAScript, Number.MAX_SAFE_INTEGER, the latest time that every client can represent.
UNIX_MS_MAX = 2**53 - 1
# Fixes of one `location_batch`, and lines of one order. Source: chosen; some eight minutes of fixes
# at the usual interval of five seconds, and far more kinds of goods than a rider can carry.
FIXES_PER_BATCH_MAX = 100
ORDER_LINES_MAX = 100
# Units: whole XAF.
Amount = Annotated[int, Meta(ge=0, le=1_000_000_000_000)]


class Command(CleanTexts, frozen=True, kw_only=True):
    """A command; with a `commandId` a repeat has no further effect. Unknown fields are ignored."""

    command_id: Id | None = None


class OrderCommand(Command, frozen=True, kw_only=True):
    """A command about one order."""

    order_id: Id


# /user


class SubscribeOrder(OrderCommand, frozen=True):
    """Subscribe to an order: a snapshot now, then its events and positions."""


class UnsubscribeOrder(OrderCommand, frozen=True):
    """End the subscription to an order."""


class CancelOrder(OrderCommand, frozen=True):
    """Cancel an order; only operators may name the party at fault."""

    reason: Reason | None = None
    fault: FaultParty | None = None


class RateOrder(OrderCommand, frozen=True):
    """Rate a delivered order. Units: stars, 1 to 5."""

    rating: Annotated[int, Meta(ge=1, le=5)]
    comment: Annotated[str, lines(max_length=500)] | None = None


# /vendor


class AcceptOrder(OrderCommand, frozen=True):
    """The vendor accepts an order. Units: minutes."""

    prep_minutes: Annotated[int, Meta(ge=0, le=240)] | None = None


class RejectOrder(OrderCommand, frozen=True):
    """The vendor rejects an order."""

    reason: Reason


class OrderPreparing(OrderCommand, frozen=True):
    """The vendor has begun to prepare an order."""


class OrderReady(OrderCommand, frozen=True):
    """The goods of an order are ready for pickup."""


class SetOnline(Command, frozen=True):
    """Open or close the vendor for orders."""

    online: bool


# /rider


_FIX_TIME = "Unix milliseconds; a text in the form of RFC 3339 with a zone is understood too"
# Where the API documents hold the schema of a fix.
_FIX_SCHEMA = {"$ref": "#/components/schemas/Fix"}


class Fix(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """One GPS fix as a device reports it; unknown fields, such as `orderId`, are ignored.

    Units: degrees WGS 84, metres per second, metres, degrees from north, Unix milliseconds.
    """

    lat: float
    lng: float
    heading: float | None = None
    speed: float | None = None
    accuracy: float | None = None
    ts: Annotated[int | float | None, Meta(description=_FIX_TIME)] = None
    seq: int | None = None


class LocationBatch(Command, frozen=True):
    """Fixes that a device stored while it was offline; each is taken or dropped by itself."""

    # Decoded one by one (`dispatch.wire.fix_decoding`): a bad record must not refuse the others.
    fixes: Annotated[
        list[Any], Meta(max_length=FIXES_PER_BATCH_MAX, extra_json_schema={"items": _FIX_SCHEMA})
    ]


class SetAvailability(Command, frozen=True):
    """Set whether the rider takes orders; no pickups after `until`. Units: Unix milliseconds."""

    available: bool
    until: Annotated[int, Meta(ge=0, le=UNIX_MS_MAX)] | None = None


class AcceptDelivery(OrderCommand, frozen=True):
    """Accept an offered delivery."""

    offer_id: Id


class DeclineDelivery(OrderCommand, frozen=True):
    """Decline an offered delivery."""

    offer_id: Id
    reason: Reason | None = None


class ArrivedPickup(OrderCommand, frozen=True):
    """The rider has arrived at the pickup."""


class PickUp(OrderCommand, frozen=True):
    """The rider has picked up the goods."""


class ArrivedDropoff(OrderCommand, frozen=True):
    """The rider has arrived at the dropoff."""


# The field that holds the evidence of each kind of proof.
_EVIDENCE_OF = {"PIN": "pin", "PHOTO": "upload_id", "SIGNATURE": "upload_id", "BARCODE": "code"}


class Proof(CleanTexts, frozen=True, kw_only=True):
    """Evidence of a handover: the customer's PIN, an uploaded picture, or the parcel's code.

    A `PIN` has `pin`, a `PHOTO` or `SIGNATURE` has `uploadId`, a `BARCODE` has `code`.
    """

    kind: ProofKind
    pin: Annotated[str, Meta(pattern=r"^[0-9]{4,8}$(?!\n)", max_length=8)] | None = None
    upload_id: Id | None = None
    code: Annotated[str, Meta(min_length=1, max_length=200)] | None = None

    def __post_init__(self) -> None:
        """Check that the evidence of the kind is there. Errors: ValueError."""
        clean_fields(self)
        name = _EVIDENCE_OF[self.kind]
        if getattr(self, name) is None:
            raise ValueError(f"{self.kind} needs `{'uploadId' if name == 'upload_id' else name}`")


class CompleteDelivery(OrderCommand, frozen=True):
    """The goods are handed over, with the cash that was collected. Units: whole XAF.

    A `proof` that is a text is kept as a note.
    """

    cash_collected: Amount | None = None
    proof: Proof | Annotated[str, lines(max_length=500)] | None = None


class ReleaseDelivery(OrderCommand, frozen=True):
    """The rider releases an assigned delivery before the pickup."""

    reason: Reason


# /ops


class Bbox(msgspec.Struct, frozen=True):
    """A map viewport. Units: degrees WGS 84."""

    south: Annotated[float, Meta(ge=-90, le=90)]
    west: Annotated[float, Meta(ge=-180, le=180)]
    north: Annotated[float, Meta(ge=-90, le=90)]
    east: Annotated[float, Meta(ge=-180, le=180)]


# `[west, south, east, north]`. Source: GeoJSON, RFC 7946 section 5.
BboxArray = Annotated[list[float], Meta(min_length=4, max_length=4)]


class WatchArea(Command, frozen=True):
    """Watch the riders and orders inside a viewport, given by named edges or as GeoJSON's bbox."""

    bbox: Bbox | BboxArray


class UnwatchArea(Command, frozen=True):
    """Stop watching the viewport."""


class Reassign(OrderCommand, frozen=True):
    """Withdraw an order from its rider and search again, or offer it to one named rider."""

    rider_id: Id | None = None
    reason: Reason | None = None


Audience = Literal["user", "vendor", "rider", "ops"]
