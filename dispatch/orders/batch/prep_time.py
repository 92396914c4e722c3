"""Preparation time of an order: by its vendor, else learned, else the overall mean: pure."""

from collections.abc import Mapping

from dispatch.model import Order, OrderStatus, PrepTime
from dispatch.orders.units import MINUTE_MS
from matching.prep_times import ALL_DAY, FadedSum, estimate_prep_minutes
from matching.speeds import hour_of

# Goods that should have been ready and are not are expected after this. Units: minutes.
# Source: chosen.
OVERDUE_MINUTES = 1.0


def prep_time_of(order: Order, learned: Mapping[str, FadedSum]) -> PrepTime | None:
    """The time from acceptance to readiness; None without a vendor, or before acceptance.

    `learned` are the vendor's preparation times by "day" or hour. Units: minutes.
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
    """When the goods are, were, or will be ready.

    In a replay that runs `time_scale` times faster than real time, so do the vendor's minutes.
    Units: Unix milliseconds.
    """
    if OrderStatus.READY in order.times:
        return order.times[OrderStatus.READY]
    prep_time = prep_time_of(order, learned)
    if prep_time is None:
        return min(now_ms, order.created_at)
    minute_ms = MINUTE_MS / time_scale
    expected_ms = order.times[OrderStatus.ACCEPTED] + prep_time.minutes * minute_ms
    return max(expected_ms, now_ms + OVERDUE_MINUTES * minute_ms)
