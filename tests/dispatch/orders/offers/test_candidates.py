"""Candidates: their ranking, and what excludes a rider."""

from typing import Any

import pytest

from dispatch.ids import OrderId, RiderId
from dispatch.orders.offers.candidates import CandidateContext, exclusion_of, rank_candidates
from dispatch.orders.transitions.waves import BUSY
from dispatch.tracking.stores.rider_facts import IndexedRider
from tests.factories import a_cash_payment, an_order

NOW = 5_000_000
RIDER = RiderId("rdr_1")


def a_rider(rider_id: str = "rdr_1", **changes: Any) -> IndexedRider:
    """A free rider one kilometre away; override one fact and keep the rest."""
    usual = {
        "lat": 4.05, "lng": 9.7, "ts": NOW, "seen_at_ms": NOW, "heading": None, "speed": None,
        "accuracy": 5.0, "available": True, "active": 0, "capacity": 1, "completion": 95.0,
        "rating": 4.5, "recent_offers": 0, "cash_headroom_xaf": 50_000, "vehicle": None,
        "name": "", "distance_km": 1.0,
    }  # fmt: skip
    return IndexedRider(rider_id=RiderId(rider_id), **{**usual, **changes})


def context(
    offer_holds: dict[RiderId, OrderId] | None = None, paused: dict[RiderId, int] | None = None
) -> CandidateContext:
    return CandidateContext(NOW, 15_000, offer_holds or {}, paused or {})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"available": False}, "off duty"),
        ({"active": 1}, "carries another order"),
        ({"seen_at_ms": NOW - 15_000}, None),
        ({"seen_at_ms": NOW - 16_500}, "last fix 16 s old"),
        ({"cash_headroom_xaf": 11_499}, "cash limit: room for 11499 of 11500 XAF"),
        ({"cash_headroom_xaf": 11_500}, None),
    ],
)
def test_each_exclusion_has_its_reason(changes: dict[str, Any], reason: str | None):
    """The reason has the figures that operators need."""
    assert exclusion_of(an_order(payment=a_cash_payment()), a_rider(**changes), context()) == reason


def test_a_prepaid_order_needs_no_cash_headroom():
    """A rider at its cash limit may carry it."""
    assert exclusion_of(an_order(), a_rider(cash_headroom_xaf=0), context()) is None


def test_paused_and_held_riders_are_excluded():
    """The reason says for how long, and whether the offer is of this very order."""
    paused = context(paused={RIDER: NOW + 61_000})
    other = context(offer_holds={RIDER: OrderId("ord_9")})
    same = context(offer_holds={RIDER: OrderId("ord_1")})
    busy = context(offer_holds={RIDER: BUSY})
    reasons = [exclusion_of(an_order(), a_rider(), each) for each in (paused, other, same, busy)]

    assert reasons == [
        "paused for 61 s more: left offers unread",
        "holds another offer",
        "holds an offer of this order",
        "carries another order",
    ]


def test_candidates_are_ranked_with_their_scores():
    """Of equal scores the rider with fewer recent offers comes first."""
    found = [
        a_rider("busy_evening", recent_offers=3),
        a_rider("quiet_evening", recent_offers=1),
        a_rider("near", distance_km=0.5),
    ]
    ranked = rank_candidates(an_order(), found, context())

    assert [each.rider_id for each in ranked] == ["near", "quiet_evening", "busy_evening"]
    assert ranked[0].score_parts == {
        "distance": 36.0,
        "completion": 23.75,
        "rating": 22.5,
        "load": 0.0,
    }
    assert ranked[0].score == 82.25


def test_a_coarse_rider_is_ranked_where_it_may_be():
    """By the distance to the far side of its circle; its offer has the measured distance."""
    riders = [
        a_rider("exact", distance_km=1.3, accuracy=50.0),
        a_rider("unknown", distance_km=1.3, accuracy=None),
        a_rider("coarse", distance_km=1.0, accuracy=400.0),
    ]
    ranked = rank_candidates(an_order(), riders, context())

    assert [each.rider_id for each in ranked] == ["exact", "unknown", "coarse"]
    assert [each.distance_km for each in ranked] == [1.3, 1.3, 1.0]
    assert ranked[0].score - ranked[2].score == pytest.approx(0.8)
