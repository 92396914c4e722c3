"""When an order's goods will be ready, and who says so: vendor, his past, or the house; pure."""

from collections.abc import Mapping

from dispatch.model import Order, OrderStatus, PrepTime
from matching.prep_times import ALL_DAY, FadedSum, estimate_prep_minutes
from matching.speeds import hour_of

MINUTE_MS = 60_000
# Goods that should have been ready and are not are expected after this. Units: minutes.
OVERDUE_MINUTES = 1.0


def prep_time_of(order: Order, learned: Mapping[str, FadedSum]) -> PrepTime | None:
    """How long the goods take from the vendor's yes; None where there is no vendor or no yes yet.

    `known` is what was learned of the vendor, by "day" or hour.
    """
    accepted_ms = order.times.get(OrderStatus.ACCEPTED)
    if order.vendor_id is None or accepted_ms is None:
        return None
    if order.prep_minutes is not None:
        return PrepTime(minutes=float(order.prep_minutes), source="vendor")
    day = learned.get(ALL_DAY, FadedSum())
    minutes = estimate_prep_minutes(day, learned.get(str(hour_of(accepted_ms)), FadedSum()))
    source = "learned" if day.weight else "house"
    return PrepTime(minutes=round(minutes, 1), source=source, orders=round(day.weight, 1))


def ready_at_ms(
    order: Order, learned: Mapping[str, FadedSum], now_ms: int, time_scale: float
) -> float:
    """When the goods are, were, or will be ready. Units: Unix ms.

    In a replay that is `pace` times faster than life, so are the vendor's minutes.
    """
    if OrderStatus.READY in order.times:
        return order.times[OrderStatus.READY]
    prep = prep_time_of(order, learned)
    if prep is None:
        return min(now_ms, order.created_at)
    minute_ms = MINUTE_MS / time_scale
    promised_ms = order.times[OrderStatus.ACCEPTED] + prep.minutes * minute_ms
    return max(promised_ms, now_ms + OVERDUE_MINUTES * minute_ms)
