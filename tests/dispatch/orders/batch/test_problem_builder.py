"""The town as columns: who takes part, where and when he is free, what he is bound to."""

from typing import Any

import pytest
from msgspec.structs import replace

from dispatch.model import DispatchState, OfferPolicy, Order, OrderStatus, Outcome, Place
from dispatch.orders.batch.batch_decision import decide
from dispatch.orders.batch.problem_builder import (
    ANSWER,
    SOON,
    Town,
    place_of,
    tableau,
)
from dispatch.tracking.stores.rider_facts import Seen
from matching.eta import DETOUR_DEFAULT
from matching.prep_times import Tally
from tests.factories import an_offer, an_order, cash, parcel_order

NOW_MS = 10_000_000
# A minute's way of a motorbike, as the crow flies. Units: degrees of latitude.
MINUTE = 7.3 * 60 / DETOUR_DEFAULT / 111_195.1
SHOP = Place(lat=4.05, lng=9.70)
DOOR = Place(lat=4.05 + 10 * MINUTE, lng=9.70)


def seen(rider: str, minutes: float = 0.0, **facts: Any) -> Seen:
    """A free rider so far north of the shop."""
    usual = {
        "lat": SHOP.lat + minutes * MINUTE, "lng": SHOP.lng, "ts": NOW_MS, "seen_at_ms": NOW_MS,
        "heading": None, "speed": None, "accuracy": 5.0, "available": True, "active": 0,
        "capacity": 1, "completion": None, "rating": None, "recent_offers": 0,
        "cash_headroom_xaf": 50_000, "vehicle": "MOTORBIKE", "name": "",
    }  # fmt: skip
    return Seen(rider_id=rider, **{**usual, **facts})


def order(name: str, state: DispatchState = DispatchState.SEARCHING, **fields: Any) -> Order:
    """An order whose goods are ready at the shop, ten minutes from its customer."""
    is_carried = state in (DispatchState.PICKED_UP, DispatchState.AT_DROPOFF)
    status = OrderStatus.IN_TRANSIT if is_carried else OrderStatus.READY
    known = {key: fields.pop(key) for key in ("rider", "offers", "asked") if key in fields}
    made = an_order(status, state, **known)
    usual = {
        "order_id": name, "pickup": SHOP, "dropoff": DOOR, "created_at": NOW_MS - 600_000,
        "times": {"ACCEPTED": NOW_MS - 600_000, "READY": NOW_MS},
    }  # fmt: skip
    return replace(made, **{**usual, **fields})


def town(orders: list[Order], riders: list[Seen], **fields: Any) -> Town:
    """A town where meals are decided together."""
    usual = Town(
        now_ms=NOW_MS, orders=orders, riders=riders,
        policies=dict.fromkeys(("FOOD", "MART", "PACKAGE"), OfferPolicy(mode="batch")),
        batched=frozenset({"FOOD", "PACKAGE"}), paused={}, held={}, answers={}, preps={},
        speeds_mps={"MOTORBIKE": 7.3, "FOOT": 1.3, None: 7.3}, demand={}, fresh_ms=15_000, pace=1.0,
    )  # fmt: skip
    return usual._replace(**fields)


def test_a_free_rider_is_free_where_he_is():
    """Now, at his place, as fast as his vehicle is known to be."""
    problem = tableau(town([order("o")], [seen("r", 3), seen("w", 3, vehicle="FOOT")])).problem
    assert problem.riders.free_at.tolist() == [0, 0]
    assert problem.riders.y.tolist() == pytest.approx([problem.riders.speed[0] * 3] * 2)
    assert problem.riders.speed[0] / problem.riders.speed[1] == pytest.approx(7.3 / 1.3)
    assert not problem.bound
    assert problem.rules.tick == pytest.approx(5 / 60 + ANSWER)


def test_a_rider_with_goods_is_free_at_the_door():
    """Four minutes from the customer, and two for the hand-over on either side."""
    carried = order("c", DispatchState.PICKED_UP, rider="r")
    found = tableau(town([carried, order("o")], [seen("r", 6, active=1)]))
    assert found.problem.riders.free_at.tolist() == pytest.approx([4 + 2 + 2])
    assert [each.order_id for each in found.orders] == ["o"]
    assert not found.problem.bound


def test_a_rider_who_should_be_done_is_free_soon():
    """However late he is, he cannot be counted on before he has tapped."""
    carried = order("c", DispatchState.AT_DROPOFF, rider="r", dropoff=SHOP)
    found = tableau(town([carried, order("o")], [seen("r", 0, active=1)]))
    assert found.problem.riders.free_at[0] >= SOON


def test_a_rider_on_his_way_is_bound_to_it():
    """Three minutes to the shop, then to the door: his order is a row, and he its only rider."""
    his = order("h", DispatchState.ASSIGNED, rider="r")
    found = tableau(town([his], [seen("r", 3, active=1)]))
    [bound] = found.problem.bound
    assert (bound.rider, bound.stops) == (0, ((0, True), (0, False)))
    assert bound.arrives_at == pytest.approx(3)
    # There at 3, away at 7, at the door at 17, free at 21.
    assert found.problem.riders.free_at.tolist() == pytest.approx([21])


def test_one_who_stands_at_the_shop_has_arrived():
    """Whatever his last fix says."""
    his = order("h", DispatchState.AT_PICKUP, rider="r")
    [bound] = tableau(town([his], [seen("r", 3, active=1)])).problem.bound
    assert bound.arrives_at == 0


def test_an_open_offer_binds_like_a_yes():
    """Until he answers nobody else is asked, and he for nothing else."""
    offered = order("o", DispatchState.OFFERED, offers={"r": an_offer()})
    held = {"r": "o"}
    found = tableau(town([offered], [seen("r", 3), seen("other", 9)], held=held))
    assert [each.rider for each in found.problem.bound] == [0]
    assert decide(town([offered], [seen("r", 3), seen("other", 1)], held=held), "b").asks == []


@pytest.mark.parametrize(
    ("rider", "fields", "why"),
    [
        (seen("r", available=False), {}, "off duty"),
        (seen("r", seen_at_ms=NOW_MS - 20_000), {}, "last fix 20 s old"),
        (seen("r"), {"paused": {"r": NOW_MS + 1}}, "paused: left offers unread"),
        (seen("r", active=1), {}, "carries another order"),
        (seen("r"), {"held": {"r": ""}}, "carries another order"),
        (seen("r"), {"held": {"r": "elsewhere"}}, "holds another offer"),
    ],
)
def test_who_takes_no_part_is_named(rider: Seen, fields: dict[str, Any], why: str):
    """He is no row, and the decision says why."""
    found = tableau(town([order("o")], [rider], **fields))
    assert (len(found.riders), [bar for _, bar in found.out]) == (0, [why])
    [(_, decision)] = decide(town([order("o")], [rider], **fields), "b").nobody
    assert [each.excluded for each in decision.candidates] == [why]


def test_cash_that_is_reserved_counts_once():
    """What he will collect for an open order needs room; for his own it has been taken already."""
    his = order("h", DispatchState.ASSIGNED, rider="r", payment=cash())
    opened = order("o", payment=cash())
    problem = tableau(town([his, opened], [seen("r", active=1)])).problem
    assert problem.orders.cash.tolist() == [float(opened.pricing.total), 0.0]


def test_parcels_weigh_and_share():
    """A parcel may lie beside others, and too heavy a one needs an engine."""
    heavy = replace(parcel_order(state=DispatchState.SEARCHING), order_id="p")
    assert heavy.parcel is None
    problem = tableau(town([heavy, order("o")], [seen("w", vehicle="FOOT")])).problem
    assert problem.orders.shares.tolist() == [True, False]
    assert problem.riders.kg.tolist() == [10.0]


def test_a_no_bars_the_pair_and_silence_does_for_a_while():
    """Whoever declined, and whoever was silent a moment ago, is blocked; nobody else is."""
    asked = {"no": ("x", Outcome.DECLINED), "mute": ("y", Outcome.EXPIRED)}
    opened = order("o", asked=asked)
    dispatch = opened.dispatch
    assert dispatch is not None
    said = {rider: replace(each, at_ms=NOW_MS - 40_000) for rider, each in dispatch.asked.items()}
    opened = replace(opened, dispatch=replace(dispatch, asked=said))
    found = tableau(town([opened], [seen("no"), seen("mute"), seen("new")]))
    assert found.problem.blocked == {0: [0]}


def test_orders_of_other_modes_are_not_decided_but_their_riders_are_bound():
    """Groceries are offered one by one here; their rider is under way all the same."""
    his = order("h", DispatchState.ASSIGNED, rider="r", order_type="MART")
    other = order("m", order_type="MART")
    found = tableau(town([his, other, order("o")], [seen("r", active=1)]))
    assert sorted(each.order_id for each in found.orders) == ["h", "o"]


def test_an_order_goes_to_another_only_where_its_rider_keeps_one():
    """Two of one shop to opposite doors: a second rider stands there, and each brings one."""
    far = Place(lat=SHOP.lat - 25 * MINUTE, lng=SHOP.lng)
    one = order("h1", DispatchState.ASSIGNED, rider="r")
    two = order("h2", DispatchState.ASSIGNED, rider="r", dropoff=far)
    riders = [seen("r", 2, active=2, capacity=2), seen("s", 0, capacity=2)]
    both = decide(town([one, two], riders), "b")
    single = decide(town([one], [seen("r", 20, active=1), seen("s")]), "b")
    assert len(both.moves) == 1
    assert not single.moves


def test_a_replay_runs_in_its_own_minutes():
    """At sixty times the pace a second is a minute, for shops, riders and shifts alike."""
    late = order("o", times={"ACCEPTED": NOW_MS - 1_000}, prep_minutes=10)
    rider = seen("r", until_ms=NOW_MS + 30_000)
    problem = tableau(town([late], [rider], pace=60.0)).problem
    assert problem.orders.placed.tolist() == [-600]
    assert problem.orders.ready.tolist() == pytest.approx([9])
    assert problem.riders.until.tolist() == pytest.approx([30])
    assert problem.riders.speed[0] == pytest.approx(7.3 / DETOUR_DEFAULT)


def test_where_orders_usually_come_from_is_known():
    """A shop without an open order is a place as well, with its share of the demand."""
    elsewhere = (4.1, 9.8)
    problem = tableau(
        town([order("o")], [seen("r")], demand={elsewhere: 3.0, place_of(order("o")): 1.0})
    ).problem
    assert problem.places.demand.tolist() == [1.0, 3.0]


def test_who_says_no_often_is_known():
    """Answers become chances within their bounds."""
    answers = {"no": Tally(0.0, 50.0), "yes": Tally(50.0, 50.0)}
    riders = [seen("no"), seen("yes"), seen("new")]
    accepts = tableau(town([order("o")], riders, answers=answers)).problem.riders.accepts
    assert accepts[0] == pytest.approx(0.3)
    assert 0.98 < accepts[1] <= 0.99
    assert accepts[2] == pytest.approx(0.95)
