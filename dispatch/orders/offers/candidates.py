"""Who could carry an order, best first, and why each of the others could not: pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dispatch.model import Order, PaymentMethod
from dispatch.orders.transitions.waves import Candidate
from dispatch.tracking.stores.rider_facts import Seen
from matching.score import rank


class Circumstances(NamedTuple):
    """What else decides whether a rider may be asked now.

    `holding` are riders who have an open offer, and of which order ("" for one whose hands are full
    though the index does not say so yet); `paused` riders who are left
    alone, and until when. Units: Unix ms; `fresh_ms` is how old a fix may be.
    """

    now_ms: int
    fresh_ms: int
    holding: Mapping[str, str]
    paused: Mapping[str, int]


def weigh(order: Order, found: Sequence[Seen], around: Circumstances) -> list[Candidate]:
    """The riders found, best first; one who may not be asked has a `bar` that says why."""
    ranked = rank(found)
    return [
        Candidate(
            rider_id=found[each.row].rider_id,
            distance_km=found[each.row].distance_km,
            score=each.score,
            parts=each.parts._asdict(),
            recent_offers=found[each.row].recent_offers,
            bar=bar_of(order, found[each.row], around),
        )
        for each in ranked
    ]


def bar_of(order: Order, seen: Seen, around: Circumstances) -> str | None:
    """Why a rider may not be asked; None where he may."""
    age_ms = around.now_ms - seen.seen_at_ms
    if not seen.available:
        return "off duty"
    if seen.active >= seen.capacity:
        return "carries another order"
    if age_ms > around.fresh_ms:
        return f"last fix {age_ms // 1000} s old"
    if seen.rider_id in around.paused:
        left_s = (around.paused[seen.rider_id] - around.now_ms) // 1000
        return f"paused for {left_s} s more: left offers unread"
    if (held := around.holding.get(seen.rider_id)) is not None:
        if not held:
            return "carries another order"
        which = "an offer of this order" if held == order.order_id else "another offer"
        return f"holds {which}"
    price = order.pricing.total
    if order.payment.method is PaymentMethod.CASH and seen.cash_headroom_xaf < price:
        return f"cash limit: room for {seen.cash_headroom_xaf} of {price} XAF"
    return None
