"""Snapshots: an order as each audience sees it, in the form of the public contract."""

from collections.abc import Sequence
from typing import Any

import msgspec

from dispatch.model import Decision, Dispatch, Order, OrderStatus, Trail
from dispatch.wire.events import LatLng, OrderMarker
from dispatch.wire.rights import shows_address

Snapshot = dict[str, Any]

# User types by audience.
_WHO = {"user": "USER", "vendor": "VENDOR", "rider": "RIDER", "ops": "ADMIN"}
# Digits of a place that is not shown any more. Source: a hundredth of a degree is about 1.1 km.
HIDDEN_PLACE_DIGITS = 2

# What the customer pays; how the money is split is not shown to customers.
_PUBLIC_PRICE_FIELDS = (
    "subtotal",
    "deliveryFee",
    "tip",
    "discount",
    "total",
    "currency",
    "distanceM",
)
_OPTIONAL_FIELDS = (
    "vendorId", "items", "prepMinutes", "readyBy", "reason",
    "rating", "notes", "recipient", "promoCode",
)  # fmt: skip
# What a vendor sees of a proof is its kind; a comment is between the customer and the company.
_FIELDS_BY_AUDIENCE = {
    "user": ("proof", "ratingComment"),
    "rider": ("proof",),
    "ops": ("proof", "ratingComment", "fault"),
}
_SHARE_FIELDS = {"vendor": ("commission", "vendorShare"), "rider": ("riderShare",)}


def order_snapshot(order: Order, audience: str) -> Snapshot:
    """The order as the audience "user", "vendor", "rider" or "ops" may see it."""
    record = msgspec.to_builtins(order)
    snapshot: Snapshot = {
        "orderId": order.order_id,
        "orderType": order.order_type,
        "status": order.status.value,
        "dispatch": dispatch_view(order.dispatch),
        "pricing": pricing_view(msgspec.to_builtins(order.pricing), audience),
        "locations": {"pickup": record["pickup"], "dropoff": record["dropoff"]},
        "payment": record["payment"],
        "version": order.version,
        "createdAt": order.created_at,
        "updatedAt": order.updated_at,
        "userId": order.user_id,
        "timeline": timeline_view(order),
    }
    for name in _OPTIONAL_FIELDS:
        if name in record:
            snapshot[name] = record[name]
    if "parcel" in record:
        snapshot["packageDetails"] = record["parcel"]
    for name in _FIELDS_BY_AUDIENCE.get(audience, ()):
        if name in record:
            snapshot[name] = record[name]
    if order.proof is not None and audience == "vendor":
        snapshot["proof"] = {"kind": order.proof.kind}
    if audience == "ops":
        snapshot["dispatch"] |= _engine_view(order.dispatch)
    if not shows_address(order, audience):
        _hide_address(snapshot)
    return snapshot


def timeline_view(order: Order) -> list[Snapshot]:
    """When the order reached each status, and by whom: `{status, at, by}`, oldest first.

    `by` is a user type, or SYSTEM for the server itself. Units: Unix milliseconds.
    """
    steps = list(OrderStatus)
    reached = sorted(
        order.times.items(), key=lambda each: (each[1], steps.index(OrderStatus(each[0])))
    )
    return [
        {"status": status, "at": at_ms, "by": _WHO.get(order.times_by.get(status, ""), "SYSTEM")}
        for status, at_ms in reached
    ]


def _hide_address(snapshot: Snapshot) -> None:
    """Leave of where and to whom the goods went no more than the part of the town."""
    for name in ("recipient", "notes"):
        snapshot.pop(name, None)
    dropoff = snapshot["locations"]["dropoff"]
    place = {name: round(dropoff[name], HIDDEN_PLACE_DIGITS) for name in ("lat", "lng")}
    snapshot["locations"] = {**snapshot["locations"], "dropoff": place}


def _engine_view(dispatch: Dispatch | None) -> Snapshot:
    """What only operators see of a search: who was asked, what worries, where the rider was.

    Riders who were asked have the outcome of their offer, and the reason that they gave.
    """
    if dispatch is None:
        return {"asked": [], "concerns": {}, "evidence": {}}
    asked = [
        {"riderId": rider_id, **msgspec.to_builtins(past)}
        for rider_id, past in sorted(dispatch.asked.items(), key=lambda each: each[1].at_ms)
    ]
    evidence = msgspec.to_builtins(dispatch.evidence)
    return {"asked": asked, "concerns": dict(dispatch.concerns), "evidence": evidence}


def dispatch_view(dispatch: Dispatch | None) -> Snapshot:
    """The rider search as every audience may see it; `state` is None before it starts."""
    if dispatch is None:
        return {"state": None}
    view: Snapshot = {"state": dispatch.state.value}
    if dispatch.rider_id is not None:
        view["riderId"] = dispatch.rider_id
    return view


def pricing_view(pricing: dict[str, Any], audience: str) -> Snapshot:
    """The price as an audience may see it; vendors and riders see their own share."""
    if audience == "ops":
        return pricing
    visible = _PUBLIC_PRICE_FIELDS + _SHARE_FIELDS.get(audience, ())
    return {name: pricing[name] for name in visible if name in pricing}


def trail_view(order: Order, trail: Trail | None, *, is_final: bool) -> Snapshot:
    """The trail of an order's rider as its parties may see it; empty where there is none.

    Units: metres, Unix milliseconds. `isFinal` means that nothing more will be added.
    """
    shown = trail or Trail(rider_id="")
    return {
        "orderId": order.order_id,
        "riderId": shown.rider_id or None,
        "polyline": shown.polyline,
        "points": shown.points,
        "distanceM": shown.distance_m,
        "fromMs": shown.from_ms,
        "toMs": shown.to_ms,
        "isFinal": is_final,
    }


def order_marker(order: Order) -> OrderMarker:
    """The order as a line of the operations board."""
    dispatch = order.dispatch
    return OrderMarker(
        order_id=order.order_id,
        order_type=order.order_type,
        status=order.status.value,
        dispatch_state=dispatch.state.value if dispatch else None,
        rider_id=dispatch.rider_id if dispatch else None,
        offered_to=sorted(dispatch.offers) if dispatch else [],
        pickup=LatLng(lat=order.pickup.lat, lng=order.pickup.lng),
        dropoff=LatLng(lat=order.dropoff.lat, lng=order.dropoff.lng),
        total=order.pricing.total,
        version=order.version,
        updated_at=order.updated_at,
    )


def order_summary(order: Order) -> Snapshot:
    """The order in the ack of a command that changed it."""
    return {
        "orderId": order.order_id,
        "status": order.status.value,
        "dispatch": dispatch_view(order.dispatch),
        "version": order.version,
    }


def decisions_view(order: Order, decisions: Sequence[tuple[int, Decision]]) -> list[Snapshot]:
    """The decisions of an order, oldest first: riders asked or excluded, outcomes of offers."""
    outcomes = _outcome_by_offer(order, decisions)
    return [_decision_view(number, decision, outcomes) for number, decision in decisions]


def _decision_view(number: int, decision: Decision, outcomes: dict[str, str]) -> Snapshot:
    view = {"number": number, "looks": decision.looks, **msgspec.to_builtins(decision)}
    chosen = [each for each in decision.candidates if each.offer_id is not None]
    view["candidates"] = [msgspec.to_builtins(each) for each in decision.candidates]
    for line in view["candidates"]:
        if "offerId" in line:
            line["outcome"] = outcomes.get(line["offerId"], "unknown")
    view["chosen"] = [each.rider_id for each in chosen]
    return view


def _outcome_by_offer(order: Order, decisions: Sequence[tuple[int, Decision]]) -> dict[str, str]:
    """The outcome of each offer by its id; decisions hold some that the order no longer has."""
    past_offers = [
        each.before for _, decision in decisions for each in decision.candidates if each.before
    ]
    dispatch = order.dispatch
    current = list(dispatch.asked.values()) if dispatch else []
    outcomes: dict[str, str] = {
        past.offer_id: past.outcome.value for past in (*past_offers, *current)
    }
    if dispatch is not None:
        outcomes |= {offer.offer_id: "open" for offer in dispatch.offers.values()}
        if dispatch.offer_id is not None:
            outcomes[dispatch.offer_id] = "accepted"
    return outcomes
