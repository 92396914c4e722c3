"""What a step is made of: who asks, what is said to whom, and small parts that steps share."""

from typing import Any, NamedTuple

import msgspec

from dispatch.keys import Identity, identity
from dispatch.model import (
    Asked,
    Decision,
    Dispatch,
    DispatchState,
    Offer,
    Order,
    Outcome,
    Position,
)
from dispatch.wire import events
from dispatch.wire.events import Event


class Said(NamedTuple):
    """One event for one receiver."""

    to: Identity
    event: Event


class Actor(msgspec.Struct, frozen=True):
    """Who asks; `audience` is "user", "vendor", "rider", "ops" or "engine"."""

    audience: str
    id: str


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A command about one order at one moment. Units: Unix milliseconds.

    `name` is the command's name on the wire; `facts` are what the caller found out beforehand.
    """

    name: str
    actor: Actor
    now_ms: int
    command: Any = None
    facts: Any = None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What a command leads to: the order after it and what is said once it is written.

    `claims` and `frees` name the rider whose hands fill or empty.
    """

    order: Order
    says: tuple[Said, ...] = ()
    claims: str | None = None
    frees: str | None = None


class AssignedTo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the rider who accepts; `at` is where he was last.

    Units: metres per second, how fast one gets on there now.
    """

    name: str | None = None
    vehicle: str | None = None
    at: Position | None = None
    speed_mps: float | None = None


# Versions of events are those of the order after the step.


class OffersMade(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine knows of a wave besides its offers. Units: kilometres, Unix ms."""

    trip_km: float
    due_at_ms: int
    radius_km: float | None = None
    decision: Decision | None = None


class NobodyLeft(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine knows where nobody can be asked. Units: Unix ms."""

    look_again_ms: int
    decision: Decision | None = None


def user_of(order: Order) -> Identity:
    """The customer."""
    return identity("user", order.user_id)


def both(order: Order, event: Event) -> tuple[Said, ...]:
    """To the customer, and to the vendor where there is one."""
    said = (Said(user_of(order), event),)
    if order.vendor_id is None:
        return said
    return (*said, Said(identity("vendor", order.vendor_id), event))


def mark(order: Order) -> dict[str, Any]:
    """What every event of the step after `order` carries."""
    return {"order_id": order.order_id, "version": order.version + 1}


def dispatch_of(order: Order) -> Dispatch:
    """The search that the rule asked for."""
    assert order.dispatch is not None, "the rule asked for a dispatch state"
    return order.dispatch


def searching(order: Order, now_ms: int) -> Dispatch:
    """A search that the engine looks at now; whom the order has asked is kept."""
    before = order.dispatch
    return Dispatch(
        state=DispatchState.SEARCHING,
        started_at_ms=now_ms,
        asked=before.asked if before else {},
        decisions=before.decisions if before else 0,
        due_at_ms=now_ms,
    )


def status(order: Order, state: events.SearchState) -> Said:
    """To the customer: how the search goes."""
    return Said(user_of(order), events.DispatchStatus(**mark(order), state=state))


def closed(
    order: Order, offers: dict[str, Offer], reason: events.ClosedBecause
) -> tuple[Said, ...]:
    """To riders: these offers are no longer yours to take."""
    return tuple(
        Said(
            identity("rider", rider),
            events.DeliveryRequestClosed(**mark(order), offer_id=offer.offer_id, reason=reason),
        )
        for rider, offer in offers.items()
    )


def remembered(
    dispatch: Dispatch, offers: dict[str, Offer], outcome: Outcome, now_ms: int
) -> dict[str, Asked]:
    """The memory of whom this order has asked, with `offers` ended by `outcome`."""
    news = {
        rider: Asked(offer_id=offer.offer_id, outcome=outcome, at_ms=now_ms)
        for rider, offer in offers.items()
    }
    return {**dispatch.asked, **news}


def ready_for(order: Order, rider: str) -> Said:
    """To the rider: the goods wait for you."""
    return Said(identity("rider", rider), events.OrderReadyForPickup(**mark(order)))
