"""What the server says: one struct per event, named as on the wire, each with its delivery class.

Durable events go through the receiver's inbox, which adds `seq`, `epoch` and `ts`; the others are
told once to whoever listens, and only the latest counts.
"""

from enum import StrEnum
from typing import Any, ClassVar, Literal

import msgspec

SearchState = Literal["searching", "offered", "no_riders"]
Stop = Literal["pickup", "dropoff"]
CloseReason = Literal["taken", "expired", "cancelled"]
Freshness = Literal["live", "stale", "lost"]


class DeliveryClass(StrEnum):
    """What happens to an event whose receiver is away."""

    DURABLE = "durable"
    LATEST = "latest"


class Event(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Something that has happened."""

    event: ClassVar[str]
    delivery_class: ClassVar[DeliveryClass] = DeliveryClass.DURABLE


class OrderEvent(Event, frozen=True, kw_only=True):
    """Something that has happened to one order; `version` is the order's after it."""

    order_id: str
    version: int


class LatLng(msgspec.Struct, frozen=True, gc=False):
    """A point. Units: degrees WGS 84."""

    lat: float
    lng: float


class NewOrder(OrderEvent, frozen=True, kw_only=True):
    """To the vendor: an order wants an answer."""

    event = "new_order"
    order: dict[str, Any]


class OrderAccepted(OrderEvent, frozen=True, kw_only=True):
    """To the customer: the vendor has taken the order."""

    event = "order_accepted"
    prep_minutes: int | None = None


class OrderRejected(OrderEvent, frozen=True, kw_only=True):
    """To the customer: the vendor has turned the order down."""

    event = "order_rejected"
    reason: str
    refund_amount: int


class PaymentFailed(OrderEvent, frozen=True, kw_only=True):
    """To the customer: nothing was paid; it may still be until `pay_until` (Unix ms)."""

    event = "payment_failed"
    reason: str | None = None
    pay_until: int


class OrderPreparing(OrderEvent, frozen=True, kw_only=True):
    """To the customer: the kitchen has begun."""

    event = "order_preparing"


class OrderReady(OrderEvent, frozen=True, kw_only=True):
    """To the customer: the order waits for its rider."""

    event = "order_ready"


class OrderReadyForPickup(OrderEvent, frozen=True, kw_only=True):
    """To the rider: the goods wait for you."""

    event = "order_ready_for_pickup"


class DispatchStatus(OrderEvent, frozen=True, kw_only=True):
    """To the customer: how the search for a rider goes."""

    event = "dispatch_status"
    state: SearchState


class RiderAssigned(OrderEvent, frozen=True, kw_only=True):
    """To customer and vendor: this rider comes."""

    event = "rider_assigned"
    rider_id: str
    name: str | None
    vehicle: str | None
    eta_seconds: int | None


class RiderArrived(OrderEvent, frozen=True, kw_only=True):
    """To customer and vendor: the rider stands at the pickup or the door."""

    event = "rider_arrived"
    at: Stop


class OrderPickedUp(OrderEvent, frozen=True, kw_only=True):
    """To customer and vendor: the goods are on their way."""

    event = "order_picked_up"
    rider_id: str


class OrderDelivered(OrderEvent, frozen=True, kw_only=True):
    """To customer and vendor: the goods are handed over."""

    event = "order_delivered"
    rider_id: str


class OrderCancelled(OrderEvent, frozen=True, kw_only=True):
    """To everyone in the order: it is called off."""

    event = "order_cancelled"
    reason: str
    refund_amount: int


class OrderSettled(OrderEvent, frozen=True, kw_only=True):
    """To vendor and rider: your part of the money is in your wallet."""

    event = "order_settled"
    amount: int
    transaction_id: str | None = None


class DeliveryRequest(OrderEvent, frozen=True, kw_only=True):
    """To one rider: will you carry this? Told with an acknowledgement, the app's receipt.

    Units: distances in kilometres, `expires_at` in Unix ms, `expires_in_ms` from `ts`, XAF.
    """

    event = "delivery_request"
    offer_id: str
    order_type: str
    pickup_location: LatLng
    dropoff_location: LatLng
    delivery_fee: int
    distance: float
    trip_distance: float
    expires_at: int
    expires_in_ms: int
    cash_to_collect: int | None = None


class DeliveryRequestClosed(OrderEvent, frozen=True, kw_only=True):
    """To one rider: the offer is no longer yours to take."""

    event = "delivery_request_closed"
    offer_id: str
    reason: CloseReason


class TrackingPolicy(Event, frozen=True, kw_only=True):
    """To one rider: report every `interval_ms`; leave out a fix that moved less, but not for 15 s.

    Units: milliseconds, metres.
    """

    event = "tracking_policy"
    delivery_class = DeliveryClass.LATEST
    interval_ms: int
    min_displacement_m: int


class RiderLocationUpdate(Event, frozen=True, gc=False):
    """To the watchers of an order: where its rider is.

    Units: degrees WGS 84, metres per second, metres, Unix milliseconds.
    """

    event = "rider_location_update"
    delivery_class = DeliveryClass.LATEST
    order_id: str
    rider_id: str
    location: LatLng
    heading: float | None
    speed: float | None
    accuracy: float | None
    ts: int
    received_at: int
    state: Freshness


class EtaUpdate(Event, frozen=True, kw_only=True):
    """To the watchers of an order: how long its rider still needs to his next place, `to`."""

    event = "eta_update"
    delivery_class = DeliveryClass.LATEST
    order_id: str
    eta_seconds: int
    to: Stop


class RiderMarker(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One rider on the operators' map; `gone` says he left it."""

    rider_id: str
    lat: float = 0.0
    lng: float = 0.0
    heading: float | None = None
    accuracy: float | None = None
    ts: int = 0
    received_at: int = 0
    state: Literal["live", "stale", "lost"] = "live"
    duty: Literal["off", "idle", "busy"] = "idle"
    gone: bool = False


class OrderMarker(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One order on the operators' map; `gone` says it left it."""

    order_id: str
    order_type: str = ""
    status: str = ""
    dispatch_state: str | None = None
    rider_id: str | None = None
    offered_to: list[str] = []
    pickup: LatLng | None = None
    dropoff: LatLng | None = None
    total: int = 0
    version: int = 0
    updated_at: int = 0
    gone: bool = False


class Totals(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Counters for the operators' page; display only."""

    orders_placed: int = 0
    orders_delivered: int = 0
    orders_cancelled: int = 0
    orders_open: int = 0
    offers_made: int = 0
    fixes: int = 0
    settled_xaf: int = 0
    riders_online: int = 0


class AreaDelta(Event, frozen=True, kw_only=True):
    """To an operator: what changed inside the watched window since the last delta."""

    event = "area_delta"
    delivery_class = DeliveryClass.LATEST
    riders: list[RiderMarker]
    orders: list[OrderMarker]
    totals: Totals
    ts: int


class Alert(Event, frozen=True, kw_only=True):
    """To the operators: something wants a human."""

    event = "alert"
    delivery_class = DeliveryClass.LATEST
    kind: str
    message: str
    order_id: str | None = None
    rider_id: str | None = None
    ts: int = 0


class Resync(Event, frozen=True, kw_only=True):
    """To anyone: the window of missed events has passed; take fresh snapshots."""

    event = "resync"
    delivery_class = DeliveryClass.LATEST
    epoch: str
    seq: int


class ServerDraining(Event, frozen=True, kw_only=True):
    """To all: this node goes away; come back elsewhere after a while."""

    event = "server_draining"
    delivery_class = DeliveryClass.LATEST
    after_ms: int
