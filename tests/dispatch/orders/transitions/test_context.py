"""Shared parts of transitions: receivers and fields of events, and what a new search remembers."""

from dispatch.ids import RiderId
from dispatch.model import DispatchState, OfferOutcome
from dispatch.orders.transitions.context import (
    add_past_offers,
    dispatch_of,
    event_fields,
    offer_closed_events,
    start_search,
    to_user_and_vendor,
)
from dispatch.wire import events
from tests.factories import a_dispatch, a_parcel_order, an_offer, an_order


def test_events_have_the_version_after_the_transition():
    """A client can tell whether a snapshot already holds an event."""
    assert event_fields(an_order(version=7)) == {"order_id": "ord_1", "version": 8}


def test_a_parcel_has_no_vendor_to_notify():
    """The customer alone is a receiver."""
    parcel, goods = a_parcel_order(), an_order()
    event = events.OrderPreparing(**event_fields(goods))

    assert [each.receiver for each in to_user_and_vendor(parcel, event)] == ["user:usr_1"]
    assert [each.receiver for each in to_user_and_vendor(goods, event)] == [
        "user:usr_1",
        "vendor:ven_1",
    ]


def test_a_new_search_remembers_the_riders_who_were_asked():
    """Nothing else of the former search is kept."""
    asked = {"rdr_1": ("ofr_1", OfferOutcome.DECLINED)}
    order = an_order(state=DispatchState.ASSIGNED, rider="rdr_2", asked=asked)
    search = start_search(order, 5_000)

    assert search.asked == dispatch_of(order).asked
    assert (search.state, search.rider_id) == (DispatchState.SEARCHING, None)
    assert (search.started_at_ms, search.due_at_ms) == (5_000, 5_000)


def test_a_newer_outcome_replaces_the_older_one_of_the_same_rider():
    """A search remembers one outcome for each rider."""
    dispatch = a_dispatch(asked={"rdr_1": ("old", OfferOutcome.EXPIRED)})
    rider_id = RiderId("rdr_1")
    asked = add_past_offers(dispatch, {rider_id: an_offer("new")}, OfferOutcome.DECLINED, 9)

    assert list(asked) == ["rdr_1"]
    assert (asked[rider_id].offer_id, asked[rider_id].outcome) == ("new", OfferOutcome.DECLINED)


def test_closed_offers_name_the_offer_and_the_reason():
    """Each rider gets its own offer's id."""
    offers = {RiderId("rdr_1"): an_offer("ofr_1"), RiderId("rdr_2"): an_offer("ofr_2")}
    addressed = offer_closed_events(an_order(), offers, "expired")

    assert [(each.receiver, each.event.offer_id, each.event.reason) for each in addressed] == [
        ("rider:rdr_1", "ofr_1", "expired"),
        ("rider:rdr_2", "ofr_2", "expired"),
    ]
