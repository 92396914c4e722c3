"""Events: each has a name of its own and says whether it is kept for a receiver that is away."""

import inspect

import msgspec

from dispatch.wire import events

EVENTS = [
    struct
    for _, struct in inspect.getmembers(events, inspect.isclass)
    if issubclass(struct, events.Event) and "event" in vars(struct)
]


def test_event_names_are_unique():
    """Two events never share a name on the wire."""
    names = [struct.event for struct in EVENTS]
    assert len(names) > 20
    assert len(names) == len(set(names))


def test_only_live_views_are_not_durable():
    """Positions, estimates and map deltas are replaced by newer ones; everything else is kept."""
    latest = {s.event for s in EVENTS if s.delivery_class is events.DeliveryClass.LATEST}
    assert {"rider_location_update", "eta_update", "area_delta"} <= latest
    assert not latest & {"new_order", "delivery_request", "order_settled", "order_cancelled"}


def test_fields_with_defaults_are_left_out():
    """An absent value takes no room on the wire, and names are camelCase."""
    event = events.OrderAccepted(order_id="ord_1", version=2)
    assert msgspec.json.encode(event) == b'{"orderId":"ord_1","version":2}'
