"""Outbox entries: events, workload messages, timers, counters and trails of a transition."""

import msgspec
import pytest

from dispatch.events.outbox import OutboxEntry
from dispatch.model import DispatchState, Order, assignment_of
from dispatch.orders.outbox_entry import (
    TRAIL_FLUSHED_AFTER_MS,
    WORKLOAD_CHANGE,
    WorkloadChange,
    outbox_entry_for,
)
from dispatch.orders.transitions.state_machine import decide_transition
from tests.dispatch.orders.transitions.transition_requests import order_at, request
from tests.factories import a_parcel_order, a_payment

NOW_MS = 3_000_000


def entry_after(order: Order, name: str, audience: str) -> OutboxEntry:
    """The outbox entry of a transition."""
    return outbox_entry_for(order, decide_transition(order, request(name, audience)), NOW_MS)


def workload_changes(entry: OutboxEntry) -> list[tuple[str, WorkloadChange]]:
    """The workload messages of an entry by receiver."""
    return [
        (event.to, msgspec.json.decode(event.body, type=WorkloadChange))
        for event in entry.events
        if event.name == WORKLOAD_CHANGE
    ]


def test_events_are_encoded_once_for_each_receiver():
    """Clients' events are durable; the message for the rider's node is not."""
    entry = entry_after(order_at("READY", "ASSIGNED"), "pick_up", "rider")

    assert [(event.to, event.name, event.is_durable) for event in entry.events] == [
        ("user:usr_1", "order_picked_up", True),
        ("vendor:ven_1", "order_picked_up", True),
        ("rider:rdr_1", WORKLOAD_CHANGE, False),
    ]
    assert msgspec.json.decode(entry.events[0].body)["version"] == 2


def test_a_riders_node_is_sent_each_new_leg_of_its_assignment():
    """After the pickup the assignment leads to the dropoff."""
    order = order_at("READY", "ASSIGNED")
    after = decide_transition(order, request("pick_up", "rider")).order
    [(receiver, change)] = workload_changes(entry_after(order, "pick_up", "rider"))

    assert receiver == "rider:rdr_1"
    assert change == WorkloadChange(
        order_id=order.order_id, carries=True, assignment=assignment_of(after)
    )


def test_a_released_riders_node_is_sent_the_end():
    """The rider no longer carries the order."""
    order = order_at("ACCEPTED", "ASSIGNED")
    changes = workload_changes(entry_after(order, "release_delivery", "rider"))

    assert changes == [("rider:rdr_1", WorkloadChange(order_id=order.order_id, carries=False))]


def test_an_unchanged_assignment_sends_no_message():
    """The vendor's report does not change where the rider goes."""
    entry = entry_after(order_at("PREPARING", "ASSIGNED"), "order_ready", "vendor")

    assert workload_changes(entry) == []


@pytest.mark.parametrize(
    ("status", "state", "name", "audience", "due_at_ms"),
    [
        ("PENDING", "-", "accept_order", "vendor", 2_000_000),
        ("ACCEPTED", "SEARCHING", "make_offers", "engine", 2_002_000),
        ("ACCEPTED", "SEARCHING", "cancel_order", "user", 2_000_000),
        ("READY", "ASSIGNED", "pick_up", "rider", 2_000_000),
        ("IN_TRANSIT", "PICKED_UP", "arrived_dropoff", "rider", 2_000_000),
        ("IN_TRANSIT", "AT_DROPOFF", "complete_delivery", "rider", 2_000_000),
        ("DELIVERED", "DONE", "rate_order", "user", None),
    ],
)
def test_the_engine_checks_an_order_that_needs_it_and_once_more_after(
    status: str, state: str, name: str, audience: str, due_at_ms: int | None
):
    """The last check releases the riders that the engine has held."""
    assert entry_after(order_at(status, state), name, audience).due_at_ms == due_at_ms


@pytest.mark.parametrize(
    ("status", "state", "name", "audience", "counters"),
    [
        ("IN_TRANSIT", "PICKED_UP", "complete_delivery", "rider", {"ordersDelivered": 1}),
        ("PENDING", "-", "cancel_order", "user", {"ordersCancelled": 1}),
        ("PENDING", "-", "reject_order", "vendor", {"ordersCancelled": 1}),
        ("ACCEPTED", "SEARCHING", "make_offers", "engine", {"offersMade": 1}),
        ("PENDING", "-", "accept_order", "vendor", {}),
    ],
)
def test_counters_of_the_operations_board(
    status: str, state: str, name: str, audience: str, counters: dict[str, int]
):
    """Each status counts once, when it is reached."""
    assert entry_after(order_at(status, state), name, audience).counters == counters


def test_a_settlement_counts_its_amount():
    """Units: whole XAF."""
    order = order_at("DELIVERED", "DONE")

    assert entry_after(order, "settle", "engine").counters == {"settledXaf": order.pricing.total}


def test_a_new_order_counts_as_placed_and_is_on_the_board():
    """Nothing was there before."""
    draft = a_parcel_order(version=0, payment=a_payment())
    entry = outbox_entry_for(None, decide_transition(draft, request("place_order", "user")), NOW_MS)

    assert entry.counters == {"ordersPlaced": 1}
    assert entry.line is not None
    assert (entry.line.dot.version, entry.line.ended) == (1, False)
    assert entry.at_ms == NOW_MS


@pytest.mark.parametrize(
    ("status", "state", "name", "audience", "is_finished"),
    [
        ("IN_TRANSIT", "PICKED_UP", "complete_delivery", "rider", True),
        ("ACCEPTED", "ASSIGNED", "cancel_order", "user", True),
        ("ACCEPTED", "SEARCHING", "cancel_order", "user", False),
        ("ACCEPTED", "ASSIGNED", "release_delivery", "rider", False),
    ],
)
def test_a_trail_is_archived_when_the_orders_last_rider_is_released(
    status: str, state: str, name: str, audience: str, is_finished: bool
):
    """Not for an order without a rider, nor for one that gets another."""
    entry = entry_after(order_at(status, state), name, audience)

    assert entry.trail_due_ms == (NOW_MS + TRAIL_FLUSHED_AFTER_MS if is_finished else None)


def test_a_terminal_order_leaves_the_board():
    """A delivered order stays until it is settled."""
    delivered = entry_after(order_at("IN_TRANSIT", "PICKED_UP"), "complete_delivery", "rider")
    settled = entry_after(order_at("DELIVERED", "DONE"), "settle", "engine")

    assert delivered.line is not None
    assert settled.line is not None
    assert (delivered.line.ended, settled.line.ended) == (False, True)
    assert delivered.line.dot.dispatch_state == DispatchState.DONE
