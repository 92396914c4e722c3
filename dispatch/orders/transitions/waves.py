"""Whom to offer an order next, how far away, and until when: pure.

Step 4 of an order's way: engine finds candidates -> [here] picks of the wave -> flow.make_offers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from dispatch.model import (
    ConsideredRider,
    Decision,
    Dispatch,
    DispatchState,
    Offer,
    OfferOutcome,
    OfferPolicy,
    Order,
    PastOffer,
)


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A rider in reach, best first in any sequence of them. Units: kilometres, points.

    `bar` says why he may not be asked; None where he may.
    """

    rider_id: str
    distance_km: float
    score: float = 0.0
    score_parts: dict[str, float] = {}
    recent_offers: int = 0
    exclusion: str | None = None


class Wave(NamedTuple):
    """Who is asked now, as part of which wave, inside which circle; nobody where it is empty."""

    candidates: Sequence[Candidate]
    number: int
    radius_km: float


_SILENT_OUTCOMES = frozenset({OfferOutcome.EXPIRED, OfferOutcome.UNREAD, OfferOutcome.TAKEN})
_SEARCHING = frozenset({DispatchState.SEARCHING, DispatchState.OFFERED, DispatchState.EXHAUSTED})
_BEFORE_PICKUP = frozenset({DispatchState.ASSIGNED, DispatchState.AT_PICKUP})
_AFTER_PICKUP = frozenset({DispatchState.PICKED_UP, DispatchState.AT_DROPOFF})
# Riders whom one decision names; the rest is counted.
EXPLAINED_MAX = 32


def wave_size(policy: OfferPolicy, wave: int) -> int:
    """How many riders the `wave`-th wave (from 1) asks; the last size repeats."""
    return policy.wave_sizes[min(wave, len(policy.wave_sizes)) - 1]


def wave_radius_km(policy: OfferPolicy, wave: int) -> float:
    """How far the `wave`-th wave (from 1) looks at first; the last radius repeats."""
    return policy.radii_km[min(wave, len(policy.radii_km)) - 1]


def retry_after_ms(policy: OfferPolicy, misses: int) -> int:
    """How long to rest after `misses` searches in a row found nobody."""
    return policy.retry_ms[min(misses, len(policy.retry_ms)) - 1]


def may_ask(dispatch: Dispatch, rider: str, now_ms: int, policy: OfferPolicy) -> bool:
    """Whether the order has not asked this rider lately."""
    asked = dispatch.asked.get(rider)
    return asked is None or now_ms - asked.at_ms >= policy.silence_ms


def may_ask_again(dispatch: Dispatch, rider: str, now_ms: int, policy: OfferPolicy) -> bool:
    """Whether a rider who kept silent may be asked again because nobody else is left."""
    asked = dispatch.asked.get(rider)
    if asked is None or asked.outcome not in _SILENT_OUTCOMES:
        return asked is None
    return now_ms - asked.at_ms >= policy.refill_ms


def has_unasked_wanted_rider(dispatch: Dispatch) -> bool:
    """Whether an operator wants a rider who was not asked yet."""
    return dispatch.wanted is not None and dispatch.wanted not in dispatch.asked


def remaining_in_wave(dispatch: Dispatch, policy: OfferPolicy) -> int:
    """How many riders of the present wave are still to be asked; 0 where its circle is closed.

    The rider an operator wants is not put under pressure by others beside him.
    """
    if dispatch.wave == 0 or dispatch.wanted in dispatch.offers:
        return 0
    return max(0, wave_size(policy, dispatch.wave) - dispatch.wave_asked)


def next_offer_at_ms(dispatch: Dispatch, policy: OfferPolicy) -> int | None:
    """When the next rider of a wave with open offers is asked; None where it has no more."""
    if not dispatch.offers or not remaining_in_wave(dispatch, policy):
        return None
    return max(offer.made_at_ms for offer in dispatch.offers.values()) + policy.stagger_ms


def may_pick_wave(dispatch: Dispatch, now_ms: int, policy: OfferPolicy) -> bool:
    """Whether somebody may be asked now: nobody is, or the wave's next rider has his turn."""
    turn_ms = next_offer_at_ms(dispatch, policy)
    return not dispatch.offers or (turn_ms is not None and now_ms >= turn_ms)


def pick_wave(
    dispatch: Dispatch, ranked: Sequence[Candidate], now_ms: int, policy: OfferPolicy
) -> Wave:
    """The next of the wave out of `ranked` (best first), or the first of a new wave.

    One rider at a time, but for a policy without a stagger. The circle of a wave with open offers
    stays as it is; otherwise it widens until it holds somebody. Riders asked before are refilled
    only where nobody else is left and no offer is open.
    """
    open_ = bool(dispatch.offers)
    room = remaining_in_wave(dispatch, policy)
    wave = dispatch.wave if room else dispatch.wave + 1
    ranked = [c for c in ranked if c.exclusion is None and c.rider_id not in dispatch.offers]
    wanted = [c for c in ranked if c.rider_id == dispatch.wanted]
    if wanted and wanted[0].rider_id not in dispatch.asked and not open_:
        return Wave(wanted[:1], wave, wanted[0].distance_km)
    fresh = [c for c in ranked if may_ask(dispatch, c.rider_id, now_ms, policy)]
    pool = fresh
    if not fresh and not open_:
        pool = [c for c in ranked if may_ask_again(dispatch, c.rider_id, now_ms, policy)]
    circles = _radii_to_try_km(dispatch, wave, policy)
    count = 1 if policy.stagger_ms else room or wave_size(policy, wave)
    for radius_km in circles:
        near = [c for c in pool if c.distance_km <= radius_km]
        if near:
            return Wave(near[:count], wave, radius_km)
    return Wave((), wave, circles[-1])


def _radii_to_try_km(dispatch: Dispatch, wave: int, policy: OfferPolicy) -> list[float]:
    """The radii that are tried one after the other."""
    same_wave = wave == dispatch.wave and dispatch.radius_km is not None
    first_km = dispatch.radius_km if same_wave else wave_radius_km(policy, wave)
    assert first_km is not None
    if dispatch.offers:
        return [first_km]
    return [first_km, *(radius_km for radius_km in policy.radii_km if radius_km > first_km)]


def offers_for(
    wave: Wave, now_ms: int, policy: OfferPolicy, new_offer_id: Callable[[], str]
) -> dict[str, Offer]:
    """One offer for each chosen rider, each with a deadline of its own; `mint` makes offer ids."""
    return {
        candidate.rider_id: Offer(
            offer_id=new_offer_id(),
            wave=wave.number,
            made_at_ms=now_ms,
            expires_at_ms=now_ms + policy.window_ms,
            deadline_ms=now_ms + policy.window_ms + policy.grace_ms,
            distance_km=candidate.distance_km,
        )
        for candidate in wave.candidates
    }


def with_offers(
    dispatch: Dispatch, offers: Mapping[str, Offer], radius_km: float | None
) -> Dispatch:
    """The search with these offers beside those that are open."""
    wave = max(offer.wave for offer in offers.values())
    before = dispatch.wave_asked if wave == dispatch.wave else 0
    return replace(
        dispatch,
        state=DispatchState.OFFERED,
        offers={**dispatch.offers, **offers},
        wave=wave,
        wave_asked=before + len(offers),
        radius_km=radius_km,
    )


def expired_riders(offers: Mapping[str, Offer], now_ms: int) -> frozenset[str]:
    """Riders whose time to answer is over."""
    return frozenset(rider for rider, offer in offers.items() if now_ms > offer.deadline_ms)


def offers_with_receipt_due(
    offers: Mapping[str, Offer], now_ms: int, policy: OfferPolicy
) -> dict[str, str]:
    """Offers (rider -> offer id) whose receipt should be there by now."""
    return {
        rider: offer.offer_id
        for rider, offer in offers.items()
        if now_ms >= offer.made_at_ms + policy.receipt_ms
    }


def next_check_at_ms(dispatch: Dispatch, now_ms: int, policy: OfferPolicy) -> int:
    """When the engine must look again: at a receipt's, an answer's, or the next rider's time."""
    moments = [
        moment
        for offer in dispatch.offers.values()
        for moment in (offer.made_at_ms + policy.receipt_ms, offer.deadline_ms + 1)
    ]
    turn_ms = next_offer_at_ms(dispatch, policy)
    if turn_ms is not None:
        moments.append(turn_ms)
    return min((moment for moment in moments if moment > now_ms), default=now_ms)


def is_searching(order: Order) -> bool:
    """Whether the order still looks for a rider."""
    return _is_in_state(order, _SEARCHING)


def is_before_pickup(order: Order) -> bool:
    """Whether a rider is on his way to the pickup, or waits there."""
    return _is_in_state(order, _BEFORE_PICKUP)


def is_after_pickup(order: Order) -> bool:
    """Whether a rider is on his way to the customer with it."""
    return _is_in_state(order, _AFTER_PICKUP)


def needs_dispatch(order: Order) -> bool:
    """Whether the engine has anything to see to."""
    return is_searching(order) or is_before_pickup(order)


def _is_in_state(order: Order, states: frozenset[DispatchState]) -> bool:
    return order.dispatch is not None and order.dispatch.state in states and not order.is_terminal


def explain_decision(
    dispatch: Dispatch,
    ranked: Sequence[Candidate],
    wave: Wave,
    offers: Mapping[str, Offer],
    now_and_policy: tuple[int, OfferPolicy],
) -> Decision:
    """What a look saw and did, in words; at most 32 riders, those who were asked first.

    `offers` are those made to the chosen; `moment` is when, and by which policy.
    """
    now_ms, policy = now_and_policy
    asked = {candidate.rider_id for candidate in wave.candidates}
    rows = [
        _considered_rider(c, offers.get(c.rider_id), dispatch.asked.get(c.rider_id))
        for c in wave.candidates
    ]
    others = [c for c in ranked if c.rider_id not in asked]
    for c in others:
        row = _considered_rider(c, None, dispatch.asked.get(c.rider_id))
        rows.append(replace(row, excluded=_exclusion(dispatch, c, wave, now_ms, policy)))
    rows.sort(key=lambda row: (row.offer_id is None, row.excluded is not None))
    return Decision(
        at_ms=now_ms,
        wave=wave.number,
        radius_km=wave.radius_km,
        candidates=tuple(rows[:EXPLAINED_MAX]),
        left_out=max(0, len(rows) - EXPLAINED_MAX),
    )


def _considered_rider(
    candidate: Candidate, offer: Offer | None, past_offer: PastOffer | None
) -> ConsideredRider:
    return ConsideredRider(
        rider_id=candidate.rider_id,
        distance_km=round(candidate.distance_km, 3),
        score=candidate.score,
        parts=candidate.score_parts,
        recent_offers=candidate.recent_offers,
        offer_id=offer.offer_id if offer else None,
        before=past_offer,
    )


def _exclusion(
    dispatch: Dispatch, candidate: Candidate, wave: Wave, now_ms: int, policy: OfferPolicy
) -> str | None:
    """Why a rider in reach was not asked; None where he only stood behind the chosen."""
    widest_km = policy.radii_km[-1]
    asked = dispatch.asked.get(candidate.rider_id)
    if candidate.distance_km > widest_km:
        return f"beyond {widest_km:g} km"
    if candidate.exclusion is not None:
        return candidate.exclusion
    if asked is not None and not may_ask(dispatch, candidate.rider_id, now_ms, policy):
        return f"asked before: {asked.outcome.value}"
    if candidate.distance_km > wave.radius_km:
        return f"beyond the {wave.radius_km:g} km of wave {wave.number}"
    return None
