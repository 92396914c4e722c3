"""When an order's goods will be ready, and who says so: vendor, his past, or the house; pure."""

from collections.abc import Mapping

from dispatch.model import Order, OrderStatus, Prep
from matching.prep_times import DAY, Tally, estimate
from matching.speeds import hour_of

MINUTE_MS = 60_000
# Goods that should have been ready and are not are expected after this. Units: minutes.
OVERDUE = 1.0


def prep_of(order: Order, known: Mapping[str, Tally]) -> Prep | None:
    """How long the goods take from the vendor's yes; None where there is no vendor or no yes yet.

    `known` is what was learned of the vendor, by "day" or hour.
    """
    accepted_ms = order.times.get(OrderStatus.ACCEPTED)
    if order.vendor_id is None or accepted_ms is None:
        return None
    if order.prep_minutes is not None:
        return Prep(minutes=float(order.prep_minutes), source="vendor")
    day = known.get(DAY, Tally())
    minutes = estimate(day, known.get(str(hour_of(accepted_ms)), Tally()))
    source = "learned" if day.weight else "house"
    return Prep(minutes=round(minutes, 1), source=source, orders=round(day.weight, 1))


def ready_at_ms(order: Order, known: Mapping[str, Tally], now_ms: int, pace: float) -> float:
    """When the goods are, were, or will be ready. Units: Unix ms.

    In a replay that is `pace` times faster than life, so are the vendor's minutes.
    """
    if OrderStatus.READY in order.times:
        return order.times[OrderStatus.READY]
    prep = prep_of(order, known)
    if prep is None:
        return min(now_ms, order.created_at)
    minute_ms = MINUTE_MS / pace
    promised_ms = order.times[OrderStatus.ACCEPTED] + prep.minutes * minute_ms
    return max(promised_ms, now_ms + OVERDUE * minute_ms)
