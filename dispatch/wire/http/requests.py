"""What a client may ask over HTTP: one struct per request body."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dispatch.wire.commands import Amount, FaultParty, Id, Reason

ShortText = Annotated[str, Meta(max_length=200)]
Phone = Annotated[str, Meta(pattern=r"^\+?[0-9 ()-]{6,20}$(?!\n)", max_length=20)]
Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]
Price = Annotated[int, Meta(ge=1, le=100_000_000)]
PaymentMethodName = Literal["WALLET", "MOBILE_MONEY", "CASH"]
# Units: whole XAF.
TipAmount = Annotated[int, Meta(ge=0, le=1_000_000)]
OwnerType = Literal["USER", "VENDOR", "RIDER"]
# Small letters count as capitals.
PromoCode = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{3,32}$(?!\n)", max_length=32)]
UnixMs = Annotated[int, Meta(ge=0, le=9_999_999_999_999)]


class Request(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """A request body; a field we do not know is refused rather than ignored."""


class Address(Request, frozen=True, kw_only=True):
    """Where to deliver. Units: degrees WGS 84."""

    lat: Latitude
    lng: Longitude
    address: Annotated[str, Meta(max_length=300)] = ""


class BasketItem(Request, frozen=True, kw_only=True):
    """A catalogue item and how many of it; the price is the server's."""

    item_id: Id
    quantity: Annotated[int, Meta(ge=1, le=1000)]


class GoodsOrder(Request, frozen=True, kw_only=True):
    """A FOOD or MART order."""

    order_type: Literal["FOOD", "MART"]
    vendor_id: Id
    items: Annotated[list[BasketItem], Meta(min_length=1, max_length=100)]
    delivery_address: Address
    payment_method: PaymentMethodName
    notes: Annotated[str, Meta(max_length=500)] | None = None
    tip: TipAmount = 0
    promo_code: PromoCode | None = None


class ParcelDetails(Request, frozen=True, kw_only=True):
    """What is sent. Units: kilograms."""

    category: Annotated[str, Meta(min_length=1, max_length=60)]
    weight: Annotated[float, Meta(gt=0, le=10_000)]
    description: Annotated[str, Meta(max_length=500)] = ""
    is_fragile: bool = False


class Recipient(Request, frozen=True, kw_only=True):
    """Who takes the parcel."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    phone: Phone


class PackageOrder(Request, frozen=True, kw_only=True):
    """A PACKAGE order."""

    order_type: Literal["PACKAGE"]
    pickup: Address
    dropoff: Address
    package_details: ParcelDetails
    recipient: Recipient
    payment_method: PaymentMethodName
    notes: Annotated[str, Meta(max_length=500)] | None = None
    tip: TipAmount = 0
    promo_code: PromoCode | None = None


class CancelOrder(Request, frozen=True, kw_only=True):
    """Call an order off; at whose door it lies is for operators to say."""

    reason: Reason | None = None
    fault: FaultParty | None = None


class Rating(Request, frozen=True, kw_only=True):
    """Say how it was, one to five."""

    rating: Annotated[int, Meta(ge=1, le=5)]
    comment: Annotated[str, Meta(max_length=500)] | None = None


class VendorProfile(Request, frozen=True, kw_only=True):
    """A vendor's own words about himself; what is left out stays as it is."""

    name: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    phone: Phone | None = None
    location: Address | None = None
    services: Annotated[list[Literal["FOOD", "MART"]], Meta(max_length=2)] | None = None
    online: bool | None = None
    prep_minutes: Annotated[int, Meta(ge=0, le=240)] | None = None


class CatalogueItem(Request, frozen=True, kw_only=True):
    """One thing a vendor sells. Units: whole XAF."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    price: Price
    category: ShortText | None = None
    available: bool = True
    stock: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None


class RiderProfile(Request, frozen=True, kw_only=True):
    """A rider's own words about himself; what is left out stays as it is."""

    name: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    phone: Phone | None = None
    vehicle: Literal["MOTORBIKE", "BICYCLE", "CAR", "FOOT"] | None = None


class TopUp(Request, frozen=True, kw_only=True):
    """Money into the caller's wallet. Units: whole XAF."""

    amount: Annotated[int, Meta(ge=1, le=10_000_000)]
    provider: Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,32}$(?!\n)", max_length=32)]


class PayoutRequest(Request, frozen=True, kw_only=True):
    """Money out of the caller's wallet, to a number or account of his. Units: whole XAF."""

    amount: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    destination: (
        Annotated[str, Meta(min_length=1, max_length=200)]
        | Annotated[
            dict[Annotated[str, Meta(max_length=40)], Annotated[str, Meta(max_length=200)]],
            Meta(min_length=1, max_length=10),
        ]
    )


class ReasonBody(Request, frozen=True, kw_only=True):
    """Why."""

    reason: Reason = ""


class PayoutOutcome(Request, frozen=True, kw_only=True):
    """What came of a payout that an operator has carried out. Units: whole XAF."""

    status: Literal["PAID", "FAILED", "RETURNED"]
    fee: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    reason: Reason = ""


class Tip(Request, frozen=True, kw_only=True):
    """Something for the rider. Units: whole XAF."""

    amount: Annotated[int, Meta(ge=1, le=1_000_000)]


class Refund(Request, frozen=True, kw_only=True):
    """Money back for a settled order, and at whose cost. Units: whole XAF."""

    amount: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    reason: Annotated[str, Meta(min_length=1, max_length=200)]
    borne_by: Literal["PARTIES", "VENDOR", "PLATFORM"] = "PARTIES"


class Remittance(Request, frozen=True, kw_only=True):
    """Cash that a rider handed in; a `reference` counts once. Units: whole XAF."""

    amount: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    desk: Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,32}$(?!\n)", max_length=32)] = "cashdesk"
    reference: Id | None = None


class AdjustmentLeg(Request, frozen=True, kw_only=True):
    """One leg: a credit above zero, a debit below. Units: whole XAF."""

    account: Annotated[str, Meta(min_length=3, max_length=150)]
    amount: Annotated[int, Meta(ge=-1_000_000_000_000, le=1_000_000_000_000)]


class Adjustment(Request, frozen=True, kw_only=True):
    """A correction of the books; its legs sum to zero."""

    legs: Annotated[list[AdjustmentLeg], Meta(min_length=2, max_length=10)]
    reason: Annotated[str, Meta(min_length=1, max_length=200)]


class Shortage(Request, frozen=True, kw_only=True):
    """Cash that a rider does not have, and whose loss it is. Units: whole XAF."""

    amount: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    charge: Literal["PLATFORM", "RIDER", "CUSTOMER"]
    reason: Annotated[str, Meta(min_length=1, max_length=200)]
    customer_id: Id | None = None


class WalletStatusChange(Request, frozen=True, kw_only=True):
    """Whether a wallet may be drawn from."""

    status: Literal["ACTIVE", "FROZEN", "CLOSED"]
    reason: Annotated[str, Meta(min_length=1, max_length=200)]


class PayoutGate(Request, frozen=True, kw_only=True):
    """Whether payouts go out."""

    stopped: bool
    reason: Annotated[str, Meta(min_length=1, max_length=200)]


class NewPromotion(Request, frozen=True, kw_only=True):
    """A discount that the platform pays: a rate with or without a cap, or an amount.

    Units: whole XAF, basis points, Unix milliseconds.
    """

    code: PromoCode
    services: Annotated[list[Literal["FOOD", "MART", "PACKAGE"]], Meta(min_length=1, max_length=3)]
    ends_at: UnixMs
    budget: Annotated[int, Meta(ge=1, le=1_000_000_000_000)]
    percent_bps: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    amount: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None
    cap: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None
    min_order_amount: Amount = 0
    starts_at: UnixMs | None = None
    per_user: Annotated[int, Meta(ge=1, le=10_000)] = 1


class TokenRevocation(Request, frozen=True, kw_only=True):
    """Which tokens are recalled: one (itself or its `jti`), or all that a user has until now."""

    token: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    jti: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    user_type: Literal["USER", "VENDOR", "RIDER", "ADMIN"] | None = None
    user_id: Id | None = None
    reason: Reason | None = None


# Source: NIST SP 800-63B section 5.1.1.2, at least eight characters and no rules about their kinds;
# the upper bound keeps a hash's cost in hand.
Password = Annotated[str, Meta(min_length=8, max_length=128)]
RefreshToken = Annotated[str, Meta(min_length=1, max_length=4096)]


class Registration(Request, frozen=True, kw_only=True):
    """A new account."""

    user_type: OwnerType
    phone: Phone
    password: Password
    name: Annotated[str, Meta(min_length=1, max_length=100)] | None = None


class Credentials(Request, frozen=True, kw_only=True):
    """Who somebody says he is."""

    user_type: OwnerType
    phone: Phone
    password: Annotated[str, Meta(max_length=128)]


class RefreshRequest(Request, frozen=True, kw_only=True):
    """The last refresh token that the app was given."""

    refresh_token: RefreshToken


class CodeRequest(Request, frozen=True, kw_only=True):
    """Whom to send a code."""

    user_type: OwnerType
    phone: Phone


class CodeVerification(Request, frozen=True, kw_only=True):
    """The code that came; with `password` it is the password from now on."""

    user_type: OwnerType
    phone: Phone
    code: Annotated[str, Meta(pattern=r"^[0-9]{6}$(?!\n)", max_length=6)]
    password: Password | None = None
    name: Annotated[str, Meta(min_length=1, max_length=100)] | None = None


class ServiceSettings(Request, frozen=True, kw_only=True):
    """A service's price list; what is left out stays as it is. Units: whole XAF, basis points."""

    enabled: bool | None = None
    commission_bps: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    delivery_fee: Amount | None = None
    min_order_amount: Amount | None = None
    base_fee: Amount | None = None
    fee_per_km: Amount | None = None
    fragile_fee: Amount | None = None
    max_weight_kg: Annotated[float, Meta(gt=0, le=10_000)] | None = None


class OfferSettings(Request, frozen=True, kw_only=True):
    """How riders are asked; what is left out stays as it is. Units: kilometres, metres, ms.

    Source: an offer and its grace must end before its receipt is forgotten, after 60 s.
    """

    mode: Literal["offers", "batch", "auto"] | None = None
    batch_every_ms: Annotated[int, Meta(ge=500, le=60_000)] | None = None
    batch_above: Annotated[float, Meta(gt=0, le=100)] | None = None
    batch_below: Annotated[float, Meta(ge=0, le=100)] | None = None
    wave_sizes: (
        Annotated[list[Annotated[int, Meta(ge=1, le=50)]], Meta(min_length=1, max_length=10)] | None
    ) = None
    radii_km: (
        Annotated[list[Annotated[float, Meta(ge=0.1, le=50)]], Meta(min_length=1, max_length=10)]
        | None
    ) = None
    stagger_ms: Annotated[int, Meta(ge=0, le=60_000)] | None = None
    window_ms: Annotated[int, Meta(ge=3_000, le=40_000)] | None = None
    grace_ms: Annotated[int, Meta(ge=0, le=15_000)] | None = None
    receipt_ms: Annotated[int, Meta(ge=500, le=30_000)] | None = None
    silence_ms: Annotated[int, Meta(ge=0, le=86_400_000)] | None = None
    refill_ms: Annotated[int, Meta(ge=1_000, le=86_400_000)] | None = None
    retry_ms: (
        Annotated[list[Annotated[int, Meta(ge=500, le=300_000)]], Meta(min_length=1, max_length=10)]
        | None
    ) = None
    candidates_max: Annotated[int, Meta(ge=1, le=500)] | None = None
    unread_max: Annotated[int, Meta(ge=1, le=100)] | None = None
    pause_ms: Annotated[int, Meta(ge=1_000, le=86_400_000)] | None = None
    alert_after_ms: Annotated[int, Meta(ge=1_000, le=86_400_000)] | None = None
    alert_every_ms: Annotated[int, Meta(ge=10_000, le=86_400_000)] | None = None
    vanish_ms: Annotated[int, Meta(ge=20_000, le=3_600_000)] | None = None
    stall_ms: Annotated[int, Meta(ge=30_000, le=7_200_000)] | None = None
    stall_m: Annotated[int, Meta(ge=5, le=1_000)] | None = None
    near_m: Annotated[int, Meta(ge=10, le=2_000)] | None = None
