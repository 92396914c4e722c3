"""Offer waves: which riders are asked next, how far away, until when."""

from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest
from msgspec.structs import replace

from dispatch.ids import OfferId, RiderId
from dispatch.model import (
    Dispatch,
    DispatchState,
    OfferOutcome,
    OfferPolicy,
    OrderStatus,
    PastOffer,
)
from dispatch.orders.transitions import waves
from dispatch.orders.transitions.waves import Candidate, Wave
from tests.factories import an_offer, an_order

NOW = 5_000_000
POLICY = OfferPolicy()
NO_STAGGER = OfferPolicy(stagger_ms=0)


def candidates_at(*distances_km: float) -> list[Candidate]:
    return [a_candidate(f"rdr_{i}", distance_km) for i, distance_km in enumerate(distances_km)]


def a_candidate(rider_id: str, distance_km: float, **fields: Any) -> Candidate:
    return Candidate(rider_id=RiderId(rider_id), distance_km=distance_km, **fields)


def ids_of(wave: Wave) -> list[str]:
    return [candidate.rider_id for candidate in wave.candidates]


def a_search(**changes: Any) -> Dispatch:
    return Dispatch(state=DispatchState.SEARCHING, started_at_ms=0, **changes)


def a_search_after_wave(wave: int, asked: Sequence[tuple[str, OfferOutcome, int]] = ()) -> Dispatch:
    """A search whose `wave`-th wave has asked all its riders, and none accepted."""
    past = {
        RiderId(rider_id): PastOffer(offer_id=OfferId("x"), outcome=outcome, at_ms=at_ms)
        for rider_id, outcome, at_ms in asked
    }
    size = waves.wave_size(POLICY, wave) if wave else 0
    return a_search(wave=wave, wave_asked=size, asked=past)


def a_search_in_wave(wave: int, *rider_ids: str, radius_km: float = 3.0) -> Dispatch:
    """A search whose `wave`-th wave has open offers to these riders, three seconds apart."""
    offers = {
        RiderId(rider_id): an_offer(f"ofr_{i}", made_at_ms=NOW + i * 3_000, wave=wave)
        for i, rider_id in enumerate(rider_ids)
    }
    return waves.with_offers(a_search(wave=wave - 1), offers, radius_km)


@pytest.mark.parametrize(("wave", "size"), [(0, 1), (1, 3), (2, 5), (3, 5)])
def test_waves_grow_and_then_stay(wave: int, size: int):
    """One rider is asked first, then three, then five; without a stagger all at once."""
    pick = waves.pick_wave(a_search_after_wave(wave), candidates_at(*[0.5] * 9), NOW, NO_STAGGER)

    assert len(pick.candidates) == size
    assert pick.number == wave + 1


def test_riders_of_a_wave_are_asked_one_after_the_other_best_first():
    """The best has three seconds before the next rider of its wave is asked as well."""
    wave = a_search_in_wave(2, "rdr_0")

    assert not waves.may_pick_wave(wave, NOW + 2_999, POLICY)
    assert waves.may_pick_wave(wave, NOW + 3_000, POLICY)
    rest = candidates_at(0.5, 0.6, 0.7)[1:]
    pick = waves.pick_wave(wave, rest, NOW + 3_000, POLICY)
    assert (ids_of(pick), pick.number) == (["rdr_1"], 2)


def test_a_full_wave_waits_for_its_answers():
    """After the third of three no rider is asked until all offers have ended."""
    wave = a_search_in_wave(2, "rdr_0", "rdr_1", "rdr_2")

    assert not waves.may_pick_wave(wave, NOW + 16_000, POLICY)
    assert waves.next_check_at_ms(wave, NOW + 9_000, POLICY) == NOW + 18_001


def test_the_next_of_a_wave_is_asked_at_once_when_no_offer_is_open():
    """After a decline the wave goes on with its other riders, without waiting for the stagger."""
    wave = a_search_in_wave(2, "rdr_0")
    declined = replace(wave, state=DispatchState.SEARCHING, offers={})

    assert waves.may_pick_wave(declined, NOW + 1, POLICY)
    pick = waves.pick_wave(declined, candidates_at(9.0, 0.6)[1:], NOW + 1, POLICY)
    assert (ids_of(pick), pick.number) == (["rdr_1"], 2)


def test_a_wave_with_open_offers_keeps_its_radius():
    """No rider farther away is asked while an offer to a nearer one is open."""
    wave = a_search_in_wave(2, "rdr_0", radius_km=3.0)
    far = [a_candidate("far", 4.0)]

    assert ids_of(waves.pick_wave(wave, far, NOW + 3_000, POLICY)) == []
    closed = replace(wave, offers={})
    assert ids_of(waves.pick_wave(closed, far, NOW + 3_000, POLICY)) == ["far"]


def test_the_nearest_radius_with_a_rider_is_asked():
    """A better score farther away does not come before a rider inside the first radius."""
    far_first = [
        a_candidate("far", 2.9),
        a_candidate("near", 1.0),
    ]

    assert ids_of(waves.pick_wave(a_search_after_wave(0), far_first, NOW, POLICY)) == ["near"]


def test_an_empty_radius_widens_at_once():
    """A wave without a rider is not waited for."""
    pick = waves.pick_wave(a_search_after_wave(0), candidates_at(6.5), NOW, POLICY)

    assert ids_of(pick) == ["rdr_0"]
    assert pick.radius_km == 7.0


def test_beyond_the_widest_radius_no_rider_is_asked():
    """The widest radius of the default policy is seven kilometres."""
    assert ids_of(waves.pick_wave(a_search_after_wave(0), candidates_at(7.1), NOW, POLICY)) == []


def test_a_rider_who_declined_is_not_asked_for_half_an_hour():
    """A decline is remembered longer than silence."""
    asked = [("rdr_0", OfferOutcome.DECLINED, NOW - 29 * 60_000)]

    assert (
        ids_of(waves.pick_wave(a_search_after_wave(1, asked), candidates_at(0.5), NOW, POLICY))
        == []
    )
    later = NOW + 60_000
    assert ids_of(
        waves.pick_wave(a_search_after_wave(1, asked), candidates_at(0.5), later, POLICY)
    ) == ["rdr_0"]


def test_silent_riders_are_asked_again_only_as_a_last_resort():
    """Only where no other rider is left, and no offer is open."""
    asked = [("rdr_0", OfferOutcome.EXPIRED, NOW - 31_000)]
    two = candidates_at(0.5, 0.6)

    assert ids_of(waves.pick_wave(a_search_after_wave(1, asked), two, NOW, POLICY)) == ["rdr_1"]
    assert ids_of(waves.pick_wave(a_search_after_wave(1, asked), two[:1], NOW, POLICY)) == ["rdr_0"]
    beside = replace(a_search_in_wave(2, "rdr_1"), asked=a_search_after_wave(1, asked).asked)
    assert ids_of(waves.pick_wave(beside, two[:1], NOW, POLICY)) == []


def test_a_rider_whom_an_operator_wants_is_asked_before_all_others_and_alone():
    """The wanted rider comes before better ones, and no other is asked while its offer is open."""
    search = a_search(wave=1, wave_asked=1, wanted="rdr_4")
    pick = waves.pick_wave(search, candidates_at(0.1, 0.2, 0.3, 0.4, 6.9), NOW, POLICY)
    offers = waves.offers_for(pick, NOW, POLICY, lambda: OfferId("ofr_1"))
    asked = waves.with_offers(search, offers, pick.radius_km)

    assert ids_of(pick) == ["rdr_4"]
    assert not waves.may_pick_wave(asked, NOW + 3_000, POLICY)


def test_offers_of_a_wave_share_their_times_and_differ_in_their_ids():
    """Riders who are asked at the same time have the same deadline."""
    number = count()
    pick = waves.Wave(candidates_at(1.0, 2.0), 2, 3.0)
    offers = waves.offers_for(pick, NOW, POLICY, lambda: OfferId(f"ofr_{next(number)}"))

    assert [offer.offer_id for offer in offers.values()] == ["ofr_0", "ofr_1"]
    assert {offer.wave for offer in offers.values()} == {2}
    assert {offer.expires_at_ms for offer in offers.values()} == {NOW + 15_000}
    assert {offer.deadline_ms for offer in offers.values()} == {NOW + 18_000}


def test_the_deadline_itself_is_still_in_time():
    """An offer ends after its deadline, not at it."""
    offers = {RiderId("rdr_1"): an_offer(made_at_ms=NOW)}

    assert waves.expired_riders(offers, NOW + 18_000) == frozenset()
    assert waves.expired_riders(offers, NOW + 18_001) == {"rdr_1"}


def test_next_check_is_at_receipts_staggers_and_deadlines():
    """Two seconds for the receipt, three for the next offer of the wave, then the deadline."""
    wave = a_search_in_wave(2, "rdr_1")

    assert waves.next_check_at_ms(wave, NOW, POLICY) == NOW + 2_000
    assert waves.next_check_at_ms(wave, NOW + 2_000, POLICY) == NOW + 3_000
    assert waves.next_check_at_ms(wave, NOW + 3_000, POLICY) == NOW + 18_001
    assert waves.offers_with_receipt_due(wave.offers, NOW + 1_999, POLICY) == {}
    assert waves.offers_with_receipt_due(wave.offers, NOW + 2_000, POLICY) == {"rdr_1": "ofr_0"}


def test_a_decision_lists_why_each_rider_was_not_asked():
    """Every rider in reach has a reason, except those who only ranked behind the chosen one."""
    exclusion = "last fix 16 s old"
    ranked = [
        a_candidate("best", 1.0, score=80.0),
        a_candidate("next", 1.4),
        a_candidate("far", 2.0),
        a_candidate("asked", 0.4),
        a_candidate("old", 0.6, exclusion=exclusion),
        a_candidate("beyond", 7.2, exclusion=exclusion),
    ]
    dispatch = a_search_after_wave(0, [("asked", OfferOutcome.DECLINED, NOW - 60_000)])
    pick = waves.pick_wave(dispatch, ranked, NOW, POLICY)
    offers = waves.offers_for(pick, NOW, POLICY, lambda: OfferId("ofr_1"))
    decision = waves.with_offer_ids(
        waves.explain_decision(dispatch, ranked, pick, NOW, POLICY), offers
    )

    assert [(each.rider_id, each.offer_id, each.excluded) for each in decision.candidates] == [
        ("best", "ofr_1", None),
        ("next", None, None),
        ("far", None, "beyond the 1.5 km of wave 1"),
        ("asked", None, "asked before: declined"),
        ("old", None, exclusion),
        ("beyond", None, "beyond 7 km"),
    ]
    assert (decision.wave, decision.radius_km, decision.left_out) == (1, 1.5, 0)


def test_a_decision_names_thirty_two_riders_and_counts_the_rest():
    """The record stays small however many riders there are."""
    ranked = candidates_at(*[0.5] * 40)
    pick = waves.pick_wave(a_search_after_wave(0), ranked, NOW, POLICY)
    decision = waves.explain_decision(a_search_after_wave(0), ranked, pick, NOW, POLICY)

    assert (len(decision.candidates), decision.left_out) == (32, 8)


@pytest.mark.parametrize(("misses", "pause_ms"), [(1, 2_000), (2, 3_000), (3, 5_000), (9, 5_000)])
def test_pauses_between_empty_searches_grow_and_then_stay(misses: int, pause_ms: int):
    """In the end an order is searched for every five seconds."""
    assert waves.retry_after_ms(POLICY, misses) == pause_ms


@pytest.mark.parametrize(
    ("status", "state", "is_searching"),
    [
        (OrderStatus.ACCEPTED, DispatchState.SEARCHING, True),
        (OrderStatus.READY, DispatchState.EXHAUSTED, True),
        (OrderStatus.ACCEPTED, DispatchState.ASSIGNED, False),
        (OrderStatus.CANCELLED, DispatchState.SEARCHING, False),
        (OrderStatus.PENDING, None, False),
    ],
)
def test_only_open_searches_need_a_rider(
    status: OrderStatus, state: DispatchState | None, is_searching: bool
):
    """A cancelled order does not search, whatever its dispatch state."""
    assert waves.is_searching(an_order(status=status, state=state)) is is_searching
