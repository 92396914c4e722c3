"""The nouns of dispatch: orders, their dispatch beside them, offers; frozen, without behaviour."""

from enum import StrEnum
from typing import Literal

import msgspec

from dispatch.ids import OfferId, OrderId, RiderId
from ledger.core.pricing import Pricing, Service


class OrderStatus(StrEnum):
    """Where an order stands, as on the wire."""

    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"
    PREPARING = "PREPARING"
    READY = "READY"
    IN_TRANSIT = "IN_TRANSIT"
    DELIVERED = "DELIVERED"
    FUNDS_DISTRIBUTED = "FUNDS_DISTRIBUTED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"


TERMINAL_STATUSES = frozenset(
    {OrderStatus.FUNDS_DISTRIBUTED, OrderStatus.REJECTED, OrderStatus.CANCELLED}
)


class DispatchState(StrEnum):
    """Where the search for, and the way of, a rider stands, as on the wire."""

    SEARCHING = "SEARCHING"
    OFFERED = "OFFERED"
    ASSIGNED = "ASSIGNED"
    AT_PICKUP = "AT_PICKUP"
    PICKED_UP = "PICKED_UP"
    AT_DROPOFF = "AT_DROPOFF"
    DONE = "DONE"
    EXHAUSTED = "EXHAUSTED"


class PaymentMethod(StrEnum):
    """How the customer pays."""

    WALLET = "WALLET"
    MOBILE_MONEY = "MOBILE_MONEY"
    CASH = "CASH"


class PaymentState(StrEnum):
    """Whether the customer has paid."""

    PENDING = "PENDING"
    # The provider said no; his customer may still try again.
    FAILED = "FAILED"
    CAPTURED = "CAPTURED"
    DUE = "DUE"
    COLLECTED = "COLLECTED"
    REFUNDED = "REFUNDED"
    VOID = "VOID"


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is kept in DynamoDB under its wire names; readers ignore what they do not know."""


class Place(Record, frozen=True):
    """A point with what a person calls it. Units: degrees WGS 84."""

    lat: float
    lng: float
    address: str = ""


class OrderLine(Record, frozen=True):
    """One catalogue item in an order, at the price of that moment. Units: whole XAF.

    `stocked` says that its quantity was taken out of the vendor's counted stock.
    """

    item_id: str
    name: str
    quantity: int
    unit_price: int
    stocked: bool = False


class Parcel(Record, frozen=True):
    """What a PACKAGE order carries. Units: kilograms."""

    category: str
    weight: float
    description: str = ""
    is_fragile: bool = False


class Recipient(Record, frozen=True):
    """Who takes the parcel."""

    name: str
    phone: str


class OrderPayment(Record, frozen=True):
    """How and whether the order is paid. Units: whole XAF."""

    method: PaymentMethod
    state: PaymentState
    provider: str | None = None
    payment_id: str | None = None
    collected: int | None = None

    @property
    def is_awaited(self) -> bool:
        """Whether the provider's money has not come yet."""
        return self.state in (PaymentState.PENDING, PaymentState.FAILED)

    def reversed(self) -> "OrderPayment":
        """The payment of an order that is called off."""
        captured = self.state is PaymentState.CAPTURED
        after = PaymentState.REFUNDED if captured else PaymentState.VOID
        return msgspec.structs.replace(self, state=after)


class Offer(Record, frozen=True):
    """A delivery offered to one rider until a moment by the server's clock.

    Units: Unix milliseconds. `expires_at_ms` is what the rider sees; he may still accept until
    `deadline_ms`, which covers the way of his answer.
    """

    offer_id: OfferId
    wave: int
    made_at_ms: int
    expires_at_ms: int
    deadline_ms: int
    distance_km: float


# How orders meet riders: each by itself, all together, or together while riders are short.
MatchingMode = Literal["offers", "batch", "auto"]


class OfferPolicy(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How riders are asked. Units: kilometres, metres, milliseconds.

    Source: matching and reliability designs; grace covers the way of an answer on a mobile network.
    """

    mode: MatchingMode = "offers"
    # All orders together are decided this often, and sooner where a rider has said no.
    batch_every_ms: int = 5_000
    # With `auto`: orders that wait, for each free rider, above and below which the mode changes.
    # Source: own choice; with as many orders as riders the next one has to wait for somebody.
    batch_above: float = 1.0
    batch_below: float = 0.5
    wave_sizes: tuple[int, ...] = (1, 3, 5)
    radii_km: tuple[float, ...] = (1.5, 3.0, 5.0, 7.0)
    # Between two riders of a wave, best first; 0 asks them all at once.
    stagger_ms: int = 3_000
    window_ms: int = 15_000
    grace_ms: int = 3_000
    receipt_ms: int = 2_000
    # How long a rider who said no, or nothing, is left alone with this order.
    silence_ms: int = 30 * 60_000
    # A rider who only kept silent is asked once more when nobody else is left.
    refill_ms: int = 30_000
    # Pauses between searches that found nobody, by how often that was so; the last one repeats.
    retry_ms: tuple[int, ...] = (2_000, 3_000, 5_000)
    candidates_max: int = 64
    # Offers in a row that a rider's app did not show, and how long he is then left alone.
    unread_max: int = 3
    pause_ms: int = 5 * 60_000
    # A search that has taken so long wants an operator, and wants him again after a while.
    alert_after_ms: int = 3 * 60_000
    alert_every_ms: int = 5 * 60_000
    # A rider who accepted is given up without a fix for so long before the pickup, or when he came
    # no nearer to it by so much for so long, unless he is that near already.
    vanish_ms: int = 60_000
    stall_ms: int = 240_000
    stall_m: int = 50
    near_m: int = 100


class OfferOutcome(StrEnum):
    """What came of an offer that was not accepted."""

    DECLINED = "declined"
    EXPIRED = "expired"
    UNREAD = "unread"
    TAKEN = "taken"
    RELEASED = "released"
    VANISHED = "vanished"
    STALLED = "stalled"
    MOVED = "moved"


class PastOffer(Record, frozen=True):
    """What came of an earlier offer of this order to a rider."""

    offer_id: OfferId
    outcome: OfferOutcome
    at_ms: int


class ConsideredRider(Record, frozen=True):
    """A rider as one look of the engine saw him. Units: kilometres, points, minutes.

    `excluded` says why he was not asked, None where he could have been; `offer_id` is there where
    he was; `before` is what came of the order's last offer to him. Where all orders were decided
    together there is a `cost`, and `parts` add up to it instead of to the score.
    """

    rider_id: RiderId
    distance_km: float
    score: float | None = None
    parts: dict[str, float] = {}
    recent_offers: int = 0
    excluded: str | None = None
    offer_id: OfferId | None = None
    before: PastOffer | None = None
    cost: float | None = None


class PrepTime(Record, frozen=True):
    """How long the goods take from the vendor's yes, and who says so. Units: minutes.

    `source` is "vendor", "learned" (of `orders` of his, more or less faded) or "house".
    """

    minutes: float
    source: Literal["vendor", "learned", "house"]
    orders: float = 0.0


class Decision(Record, frozen=True):
    """Whom one look of the engine asked, or why it asked nobody. Units: Unix ms, kilometres.

    `left_out` counts riders in reach beyond those that are listed; `looks` says how many looks in a
    row, up to `until_ms`, came to the same. Decisions of one `batch` were made together.
    """

    at_ms: int
    wave: int
    radius_km: float
    candidates: tuple[ConsideredRider, ...] = ()
    left_out: int = 0
    looks: int = 1
    until_ms: int | None = None
    batch: str | None = None
    prep: PrepTime | None = None


class Dispatch(Record, frozen=True):
    """The search beside an order. Units: Unix milliseconds.

    `due_at_ms` is when the engine must look again, None while a rider decides the pace; `wanted` is
    the rider an operator asked for, who is asked before all others. `wave_asked` riders of the
    present wave were asked so far, all inside `radius_km`; `decisions` counts what led here;
    `seen_at` says when the rider's positions showed him at a place, before he said so.
    """

    state: DispatchState
    started_at_ms: int
    rider_id: RiderId | None = None
    offer_id: OfferId | None = None
    wave: int = 0
    wave_asked: int = 0
    radius_km: float | None = None
    offers: dict[RiderId, Offer] = {}
    asked: dict[RiderId, PastOffer] = {}
    due_at_ms: int | None = None
    wanted: RiderId | None = None
    decisions: int = 0
    seen_at: dict[str, int] = {}


class Order(Record, frozen=True):
    """One order with all that its steps depend on. Units: Unix milliseconds, whole XAF."""

    order_id: OrderId
    order_type: Service
    user_id: str
    status: OrderStatus
    pricing: Pricing
    pickup: Place
    dropoff: Place
    payment: OrderPayment
    created_at: int
    updated_at: int
    version: int
    vendor_id: str | None = None
    items: tuple[OrderLine, ...] = ()
    parcel: Parcel | None = None
    recipient: Recipient | None = None
    dispatch: Dispatch | None = None
    prep_minutes: int | None = None
    reason: str | None = None
    rating: int | None = None
    notes: str | None = None
    # The promotion whose discount is in the prices.
    promo_code: str | None = None
    # When each status was reached.
    times: dict[str, int] = {}

    @property
    def rider_id(self) -> RiderId | None:
        """The rider to whom the order is assigned now."""
        return self.dispatch.rider_id if self.dispatch else None

    @property
    def is_terminal(self) -> bool:
        """Whether nothing more will happen to the order's state."""
        return self.status in TERMINAL_STATUSES


class Position(Record, frozen=True, gc=False):
    """Where a rider was, as his phone said and the server believed; None is unknown.

    Units: degrees WGS 84, degrees from north, metres per second, metres, Unix milliseconds.
    `ts` is the phone's time, never later than `received_at`, which is the server's.
    """

    lat: float
    lng: float
    ts: int
    received_at: int
    heading: float | None = None
    speed: float | None = None
    accuracy: float | None = None
    seq: int | None = None


class Trail(Record, frozen=True):
    """The way on which an order was carried. Units: metres along it, Unix milliseconds.

    `polyline` is simplified; `points` are those it has. Without points nothing was reported.
    """

    rider_id: str
    polyline: str = ""
    points: int = 0
    distance_m: int = 0
    from_ms: int | None = None
    to_ms: int | None = None


class RiderAssignment(Record, frozen=True):
    """Where the rider of an order has to go, and how far he is; what his node must know of it."""

    order_id: str
    state: DispatchState
    pickup: Place
    dropoff: Place


def assignment_of(order: Order) -> RiderAssignment | None:
    """The course of the order's rider, None where nobody is on his way."""
    dispatch = order.dispatch
    if dispatch is None or dispatch.rider_id is None:
        return None
    return RiderAssignment(
        order_id=order.order_id, state=dispatch.state, pickup=order.pickup, dropoff=order.dropoff
    )
