"""What a step is made of: who asks, what is said to whom, and small parts that steps share."""

from typing import Any, NamedTuple

import msgspec

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
from dispatch.wire import events
from dispatch.wire.events import Event


class AddressedEvent(NamedTuple):
    """One event for one receiver."""

    receiver: Identity
    event: Event


class Actor(msgspec.Struct, frozen=True):
    """Who asks; `audience` is "user", "vendor", "rider", "ops" or "engine"."""

    audience: str
    id: str


class TransitionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A command about one order at one moment. Units: Unix milliseconds.

    `name` is the command's name on the wire; `facts` are what the caller found out beforehand.
    """

    name: str
    actor: Actor
    now_ms: int
    command: Any = None
    facts: Any = None


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """What a command leads to: the order after it and what is said once it is written.

    `claims` and `frees` name the rider whose hands fill or empty.
    """

    order: Order
    events: tuple[AddressedEvent, ...] = ()
    claimed_rider_id: str | None = None
    released_rider_id: str | None = None


class AssignmentFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the rider who accepts; `at` is where he was last.

    Units: metres per second, how fast one gets on there now.
    """

    name: str | None = None
    vehicle: str | None = None
    position: Position | None = None
    speed_mps: float | None = None


# Versions of events are those of the order after the step.


class OfferFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine knows of a wave besides its offers. Units: kilometres, Unix ms."""

    trip_km: float
    due_at_ms: int
    radius_km: float | None = None
    decision: Decision | None = None


class NoCandidateFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine knows where nobody can be asked. Units: Unix ms."""

    retry_at_ms: int
    decision: Decision | None = None


def user_identity(order: Order) -> Identity:
    """The customer."""
    return identity("user", order.user_id)


def to_user_and_vendor(order: Order, event: Event) -> tuple[AddressedEvent, ...]:
    """To the customer, and to the vendor where there is one."""
    said = (AddressedEvent(user_identity(order), event),)
    if order.vendor_id is None:
        return said
    return (*said, AddressedEvent(identity("vendor", order.vendor_id), event))


def event_fields(order: Order) -> dict[str, Any]:
    """What every event of the step after `order` carries."""
    return {"order_id": order.order_id, "version": order.version + 1}


def dispatch_of(order: Order) -> Dispatch:
    """The search that the rule asked for."""
    assert order.dispatch is not None, "the rule asked for a dispatch state"
    return order.dispatch


def start_search(order: Order, now_ms: int) -> Dispatch:
    """A search that the engine looks at now; whom the order has asked is kept."""
    before = order.dispatch
    return Dispatch(
        state=DispatchState.SEARCHING,
        started_at_ms=now_ms,
        asked=before.asked if before else {},
        decisions=before.decisions if before else 0,
        due_at_ms=now_ms,
    )


def search_status_event(order: Order, state: events.SearchState) -> AddressedEvent:
    """To the customer: how the search goes."""
    return AddressedEvent(
        user_identity(order), events.DispatchStatus(**event_fields(order), state=state)
    )


def offer_closed_events(
    order: Order, offers: dict[str, Offer], reason: events.CloseReason
) -> tuple[AddressedEvent, ...]:
    """To riders: these offers are no longer yours to take."""
    return tuple(
        AddressedEvent(
            identity("rider", rider),
            events.DeliveryRequestClosed(
                **event_fields(order), offer_id=offer.offer_id, reason=reason
            ),
        )
        for rider, offer in offers.items()
    )


def add_past_offers(
    dispatch: Dispatch, offers: dict[str, Offer], outcome: OfferOutcome, now_ms: int
) -> dict[str, PastOffer]:
    """The memory of whom this order has asked, with `offers` ended by `outcome`."""
    news = {
        rider: PastOffer(offer_id=offer.offer_id, outcome=outcome, at_ms=now_ms)
        for rider, offer in offers.items()
    }
    return {**dispatch.asked, **news}


def pickup_ready_event(order: Order, rider: str) -> AddressedEvent:
    """To the rider: the goods wait for you."""
    return AddressedEvent(
        identity("rider", rider), events.OrderReadyForPickup(**event_fields(order))
    )
