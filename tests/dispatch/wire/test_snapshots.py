"""Snapshots show each audience what it may see of an order."""

import pytest

from dispatch.model import DispatchState, OrderStatus
from dispatch.wire import snapshots
from tests.factories import an_order


@pytest.mark.parametrize(
    ("audience", "share", "hidden"),
    [
        ("user", set[str](), {"commission", "vendorShare", "riderShare"}),
        ("vendor", {"commission", "vendorShare"}, {"riderShare"}),
        ("rider", {"riderShare"}, {"commission", "vendorShare"}),
        ("ops", {"commission", "vendorShare", "riderShare"}, set[str]()),
    ],
)
def test_each_audience_sees_its_own_share(audience: str, share: set[str], hidden: set[str]):
    """The customer sees the price, vendor and rider their part, operators everything."""
    pricing = snapshots.order_snapshot(an_order(), audience)["pricing"].keys()
    assert share <= pricing
    assert not hidden & pricing
    assert {"subtotal", "deliveryFee", "total"} <= pricing


def test_the_search_is_shown_by_state_and_rider():
    """Before the search there is no state; with a rider there is its id; offers are not shown."""
    assert snapshots.dispatch_view(None) == {"state": None}
    order = an_order(OrderStatus.READY, DispatchState.ASSIGNED)
    assert snapshots.dispatch_view(order.dispatch) == {"state": "ASSIGNED", "riderId": "rdr_1"}
    offered = an_order(OrderStatus.READY, DispatchState.OFFERED)
    assert snapshots.dispatch_view(offered.dispatch) == {"state": "OFFERED"}


def test_an_order_without_a_trail_has_an_empty_one():
    """The view has the same fields with and without positions."""
    view = snapshots.trail_view(an_order(), None, is_final=False)
    assert (view["orderId"], view["riderId"], view["polyline"]) == ("ord_1", None, "")
    assert view["isFinal"] is False
