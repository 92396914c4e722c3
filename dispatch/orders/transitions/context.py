"""Types of the order state machine: requests, transitions, events, and parts that rules share."""

from collections.abc import Mapping
from typing import Generic, NamedTuple, TypedDict, TypeVar

import msgspec

from dispatch.ids import OrderId, RiderId
from dispatch.keys import Identity, identity
from dispatch.model import (
    Decision,
    Dispatch,
    DispatchState,
    Offer,
    OfferOutcome,
    Order,
    PastOffer,
    Position,
)
from dispatch.wire import commands, events
from dispatch.wire.events import Alert, Event
from dispatch.wire.snapshots import Snapshot

# What a transition needs besides the order: a client's command, or facts that the engine found.
InputT = TypeVar("InputT")


class AddressedEvent(NamedTuple):
    """One event for one receiver."""

    receiver: Identity
    event: Event


class Actor(msgspec.Struct, frozen=True):
    """Who requests a transition; `audience` is "user", "vendor", "rider", "ops" or "engine"."""

    audience: str
    id: str


class TransitionRequest(msgspec.Struct, Generic[InputT], frozen=True, kw_only=True):
    """A request to change one order at one moment. Units: Unix milliseconds.

    `name` is the transition's name; for commands of clients it is the name on the wire. `position`
    is the last one of a rider who sends a command at a stop.
    """

    name: str
    actor: Actor
    now_ms: int
    input: InputT
    position: Position | None = None


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """What a request leads to: the order after it, and the events to send once it is written.

    The versions of the events are that of the order after the transition. `claimed_rider_id` is
    the rider who is assigned by it, `released_rider_id` the rider who no longer carries the order.
    `alerts` are for the operators. `first_answer` is the answer to a repetition, which changes
    nothing.
    """

    order: Order
    events: tuple[AddressedEvent, ...] = ()
    claimed_rider_id: RiderId | None = None
    released_rider_id: RiderId | None = None
    first_answer: Snapshot | None = None
    alerts: tuple[Alert, ...] = ()


class AssignmentFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the rider who accepts; `position` is the last one.

    Units: metres per second, the speed that the rider is expected to make from there now.
    """

    name: str | None = None
    vehicle: str | None = None
    position: Position | None = None
    speed_mps: float | None = None


class Acceptance(NamedTuple):
    """A rider's command to take an offered order, and what is known of the rider."""

    command: commands.AcceptDelivery
    rider: AssignmentFacts


class OfferFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Offers that the engine makes for an order, by rider. Units: kilometres, Unix ms.

    `trip_km` is from pickup to dropoff, `radius_km` the radius that was searched, None where all
    orders were decided together. `due_at_ms` is the engine's next check of the order.
    """

    offers: dict[RiderId, Offer]
    trip_km: float
    due_at_ms: int
    radius_km: float | None = None
    decision: Decision | None = None


class NoCandidateFacts(msgspec.Struct, frozen=True, kw_only=True):
    """That the engine found no rider to ask, and when it searches again. Units: Unix ms."""

    retry_at_ms: int
    decision: Decision | None = None


class Pickup(NamedTuple):
    """A rider's command that it has the goods, and whether that means that they were ready."""

    command: commands.PickUp
    implies_ready: bool = False


class ArrivalFacts(NamedTuple):
    """That the positions of a rider showed it at a stop of the order."""

    rider_id: RiderId
    stop: events.Stop


class EventFields(TypedDict):
    """Fields of every event about an order."""

    order_id: OrderId
    version: int


def event_fields(order: Order) -> EventFields:
    """The common fields of the events of a transition; `order` is the order before it."""
    return {"order_id": order.order_id, "version": order.version + 1}


def user_identity(order: Order) -> Identity:
    """The order's customer as a receiver of events."""
    return identity("user", order.user_id)


def to_user_and_vendor(order: Order, event: Event) -> tuple[AddressedEvent, ...]:
    """One event for the customer, and for the vendor where the order has one."""
    addressed = (AddressedEvent(user_identity(order), event),)
    if order.vendor_id is None:
        return addressed
    return (*addressed, AddressedEvent(identity("vendor", order.vendor_id), event))


def dispatch_of(order: Order) -> Dispatch:
    """The search beside an order that is known to have one."""
    assert order.dispatch is not None, "the order's state implies a search"
    return order.dispatch


def start_search(order: Order, now_ms: int) -> Dispatch:
    """A search that the engine checks at once; riders asked before stay remembered.

    Units: Unix milliseconds.
    """
    before = order.dispatch
    return Dispatch(
        state=DispatchState.SEARCHING,
        started_at_ms=now_ms,
        asked=before.asked if before else {},
        decisions=before.decisions if before else 0,
        due_at_ms=now_ms,
    )


def search_status_event(order: Order, state: events.SearchState) -> AddressedEvent:
    """`dispatch_status` for the customer."""
    return AddressedEvent(
        user_identity(order), events.DispatchStatus(**event_fields(order), state=state)
    )


def offer_closed_events(
    order: Order, offers: Mapping[RiderId, Offer], reason: events.CloseReason
) -> tuple[AddressedEvent, ...]:
    """`delivery_request_closed` for the riders of these offers."""
    return tuple(
        AddressedEvent(
            identity("rider", rider_id),
            events.DeliveryRequestClosed(
                **event_fields(order), offer_id=offer.offer_id, reason=reason
            ),
        )
        for rider_id, offer in offers.items()
    )


def add_past_offers(
    dispatch: Dispatch, offers: Mapping[RiderId, Offer], outcome: OfferOutcome, now_ms: int
) -> dict[RiderId, PastOffer]:
    """The riders whom this order has asked so far, with `offers` added as ended by `outcome`.

    Units: Unix milliseconds.
    """
    ended = {
        rider_id: PastOffer(offer_id=offer.offer_id, outcome=outcome, at_ms=now_ms)
        for rider_id, offer in offers.items()
    }
    return {**dispatch.asked, **ended}


def pickup_ready_event(order: Order, rider_id: RiderId) -> AddressedEvent:
    """`order_ready_for_pickup` for the order's rider."""
    return AddressedEvent(
        identity("rider", rider_id), events.OrderReadyForPickup(**event_fields(order))
    )
