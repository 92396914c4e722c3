"""Candidates for an order: riders best first, and why each other one is excluded: pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from dispatch.ids import OrderId, RiderId
from dispatch.model import Order, PaymentMethod
from dispatch.orders.transitions.waves import BUSY, Candidate
from dispatch.tracking.stores.rider_facts import IndexedRider
from matching.score import rank

# A rider with a coarser position counts as so much farther away as its position may be wrong.
# Source: dispatch.settings, `accuracy_marker_m`: exact positions move the marker.
COARSE_FROM_M = 50.0


class CandidateContext(NamedTuple):
    """What else decides whether a rider may be asked now.

    `fresh_ms` is how old a rider's position may be, `offer_holds` the order for which a rider is
    held (`waves.BUSY` for one who carries another order), `paused` the ends of offer pauses.
    Units: Unix milliseconds.
    """

    now_ms: int
    fresh_ms: int
    offer_holds: Mapping[RiderId, OrderId]
    paused: Mapping[RiderId, int]


def rank_candidates(
    order: Order, riders: Sequence[IndexedRider], context: CandidateContext
) -> list[Candidate]:
    """The riders as candidates, best first; those who must not be asked have an `exclusion`."""
    return [
        Candidate(
            rider_id=RiderId(riders[ranked.row].rider_id),
            distance_km=riders[ranked.row].distance_km,
            score=ranked.score,
            score_parts=ranked.parts._asdict(),
            recent_offers=riders[ranked.row].recent_offers,
            exclusion=exclusion_of(order, riders[ranked.row], context),
        )
        for ranked in rank([_farthest(rider) for rider in riders])
    ]


def _farthest(rider: IndexedRider) -> IndexedRider:
    """A rider with a coarse position, as far away as it may be."""
    accuracy_m = rider.accuracy
    if accuracy_m is None or accuracy_m <= COARSE_FROM_M:
        return rider
    return replace(rider, distance_km=rider.distance_km + accuracy_m / 1000)


def exclusion_of(order: Order, rider: IndexedRider, context: CandidateContext) -> str | None:
    """Why a rider must not be asked; None where it may."""
    age_ms = context.now_ms - rider.seen_at_ms
    rider_id = RiderId(rider.rider_id)
    if not rider.available:
        return "off duty"
    if rider.active >= rider.capacity:
        return "carries another order"
    if age_ms > context.fresh_ms:
        return f"last fix {age_ms // 1000} s old"
    if rider_id in context.paused:
        remaining_s = (context.paused[rider_id] - context.now_ms) // 1000
        return f"paused for {remaining_s} s more: left offers unread"
    if (held_for := context.offer_holds.get(rider_id)) is not None:
        if held_for == BUSY:
            return "carries another order"
        return (
            f"holds {'an offer of this order' if held_for == order.order_id else 'another offer'}"
        )
    price = order.pricing.total
    if order.payment.method is PaymentMethod.CASH and rider.cash_headroom_xaf < price:
        return f"cash limit: room for {rider.cash_headroom_xaf} of {price} XAF"
    return None
