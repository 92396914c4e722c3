"""Builds the outbox entry of an order's transition: events, timer, counters, map marker."""

from collections.abc import Iterator

import msgspec

from dispatch.events.operations_board import BoardLine
from dispatch.events.outbox import OutboxEntry, OutboxEvent, new_entry_id
from dispatch.ids import OrderId, RiderId
from dispatch.keys import identity
from dispatch.model import Order, OrderStatus, RiderAssignment, assignment_of
from dispatch.orders.transitions.context import Transition
from dispatch.orders.transitions.waves import needs_engine
from dispatch.wire import frames
from dispatch.wire.snapshots import order_marker

# Name of the message between nodes that carries a WorkloadChange; it is never sent to a client.
WORKLOAD_CHANGE = "workload_change"
# After this, the node of an order's rider has written the last positions of its trail to Redis.
# Source: the Redis writer flushes every 40 ms, and within 2 s after Redis is back.
TRAIL_FLUSHED_AFTER_MS = 5_000


class WorkloadChange(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """That a rider takes, carries on with, or no longer carries an order; for the rider's node.

    `assignment` says where the order takes the rider next; None where it is released.
    """

    order_id: OrderId
    carries: bool
    assignment: RiderAssignment | None = None


def outbox_entry_for(before: Order | None, transition: Transition, now_ms: int) -> OutboxEntry:
    """What the relay must do once the transition is written. Units: Unix milliseconds.

    `before` is None for a new order.
    """
    after = transition.order
    return OutboxEntry(
        entry_id=new_entry_id(),
        order_id=after.order_id,
        at_ms=now_ms,
        events=(*_client_events(transition), *_workload_events(before, transition)),
        line=BoardLine(order_marker(after), ended=after.is_terminal),
        due_at_ms=_due_at_ms(before, after),
        counters=_counter_increments(before, transition),
        trail_due_ms=now_ms + TRAIL_FLUSHED_AFTER_MS if _has_finished_trail(transition) else None,
        alerts=transition.alerts,
    )


def _client_events(transition: Transition) -> Iterator[OutboxEvent]:
    for receiver, event in transition.events:
        yield OutboxEvent(receiver, event.event, frames.encode_body(event).decode())


def _workload_events(before: Order | None, transition: Transition) -> Iterator[OutboxEvent]:
    after, assignment = transition.order, assignment_of(transition.order)
    if transition.released_rider_id is not None:
        released = WorkloadChange(order_id=after.order_id, carries=False)
        yield _workload_event(transition.released_rider_id, released)
    elif assignment is not None and (before is None or assignment != assignment_of(before)):
        assert after.rider_id is not None, "an assignment has a rider"
        carried = WorkloadChange(order_id=after.order_id, carries=True, assignment=assignment)
        yield _workload_event(after.rider_id, carried)


def _workload_event(rider_id: RiderId, change: WorkloadChange) -> OutboxEvent:
    body = msgspec.json.encode(change).decode()
    return OutboxEvent(identity("rider", rider_id), WORKLOAD_CHANGE, body, is_durable=False)


def _has_finished_trail(transition: Transition) -> bool:
    """Whether the order's last rider is released: the order is over, not only reassigned."""
    is_over = transition.order.status in (OrderStatus.DELIVERED, OrderStatus.CANCELLED)
    return is_over and transition.released_rider_id is not None


def _due_at_ms(before: Order | None, after: Order) -> int | None:
    if after.dispatch is not None and needs_engine(after):
        return after.dispatch.due_at_ms or after.updated_at
    # The engine checks the order a last time, to release the riders it had asked.
    needed_engine = before is not None and needs_engine(before)
    return after.updated_at if needed_engine else None


# Counters of the operations board, by the status that an order reaches.
_COUNTER_BY_STATUS = {
    OrderStatus.DELIVERED: "ordersDelivered",
    OrderStatus.CANCELLED: "ordersCancelled",
    OrderStatus.REJECTED: "ordersCancelled",
}


def _counter_increments(before: Order | None, transition: Transition) -> dict[str, int]:
    after = transition.order
    offers = sum(event.event == "delivery_request" for _, event in transition.events)
    increments = {"offersMade": offers} if offers else {}
    if before is None:
        return {**increments, "ordersPlaced": 1}
    if before.status is after.status:
        return increments
    if after.status is OrderStatus.FUNDS_DISTRIBUTED:
        increments["settledXaf"] = after.pricing.total
    elif after.status in _COUNTER_BY_STATUS:
        increments[_COUNTER_BY_STATUS[after.status]] = 1
    return increments
