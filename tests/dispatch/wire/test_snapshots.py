"""Snapshots show each audience what it may see of an order."""

import pytest
from msgspec.structs import replace

from dispatch.ids import OfferId, RiderId
from dispatch.model import DeliveryProof, DispatchState, OfferOutcome, OrderStatus, PastOffer
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


PROOF = DeliveryProof(kind="PIN", pin="0042")
PIN = {"kind": "PIN", "pin": "0042"}


@pytest.mark.parametrize(
    ("audience", "proof", "comment", "fault"),
    [
        ("user", PIN, "quick", None),
        ("vendor", {"kind": "PIN"}, None, None),
        ("rider", PIN, None, None),
        ("ops", PIN, "quick", "VENDOR"),
    ],
)
def test_each_audience_sees_what_concerns_it(
    audience: str, proof: dict[str, str], comment: str | None, fault: str | None
):
    """The proof is its parties', its content not the vendor's; a comment is for the company."""
    order = replace(an_order(), proof=PROOF, rating=4, rating_comment="quick", fault="VENDOR")
    seen = snapshots.order_snapshot(order, audience)

    assert (seen["proof"], seen["rating"]) == (proof, 4)
    assert (seen.get("ratingComment"), seen.get("fault")) == (comment, fault)


def test_operators_see_why_riders_did_not_take_it():
    """Who was asked before, how that ended and what the rider said, the first one first."""
    late = PastOffer(offer_id=OfferId("ofr_2"), outcome=OfferOutcome.EXPIRED, at_ms=7)
    early = PastOffer(
        offer_id=OfferId("ofr_1"), outcome=OfferOutcome.DECLINED, at_ms=5, reason="too far"
    )
    order = an_order(OrderStatus.READY, DispatchState.SEARCHING)
    assert order.dispatch is not None
    asked = {RiderId("rdr_2"): late, RiderId("rdr_1"): early}
    order = replace(order, dispatch=replace(order.dispatch, asked=asked))

    assert snapshots.order_snapshot(order, "ops")["dispatch"]["asked"] == [
        {
            "riderId": "rdr_1",
            "offerId": "ofr_1",
            "outcome": "declined",
            "atMs": 5,
            "reason": "too far",
        },
        {"riderId": "rdr_2", "offerId": "ofr_2", "outcome": "expired", "atMs": 7},
    ]
    assert "asked" not in snapshots.order_snapshot(order, "user")["dispatch"]


@pytest.mark.parametrize("audience", ["user", "vendor", "rider", "ops"])
def test_every_audience_sees_when_each_status_was_reached(audience: str):
    """Oldest first, with who did it; a step of the server, and one of nobody known, is SYSTEM."""
    order = replace(
        an_order(OrderStatus.CANCELLED),
        times={"CANCELLED": 5, "PENDING": 1, "ACCEPTED": 2, "READY": 3, "IN_TRANSIT": 4},
        times_by={
            "PENDING": "user",
            "ACCEPTED": "vendor",
            "IN_TRANSIT": "rider",
            "CANCELLED": "ops",
            "READY": "engine",
        },
    )
    assert snapshots.order_snapshot(order, audience)["timeline"] == [
        {"status": "PENDING", "at": 1, "by": "USER"},
        {"status": "ACCEPTED", "at": 2, "by": "VENDOR"},
        {"status": "READY", "at": 3, "by": "SYSTEM"},
        {"status": "IN_TRANSIT", "at": 4, "by": "RIDER"},
        {"status": "CANCELLED", "at": 5, "by": "ADMIN"},
    ]
    unknown = replace(order, times={"PENDING": 1}, times_by={})
    assert snapshots.timeline_view(unknown) == [{"status": "PENDING", "at": 1, "by": "SYSTEM"}]
