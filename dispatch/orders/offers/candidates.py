"""Who could carry an order, best first, and why each of the others could not: pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dispatch.model import Order, PaymentMethod
from dispatch.orders.transitions.waves import Candidate
from dispatch.tracking.stores.rider_facts import IndexedRider
from matching.score import rank


class CandidateContext(NamedTuple):
    """What else decides whether a rider may be asked now.

    `holding` are riders who have an open offer, and of which order ("" for one whose hands are full
    though the index does not say so yet); `paused` riders who are left
    alone, and until when. Units: Unix ms; `fresh_ms` is how old a fix may be.
    """

    now_ms: int
    fresh_ms: int
    offer_holds: Mapping[str, str]
    paused: Mapping[str, int]


def rank_candidates(
    order: Order, riders: Sequence[IndexedRider], context: CandidateContext
) -> list[Candidate]:
    """The riders found, best first; one who may not be asked has a `bar` that says why."""
    ranked = rank(riders)
    return [
        Candidate(
            rider_id=riders[each.row].rider_id,
            distance_km=riders[each.row].distance_km,
            score=each.score,
            score_parts=each.parts._asdict(),
            recent_offers=riders[each.row].recent_offers,
            exclusion=exclusion_of(order, riders[each.row], context),
        )
        for each in ranked
    ]


def exclusion_of(order: Order, rider: IndexedRider, context: CandidateContext) -> str | None:
    """Why a rider may not be asked; None where he may."""
    age_ms = context.now_ms - rider.seen_at_ms
    if not rider.available:
        return "off duty"
    if rider.active >= rider.capacity:
        return "carries another order"
    if age_ms > context.fresh_ms:
        return f"last fix {age_ms // 1000} s old"
    if rider.rider_id in context.paused:
        left_s = (context.paused[rider.rider_id] - context.now_ms) // 1000
        return f"paused for {left_s} s more: left offers unread"
    if (held := context.offer_holds.get(rider.rider_id)) is not None:
        if not held:
            return "carries another order"
        which = "an offer of this order" if held == order.order_id else "another offer"
        return f"holds {which}"
    price = order.pricing.total
    if order.payment.method is PaymentMethod.CASH and rider.cash_headroom_xaf < price:
        return f"cash limit: room for {rider.cash_headroom_xaf} of {price} XAF"
    return None
