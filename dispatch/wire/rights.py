"""Rights: what an order lets its parties see of one another, and until when: pure.

A right ends with its reason. Operators keep theirs, and each of their acts is on record.
"""

from dispatch.model import TERMINAL_STATUSES, DispatchState, Order, OrderStatus

# From the rider's acceptance until the goods are handed over.
_CARRIED = frozenset(
    {
        DispatchState.ASSIGNED,
        DispatchState.AT_PICKUP,
        DispatchState.PICKED_UP,
        DispatchState.AT_DROPOFF,
    }
)
# How long customer and vendor see an ended order's trail. Source: chosen; a question about a
# delivery comes at once, and the trail shows where the rider was and where the customer lives.
TRAIL_SHOWN_MS = 2 * 3_600_000


def is_over(order: Order) -> bool:
    """Whether nobody carries the order any more, and nobody will."""
    return order.status in TERMINAL_STATUSES or order.status is OrderStatus.DELIVERED


def shows_position(order: Order) -> bool:
    """Whether the customer sees where the rider is: while it carries this order."""
    state = order.dispatch.state if order.dispatch else None
    return not is_over(order) and state in _CARRIED


def shows_trail(order: Order, audience: str, now_ms: int) -> bool:
    """Whether an audience sees the trail: customer and vendor for a while after the end.

    Units: Unix milliseconds.
    """
    if audience in ("rider", "ops") or not is_over(order):
        return True
    return now_ms - _ended_at_ms(order) <= TRAIL_SHOWN_MS


def shows_address(order: Order, audience: str) -> bool:
    """Whether an audience sees where and to whom the goods go: vendor and rider until the end."""
    return audience in ("user", "ops") or not is_over(order)


def _ended_at_ms(order: Order) -> int:
    ends = (OrderStatus.DELIVERED, OrderStatus.CANCELLED, OrderStatus.REJECTED)
    return next((order.times[end] for end in ends if end in order.times), order.updated_at)
