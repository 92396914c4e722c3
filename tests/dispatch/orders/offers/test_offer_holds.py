"""Offer holds: who is held, for which order, and when a hold ends."""

import pytest

from dispatch.clock import ManualClock
from dispatch.ids import OrderId, RiderId
from dispatch.model import DispatchState
from dispatch.orders.offers.offer_holds import INDEX_LAG_MS, RECHECK_MS, OfferHolds
from dispatch.orders.transitions.waves import BUSY
from tests.factories import an_offer, an_order

ONE, TWO = OrderId("ord_1"), OrderId("ord_2")
ANNA, PAUL = RiderId("anna"), RiderId("paul")


@pytest.fixture
def clock() -> ManualClock:
    """The clock of the holds."""
    return ManualClock()


@pytest.fixture
def holds(clock: ManualClock) -> OfferHolds:
    """Holds without a rider."""
    return OfferHolds(clock)


def test_open_offers_hold_their_riders_until_the_deadline(holds: OfferHolds):
    """An engine that starts reads them from the orders."""
    offer = an_offer(made_at_ms=5_000)
    holds.add_open_offers(an_order(state=DispatchState.OFFERED, offers={"anna": offer}))

    assert holds.current(offer.deadline_ms) == {ANNA: ONE}
    assert holds.current(offer.deadline_ms + 1) == {}


def test_releasing_an_order_keeps_other_orders_and_open_offers(
    holds: OfferHolds, clock: ManualClock
):
    """Only riders whose offer of this order has ended are released."""
    until_ms = clock.now_ms() + 1_000
    holds.add(ANNA, ONE, until_ms)
    holds.add(PAUL, ONE, until_ms)
    holds.add(RiderId("eto"), TWO, until_ms)
    holds.release(ONE, {PAUL})

    assert holds.current(clock.now_ms()) == {PAUL: ONE, "eto": TWO}


def test_a_release_drops_holds_that_are_over(holds: OfferHolds, clock: ManualClock):
    """The memory stays small without a sweep."""
    holds.add(ANNA, ONE, clock.now_ms() + 10)
    clock.advance(11)
    holds.release(TWO, ())

    assert len(holds) == 0


def test_a_busy_rider_is_held_until_the_index_knows(holds: OfferHolds, clock: ManualClock):
    """It is held for no order, so that no release of an order ends it."""
    holds.mark_busy(ANNA)
    holds.release(ONE, ())

    assert holds.current(clock.now_ms() + INDEX_LAG_MS) == {ANNA: BUSY}
    assert holds.current(clock.now_ms() + INDEX_LAG_MS + 1) == {}


def test_holds_are_incomplete_until_the_offers_of_a_former_engine_are_read(
    holds: OfferHolds, clock: ManualClock
):
    """They become complete when they are said to be, however late that is."""
    assert holds.incomplete_ms == 0
    holds.begin(1_000)
    assert holds.incomplete_ms == 1_000
    clock.advance(2_000)
    assert holds.incomplete_ms == RECHECK_MS
    holds.complete()
    assert holds.incomplete_ms == 0
