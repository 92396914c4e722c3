"""Offer rounds: whom next, how far away, until when."""

from itertools import count

import pytest

from dispatch.model import Asked, DispatchState, OrderStatus, Outcome
from dispatch.orders import rounds
from dispatch.orders.rounds import Candidate, OfferPolicy
from tests.build import a_dispatch, an_offer, an_order

NOW = 5_000_000
POLICY = OfferPolicy()


def riders(*distances):
    return [Candidate(rider_id=f"rdr_{i}", distance_km=d) for i, d in enumerate(distances)]


def ids_of(chosen):
    return [candidate.rider_id for candidate in chosen]


def after_wave(wave, asked=()):
    told = {rider: Asked(offer_id="x", outcome=outcome, at_ms=at) for rider, outcome, at in asked}
    dispatch = a_dispatch(DispatchState.SEARCHING)
    return type(dispatch)(
        state=dispatch.state, started_at_ms=0, wave=wave, asked=told, wanted=dispatch.wanted
    )


@pytest.mark.parametrize(("wave", "size"), [(0, 1), (1, 3), (2, 5), (3, 5)])
def test_waves_grow_and_then_stay(wave, size):
    """One rider is asked first, then three, then five at a time."""
    chosen = rounds.pick_wave(after_wave(wave), riders(*[0.5] * 9), NOW, POLICY)

    assert len(chosen) == size


def test_the_nearest_circle_that_holds_somebody_is_asked():
    """A better score farther out does not jump over a rider who stands at the door."""
    far_first = [
        Candidate(rider_id="far", distance_km=2.9),
        Candidate(rider_id="near", distance_km=1.0),
    ]

    assert ids_of(rounds.pick_wave(after_wave(0), far_first, NOW, POLICY)) == ["near"]


def test_an_empty_circle_widens_at_once():
    """Nobody waits for a wave that has no rider."""
    chosen = rounds.pick_wave(after_wave(0), riders(6.5), NOW, POLICY)

    assert ids_of(chosen) == ["rdr_0"]


def test_beyond_the_widest_circle_nobody_is_asked():
    """Seven kilometres are the end."""
    assert rounds.pick_wave(after_wave(0), riders(7.1), NOW, POLICY) == []


def test_whoever_said_no_is_left_alone_for_half_an_hour():
    """A decline is remembered longer than silence."""
    asked = [("rdr_0", Outcome.DECLINED, NOW - 29 * 60_000)]

    assert rounds.pick_wave(after_wave(1, asked), riders(0.5), NOW, POLICY) == []
    later = NOW + 60_000
    assert ids_of(rounds.pick_wave(after_wave(1, asked), riders(0.5), later, POLICY)) == ["rdr_0"]


def test_the_silent_are_asked_again_only_when_nobody_else_is_left():
    """A refill comes after every fresh rider."""
    asked = [("rdr_0", Outcome.EXPIRED, NOW - 31_000)]
    two = riders(0.5, 0.6)

    assert ids_of(rounds.pick_wave(after_wave(1, asked), two, NOW, POLICY)) == ["rdr_1"]
    assert ids_of(rounds.pick_wave(after_wave(1, asked), two[:1], NOW, POLICY)) == ["rdr_0"]


def test_a_rider_whom_an_operator_wants_is_asked_before_all_others():
    """A wish jumps the ranking once."""
    dispatch = after_wave(0)
    wished = type(dispatch)(state=dispatch.state, started_at_ms=0, wanted="rdr_4")
    chosen = rounds.pick_wave(wished, riders(0.1, 0.2, 0.3, 0.4, 6.9), NOW, POLICY)

    assert ids_of(chosen) == ["rdr_4"]


def test_offers_of_a_wave_share_their_times_and_differ_in_their_ids():
    """Every rider of a wave has as long as the others."""
    number = count()
    offers = rounds.offers_for(
        after_wave(1), riders(1.0, 2.0), NOW, POLICY, lambda: f"ofr_{next(number)}"
    )

    assert [offer.offer_id for offer in offers.values()] == ["ofr_0", "ofr_1"]
    assert {offer.wave for offer in offers.values()} == {2}
    assert {offer.expires_at_ms for offer in offers.values()} == {NOW + 15_000}
    assert {offer.deadline_ms for offer in offers.values()} == {NOW + 18_000}


def test_the_deadline_itself_is_still_in_time():
    """An offer ends after its deadline, not at it."""
    offers = {"rdr_1": an_offer(made_at_ms=NOW)}

    assert rounds.expired(offers, NOW + 18_000) == frozenset()
    assert rounds.expired(offers, NOW + 18_001) == {"rdr_1"}


def test_the_engine_looks_again_when_receipts_and_then_answers_are_due():
    """Two seconds for the receipt, then the deadline."""
    offers = {"rdr_1": an_offer(made_at_ms=NOW)}

    assert rounds.next_look_ms(offers, NOW, POLICY) == NOW + 2_000
    assert rounds.next_look_ms(offers, NOW + 2_000, POLICY) == NOW + 18_001
    assert rounds.receipt_due(offers, NOW + 1_999, POLICY) == {}
    assert rounds.receipt_due(offers, NOW + 2_000, POLICY) == {"rdr_1": "ofr_1"}


@pytest.mark.parametrize(("misses", "pause"), [(1, 2_000), (2, 3_000), (3, 5_000), (9, 5_000)])
def test_pauses_between_empty_searches_grow_and_then_stay(misses, pause):
    """A starved order is looked at every five seconds."""
    assert POLICY.retry_after_ms(misses) == pause


@pytest.mark.parametrize(
    ("status", "state", "wants"),
    [
        (OrderStatus.ACCEPTED, DispatchState.SEARCHING, True),
        (OrderStatus.READY, DispatchState.EXHAUSTED, True),
        (OrderStatus.ACCEPTED, DispatchState.ASSIGNED, False),
        (OrderStatus.CANCELLED, DispatchState.SEARCHING, False),
        (OrderStatus.PENDING, None, False),
    ],
)
def test_only_open_searches_want_the_engine(status, state, wants):
    """A called-off order wants nobody, whatever its search said last."""
    assert rounds.wants_rider(an_order(status=status, state=state)) is wants
