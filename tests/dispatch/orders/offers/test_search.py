"""Rider search: how misses are recorded, and which riders stay held."""

import pytest

from dispatch.model import DispatchState, OfferPolicy
from dispatch.orders.offers.offer_holds import OfferHolds
from dispatch.orders.offers.offering import OfferMaker
from dispatch.orders.offers.search import MISSES_PER_DECISION, RiderSearch
from tests.dispatch.dispatch_scenario import DispatchScenario

pytestmark = pytest.mark.engines

POLICY = OfferPolicy()


@pytest.fixture
def holds(dispatch_scenario: DispatchScenario) -> OfferHolds:
    """The holds of the search."""
    return OfferHolds(dispatch_scenario.clock)


@pytest.fixture
def search(dispatch_scenario: DispatchScenario, holds: OfferHolds) -> RiderSearch:
    """The search under test."""
    service, lookups = dispatch_scenario.order_scenario.order_service, dispatch_scenario.lookups
    maker = OfferMaker(service, lookups, holds)
    return RiderSearch(service, lookups, maker, dispatch_scenario.clock)


async def test_the_best_free_rider_is_asked_and_held(
    dispatch_scenario: DispatchScenario, search: RiderSearch, holds: OfferHolds
):
    """The decision lists the chosen rider with its offer, and the one behind it."""
    dispatch_scenario.positions.put_rider("near", 0.3)
    dispatch_scenario.positions.put_rider("far", 0.9)
    order_id = await dispatch_scenario.place_accepted_order()
    await search.advance(await dispatch_scenario.order_scenario.order(order_id), POLICY)
    dispatch = await dispatch_scenario.dispatch_of(order_id)
    [(_, decision)] = await dispatch_scenario.decisions.list_for(order_id)

    assert list(dispatch.offers) == ["near"]
    assert holds.current(dispatch_scenario.clock.now_ms()) == {"near": order_id}
    assert [(each.rider_id, each.offer_id) for each in decision.candidates] == [
        ("near", *(offer.offer_id for offer in dispatch.offers.values())),
        ("far", None),
    ]


async def test_misses_in_a_row_are_one_decision(
    dispatch_scenario: DispatchScenario, search: RiderSearch
):
    """It is written at the first miss, and rewritten every six."""
    order_id = await dispatch_scenario.place_accepted_order()
    looks = []
    for _ in range(2 * MISSES_PER_DECISION):
        await search.advance(await dispatch_scenario.order_scenario.order(order_id), POLICY)
        [(_, decision)] = await dispatch_scenario.decisions.list_for(order_id)
        looks.append(decision.looks)
        dispatch_scenario.clock.advance(5_000)

    assert looks == [1] * 5 + [6] * 6 + [12]


async def test_maintaining_an_order_makes_no_offer(
    dispatch_scenario: DispatchScenario, search: RiderSearch
):
    """Batch decisions do; its next check is the one that was asked for."""
    dispatch_scenario.positions.put_rider("near", 0.3)
    order_id = await dispatch_scenario.place_accepted_order()
    now_ms = dispatch_scenario.clock.now_ms()
    order = await dispatch_scenario.order_scenario.order(order_id)
    after = await search.maintain(order, POLICY, now_ms + 7_000)
    due, _ = await dispatch_scenario.order_scenario.timers.claim(now_ms + 7_000, 10, 1)

    assert after.dispatch is not None
    assert (after.dispatch.state, after.dispatch.offers) == (DispatchState.SEARCHING, {})
    assert due == [order_id]


async def test_an_order_that_no_longer_searches_releases_its_riders(
    dispatch_scenario: DispatchScenario, search: RiderSearch, holds: OfferHolds
):
    """Its rider is held as busy until the geo index knows."""
    order_id = await dispatch_scenario.place_accepted_order()
    await dispatch_scenario.order_scenario.make_offers(order_id, "rdr_1", "rdr_2")
    offered = await dispatch_scenario.order_scenario.order(order_id)
    search.add_open_offers(offered)
    await dispatch_scenario.accept_delivery(order_id, "rdr_1")
    search.rider_assigned(await dispatch_scenario.order_scenario.order(order_id))

    assert holds.current(dispatch_scenario.clock.now_ms()) == {"rdr_1": ""}
