"""What request bodies share: their base struct, bounded field types, an address, a reason."""

from typing import Annotated, Literal

from msgspec import Meta

from dispatch.wire.commands import Reason
from dispatch.wire.texts import CleanTexts, lines

OwnerType = Literal["USER", "VENDOR", "RIDER"]
PaymentMethodName = Literal["WALLET", "MOBILE_MONEY", "CASH"]

# Bounds without a source of their own are chosen: far above what a real client sends, low enough
# that a body stays small.
ShortText = Annotated[str, Meta(max_length=200)]
RequiredText = Annotated[str, Meta(min_length=1, max_length=200)]
DisplayName = Annotated[str, Meta(min_length=1, max_length=100)]
Note = Annotated[str, lines(max_length=500)]
# A payment provider's or a cash desk's name: part of ledger account names and Redis keys.
ProviderName = Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,32}$(?!\n)", max_length=32)]
# Lower-case letters count as capitals.
PromoCode = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{3,32}$(?!\n)", max_length=32)]
# Units: degrees WGS 84.
Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]
# Units: whole XAF.
TipAmount = Annotated[int, Meta(ge=0, le=1_000_000)]
LargeAmount = Annotated[int, Meta(ge=1, le=1_000_000_000)]
# Source: 13 digits reach the year 2286.
UnixMs = Annotated[int, Meta(ge=0, le=9_999_999_999_999)]


class Request(CleanTexts, frozen=True, kw_only=True):
    """A request body of clients; a field that an older server does not know is ignored."""


class OperatorRequest(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request body of operators; an unknown field is refused, since it may be a mistyped one."""


class Address(Request, frozen=True, kw_only=True):
    """A place with its postal address. Units: degrees WGS 84."""

    lat: Latitude
    lng: Longitude
    address: Annotated[str, Meta(max_length=300)] = ""


class ReasonBody(OperatorRequest, frozen=True, kw_only=True):
    """The reason for an action."""

    reason: Reason = ""
