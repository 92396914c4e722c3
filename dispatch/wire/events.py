"""Events that the server sends: one struct each, named as on the wire, with its delivery class.

Durable events go through the receiver's inbox, which adds `seq`, `epoch` and `ts`. The others are
sent once to connected receivers, and only the latest counts.
"""

from enum import StrEnum
from typing import Any, ClassVar, Literal

import msgspec

SearchState = Literal["searching", "offered", "no_riders"]
Stop = Literal["pickup", "dropoff"]
CloseReason = Literal["taken", "expired", "cancelled"]
Freshness = Literal["live", "stale", "lost"]


class DeliveryClass(StrEnum):
    """Whether an event is kept for a receiver that is not connected."""

    DURABLE = "durable"
    LATEST = "latest"


class Event(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of every event."""

    event: ClassVar[str]
    delivery_class: ClassVar[DeliveryClass] = DeliveryClass.DURABLE


class OrderEvent(Event, frozen=True, kw_only=True):
    """Base of events about one order; `version` is the order's after the event."""

    order_id: str
    version: int


class LatLng(msgspec.Struct, frozen=True, gc=False):
    """A point. Units: degrees WGS 84."""

    lat: float
    lng: float


class NewOrder(OrderEvent, frozen=True, kw_only=True):
    """To the vendor: a new order to accept or reject."""

    event = "new_order"
    order: dict[str, Any]


class OrderAccepted(OrderEvent, frozen=True, kw_only=True):
    """To the customer: the vendor has accepted the order. Units: minutes."""

    event = "order_accepted"
    prep_minutes: int | None = None


class OrderRejected(OrderEvent, frozen=True, kw_only=True):
    """To the customer: the vendor has rejected the order. Units: whole XAF."""

    event = "order_rejected"
    reason: str
    refund_amount: int


class PaymentFailed(OrderEvent, frozen=True, kw_only=True):
    """To the customer: the payment failed; it may be retried for a while. Units: Unix ms."""

    event = "payment_failed"
    reason: str | None = None
    pay_until: int


class OrderPreparing(OrderEvent, frozen=True, kw_only=True):
    """To the customer: the vendor has begun to prepare the order."""

    event = "order_preparing"


class OrderReady(OrderEvent, frozen=True, kw_only=True):
    """To the customer: the goods are ready for pickup."""

    event = "order_ready"


class OrderReadyForPickup(OrderEvent, frozen=True, kw_only=True):
    """To the assigned rider: the goods are ready for pickup."""

    event = "order_ready_for_pickup"


class DispatchStatus(OrderEvent, frozen=True, kw_only=True):
    """To the customer: the state of the search for a rider."""

    event = "dispatch_status"
    state: SearchState


class RiderAssigned(OrderEvent, frozen=True, kw_only=True):
    """To customer and vendor: a rider was assigned. Units: seconds."""

    event = "rider_assigned"
    rider_id: str
    name: str | None
    vehicle: str | None
    eta_seconds: int | None


class RiderArrived(OrderEvent, frozen=True, kw_only=True):
    """To customer and vendor: the rider has arrived at the pickup or the dropoff."""

    event = "rider_arrived"
    at: Stop


class OrderPickedUp(OrderEvent, frozen=True, kw_only=True):
    """To customer and vendor: the rider has picked up the goods."""

    event = "order_picked_up"
    rider_id: str


class OrderDelivered(OrderEvent, frozen=True, kw_only=True):
    """To customer and vendor: the goods are handed over."""

    event = "order_delivered"
    rider_id: str


class OrderCancelled(OrderEvent, frozen=True, kw_only=True):
    """To every party of the order: it was cancelled. Units: whole XAF."""

    event = "order_cancelled"
    reason: str
    refund_amount: int


class OrderSettled(OrderEvent, frozen=True, kw_only=True):
    """To vendor and rider: their share of the order is in their wallet. Units: whole XAF."""

    event = "order_settled"
    amount: int
    transaction_id: str | None = None


class DeliveryRequest(OrderEvent, frozen=True, kw_only=True):
    """To one rider: an offer. The client's acknowledgement is the display receipt.

    Units: distances in kilometres, `expires_at` in Unix ms, `expires_in_ms` from `ts`, amounts in
    whole XAF.
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
    """To one rider: the offer can no longer be accepted."""

    event = "delivery_request_closed"
    offer_id: str
    reason: CloseReason


class TrackingPolicy(Event, frozen=True, kw_only=True):
    """To one rider: how often to send fixes; one that moved less may be left out for up to 15 s.

    Units: milliseconds, metres.
    """

    event = "tracking_policy"
    delivery_class = DeliveryClass.LATEST
    interval_ms: int
    min_displacement_m: int


class PositionSource(Event, frozen=True, kw_only=True):
    """To one phone of a rider: whether its fixes show where the rider is.

    While another one is active they move nothing. A phone is active unless it is told otherwise; it
    becomes so by a command of the rider, by moving, or when the active one stops.
    """

    event = "position_source"
    delivery_class = DeliveryClass.LATEST
    active: bool


class RiderLocationUpdate(Event, frozen=True, gc=False):
    """To the watchers of an order: the position of its rider.

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
    """To the watchers of an order: the ETA of its rider at the stop `to`. Units: seconds."""

    event = "eta_update"
    delivery_class = DeliveryClass.LATEST
    order_id: str
    eta_seconds: int
    to: Stop


class RiderMarker(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One rider on the operators' map; `gone` means it is no longer shown.

    Units: degrees WGS 84, degrees from north, metres, Unix milliseconds.
    """

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
    """One order on the operators' map; `gone` means it is no longer shown.

    Units: whole XAF, Unix milliseconds.
    """

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
    """To an operator: what changed inside the viewport since the last delta. Units: Unix ms."""

    event = "area_delta"
    delivery_class = DeliveryClass.LATEST
    riders: list[RiderMarker]
    orders: list[OrderMarker]
    totals: Totals
    ts: int


class Alert(Event, frozen=True, kw_only=True):
    """To the operators: something needs an operator's attention. Units: Unix ms."""

    event = "alert"
    delivery_class = DeliveryClass.LATEST
    kind: str
    message: str
    order_id: str | None = None
    rider_id: str | None = None
    payout_id: str | None = None
    ts: int = 0


class Resync(Event, frozen=True, kw_only=True):
    """To a resuming client: missed events are lost, so it must fetch fresh snapshots."""

    event = "resync"
    delivery_class = DeliveryClass.LATEST
    epoch: str
    seq: int


class ServerDraining(Event, frozen=True, kw_only=True):
    """To every client of a stopping node: when to reconnect. Units: milliseconds from now."""

    event = "server_draining"
    delivery_class = DeliveryClass.LATEST
    after_ms: int
