"""Offer maker: riders are held while they are asked, and released where it is refused."""

import pytest

from dispatch.errors import Refusal, Refused
from dispatch.ids import RiderId
from dispatch.orders.offers.offer_holds import OfferHolds
from dispatch.orders.offers.offering import OfferMaker, trip_km
from dispatch.orders.transitions.context import OfferFacts
from dispatch.orders.transitions.waves import BUSY
from tests.dispatch.dispatch_scenario import DispatchScenario
from tests.factories import an_offer, an_order

RIDER = RiderId("rdr_1")


@pytest.fixture
def offer_maker(dispatch_scenario: DispatchScenario) -> OfferMaker:
    """A maker without holds."""
    return OfferMaker(
        dispatch_scenario.order_scenario.order_service,
        dispatch_scenario.lookups,
        OfferHolds(dispatch_scenario.clock),
    )


def offer_facts(now_ms: int) -> OfferFacts:
    """One offer to one rider, with the next check after two seconds."""
    offers = {RIDER: an_offer("ofr_1", made_at_ms=now_ms)}
    return OfferFacts(offers=offers, trip_km=1.0, due_at_ms=now_ms + 2_000)


@pytest.mark.engines
async def test_an_offer_holds_its_rider_and_schedules_the_next_check(
    dispatch_scenario: DispatchScenario, offer_maker: OfferMaker
):
    """The hold ends with the offer's deadline."""
    now_ms = dispatch_scenario.clock.now_ms()
    order_id = await dispatch_scenario.place_accepted_order()
    order = await dispatch_scenario.order_scenario.order(order_id)
    await offer_maker.make_offers(order, offer_facts(now_ms))
    due, _ = await dispatch_scenario.order_scenario.timers.claim(now_ms + 2_000, 10, 1)

    assert list((await dispatch_scenario.dispatch_of(order_id)).offers) == [RIDER]
    assert offer_maker.holds.current(now_ms + 18_000) == {RIDER: order_id}
    assert due == [order_id]


@pytest.mark.engines
async def test_a_busy_rider_is_held_as_busy(
    dispatch_scenario: DispatchScenario, offer_maker: OfferMaker
):
    """The geo index did not know yet that the rider carries another order."""
    now_ms = dispatch_scenario.clock.now_ms()
    first = await dispatch_scenario.place_accepted_order()
    await dispatch_scenario.order_scenario.assign(first, RIDER)
    second = await dispatch_scenario.place_accepted_order()
    order = await dispatch_scenario.order_scenario.order(second)
    with pytest.raises(Refused) as refused:
        await offer_maker.make_offers(order, offer_facts(now_ms))

    assert refused.value.code is Refusal.CONFLICT
    assert offer_maker.holds.current(now_ms) == {RIDER: BUSY}


@pytest.mark.engines
async def test_a_refused_offer_releases_its_rider(
    dispatch_scenario: DispatchScenario, offer_maker: OfferMaker
):
    """The order was cancelled meanwhile."""
    order_id = await dispatch_scenario.place_accepted_order()
    order = await dispatch_scenario.order_scenario.order(order_id)
    await dispatch_scenario.order_scenario.cancel_order(order_id)
    now_ms = dispatch_scenario.clock.now_ms()
    with pytest.raises(Refused) as refused:
        await offer_maker.make_offers(order, offer_facts(now_ms))

    assert refused.value.code is Refusal.WRONG_STATE
    assert offer_maker.holds.current(now_ms) == {}


def test_a_trip_is_the_straight_line_from_pickup_to_dropoff():
    """Units: kilometres; Akwa to Bali in the factories."""
    assert trip_km(an_order()) == pytest.approx(1.94, abs=0.01)
