"""Offer waves: which riders an order asks next, how far away, and until when: pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from dispatch.ids import OfferId, OrderId, RiderId
from dispatch.model import (
    ConsideredRider,
    Decision,
    Dispatch,
    DispatchState,
    Offer,
    OfferOutcome,
    OfferPolicy,
    Order,
)


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A rider in reach; sequences of them stand best first. Units: kilometres, points.

    `exclusion` says why the rider must not be asked; None where it may.
    """

    rider_id: RiderId
    distance_km: float
    score: float = 0.0
    score_parts: dict[str, float] = {}
    recent_offers: int = 0
    exclusion: str | None = None


class Wave(NamedTuple):
    """The riders to ask now, the wave's number from 1, and its radius. Units: kilometres."""

    candidates: Sequence[Candidate]
    number: int
    radius_km: float


_SILENT_OUTCOMES = frozenset({OfferOutcome.EXPIRED, OfferOutcome.UNREAD, OfferOutcome.TAKEN})
_SEARCHING = frozenset({DispatchState.SEARCHING, DispatchState.OFFERED, DispatchState.EXHAUSTED})
_BEFORE_PICKUP = frozenset({DispatchState.ASSIGNED, DispatchState.AT_PICKUP})
_AFTER_PICKUP = frozenset({DispatchState.PICKED_UP, DispatchState.AT_DROPOFF})
# Stands for the order for which a rider is held, where the rider carries another order.
BUSY = OrderId("")
# Riders that one decision lists; the rest is counted.
# Source: docs/decisions/0007-offers-and-withdrawal.md.
EXPLAINED_MAX = 32


def wave_size(policy: OfferPolicy, wave: int) -> int:
    """How many riders the `wave`-th wave (from 1) asks; the last size repeats."""
    return policy.wave_sizes[min(wave, len(policy.wave_sizes)) - 1]


def wave_radius_km(policy: OfferPolicy, wave: int) -> float:
    """The radius in which the `wave`-th wave (from 1) begins; the last one repeats. Units: km."""
    return policy.radii_km[min(wave, len(policy.radii_km)) - 1]


def retry_after_ms(policy: OfferPolicy, misses: int) -> int:
    """The pause after `misses` searches in a row that found no rider. Units: milliseconds."""
    return policy.retry_ms[min(misses, len(policy.retry_ms)) - 1]


def may_ask(dispatch: Dispatch, rider_id: RiderId, now_ms: int, policy: OfferPolicy) -> bool:
    """Whether the order has not asked this rider recently. Units: Unix milliseconds."""
    past = dispatch.asked.get(rider_id)
    return past is None or now_ms - past.at_ms >= policy.silence_ms


def may_ask_again(dispatch: Dispatch, rider_id: RiderId, now_ms: int, policy: OfferPolicy) -> bool:
    """Whether a rider may be asked when no other is left: never asked, or silent long enough ago.

    Units: Unix milliseconds.
    """
    past = dispatch.asked.get(rider_id)
    if past is None or past.outcome not in _SILENT_OUTCOMES:
        return past is None
    return now_ms - past.at_ms >= policy.refill_ms


def has_unasked_wanted_rider(dispatch: Dispatch) -> bool:
    """Whether an operator wants a rider who was not asked yet."""
    return dispatch.wanted is not None and dispatch.wanted not in dispatch.asked


def remaining_in_wave(dispatch: Dispatch, policy: OfferPolicy) -> int:
    """How many riders of the present wave are still to be asked.

    0 while the rider whom an operator wants has an offer: that rider is asked alone.
    """
    if dispatch.wave == 0 or dispatch.wanted in dispatch.offers:
        return 0
    return max(0, wave_size(policy, dispatch.wave) - dispatch.wave_asked)


def next_offer_at_ms(dispatch: Dispatch, policy: OfferPolicy) -> int | None:
    """When the next rider of a wave with open offers is asked; None where it has asked them all.

    Units: Unix milliseconds.
    """
    if not dispatch.offers or not remaining_in_wave(dispatch, policy):
        return None
    return max(offer.made_at_ms for offer in dispatch.offers.values()) + policy.stagger_ms


def may_pick_wave(dispatch: Dispatch, now_ms: int, policy: OfferPolicy) -> bool:
    """Whether a rider may be asked now: no offer is open, or the wave's next offer is due.

    Units: Unix milliseconds.
    """
    next_ms = next_offer_at_ms(dispatch, policy)
    return not dispatch.offers or (next_ms is not None and now_ms >= next_ms)


def pick_wave(
    dispatch: Dispatch, ranked: Sequence[Candidate], now_ms: int, policy: OfferPolicy
) -> Wave:
    """The riders to ask now out of `ranked` (best first): the rest of a wave, or a new one.

    One rider at a time, unless the policy has no stagger. The radius of a wave with open offers
    stays; otherwise it widens until it holds a rider. Riders who were asked before are asked again
    only where no other is left and no offer is open.

    Units: Unix milliseconds.
    """
    has_open_offers = bool(dispatch.offers)
    remaining = remaining_in_wave(dispatch, policy)
    number = dispatch.wave if remaining else dispatch.wave + 1
    ranked = [c for c in ranked if c.exclusion is None and c.rider_id not in dispatch.offers]
    wanted = [c for c in ranked if c.rider_id == dispatch.wanted]
    if wanted and wanted[0].rider_id not in dispatch.asked and not has_open_offers:
        return Wave(wanted[:1], number, wanted[0].distance_km)
    pool = [c for c in ranked if may_ask(dispatch, c.rider_id, now_ms, policy)]
    if not pool and not has_open_offers:
        pool = [c for c in ranked if may_ask_again(dispatch, c.rider_id, now_ms, policy)]
    radii_km = _radii_to_try_km(dispatch, number, policy)
    count = 1 if policy.stagger_ms else remaining or wave_size(policy, number)
    for radius_km in radii_km:
        near = [c for c in pool if c.distance_km <= radius_km]
        if near:
            return Wave(near[:count], number, radius_km)
    return Wave((), number, radii_km[-1])


def _radii_to_try_km(dispatch: Dispatch, wave: int, policy: OfferPolicy) -> list[float]:
    is_same_wave = wave == dispatch.wave and dispatch.radius_km is not None
    first_km = dispatch.radius_km if is_same_wave else wave_radius_km(policy, wave)
    assert first_km is not None
    if dispatch.offers:
        return [first_km]
    return [first_km, *(radius_km for radius_km in policy.radii_km if radius_km > first_km)]


def offers_for(
    wave: Wave, now_ms: int, policy: OfferPolicy, new_offer_id: Callable[[], OfferId]
) -> dict[RiderId, Offer]:
    """One offer for each rider of a wave. Units: Unix milliseconds."""
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
    dispatch: Dispatch, offers: Mapping[RiderId, Offer], radius_km: float | None
) -> Dispatch:
    """The search with these offers in addition to the open ones. Units: kilometres."""
    wave = max(offer.wave for offer in offers.values())
    asked_before = dispatch.wave_asked if wave == dispatch.wave else 0
    return replace(
        dispatch,
        state=DispatchState.OFFERED,
        offers={**dispatch.offers, **offers},
        wave=wave,
        wave_asked=asked_before + len(offers),
        radius_km=radius_km,
    )


def expired_riders(offers: Mapping[RiderId, Offer], now_ms: int) -> frozenset[RiderId]:
    """Riders whose deadline has passed. Units: Unix milliseconds."""
    return frozenset(rider_id for rider_id, offer in offers.items() if now_ms > offer.deadline_ms)


def offers_with_receipt_due(
    offers: Mapping[RiderId, Offer], now_ms: int, policy: OfferPolicy
) -> dict[RiderId, OfferId]:
    """Offers, by rider, whose display receipt should have come by now. Units: Unix milliseconds."""
    return {
        rider_id: offer.offer_id
        for rider_id, offer in offers.items()
        if now_ms >= offer.made_at_ms + policy.receipt_ms
    }


def next_check_at_ms(dispatch: Dispatch, now_ms: int, policy: OfferPolicy) -> int:
    """When the engine must check the order again: a receipt, a deadline or the next offer is due.

    Units: Unix milliseconds.
    """
    due_ms = [
        at_ms
        for offer in dispatch.offers.values()
        for at_ms in (offer.made_at_ms + policy.receipt_ms, offer.deadline_ms + 1)
    ]
    next_offer_ms = next_offer_at_ms(dispatch, policy)
    if next_offer_ms is not None:
        due_ms.append(next_offer_ms)
    return min((at_ms for at_ms in due_ms if at_ms > now_ms), default=now_ms)


def is_searching(order: Order) -> bool:
    """Whether the order still searches a rider."""
    return _is_in_state(order, _SEARCHING)


def is_before_pickup(order: Order) -> bool:
    """Whether a rider is assigned and has not picked the order up yet."""
    return _is_in_state(order, _BEFORE_PICKUP)


def is_after_pickup(order: Order) -> bool:
    """Whether a rider has the goods and has not delivered them yet."""
    return _is_in_state(order, _AFTER_PICKUP)


def needs_dispatch(order: Order) -> bool:
    """Whether the order searches a rider, or waits for one at its pickup."""
    return is_searching(order) or is_before_pickup(order)


def needs_engine(order: Order) -> bool:
    """Whether the engine must check the order: it needs a rider, or its goods are under way."""
    return needs_dispatch(order) or is_after_pickup(order)


def _is_in_state(order: Order, states: frozenset[DispatchState]) -> bool:
    return order.dispatch is not None and order.dispatch.state in states and not order.is_terminal


def explain_decision(
    dispatch: Dispatch, ranked: Sequence[Candidate], wave: Wave, now_ms: int, policy: OfferPolicy
) -> Decision:
    """The record of one search: the riders of the wave first, then why the others were not asked.

    It lists at most 32 riders. `with_offer_ids` adds the offers that were made.

    Units: Unix milliseconds.
    """
    picked = {candidate.rider_id for candidate in wave.candidates}
    rows = [_considered_rider(dispatch, candidate) for candidate in wave.candidates]
    others = [
        replace(
            _considered_rider(dispatch, candidate),
            excluded=_exclusion(dispatch, candidate, wave, now_ms, policy),
        )
        for candidate in ranked
        if candidate.rider_id not in picked
    ]
    rows += sorted(others, key=lambda row: row.excluded is not None)
    return Decision(
        at_ms=now_ms,
        wave=wave.number,
        radius_km=wave.radius_km,
        candidates=tuple(rows[:EXPLAINED_MAX]),
        left_out=max(0, len(rows) - EXPLAINED_MAX),
    )


def with_offer_ids(decision: Decision, offers: Mapping[RiderId, Offer]) -> Decision:
    """The decision with the ids of the offers that were made to its riders."""
    rows = (
        replace(row, offer_id=offers[row.rider_id].offer_id) if row.rider_id in offers else row
        for row in decision.candidates
    )
    return replace(decision, candidates=tuple(rows))


def _considered_rider(dispatch: Dispatch, candidate: Candidate) -> ConsideredRider:
    return ConsideredRider(
        rider_id=candidate.rider_id,
        distance_km=round(candidate.distance_km, 3),
        score=candidate.score,
        parts=candidate.score_parts,
        recent_offers=candidate.recent_offers,
        before=dispatch.asked.get(candidate.rider_id),
    )


def _exclusion(
    dispatch: Dispatch, candidate: Candidate, wave: Wave, now_ms: int, policy: OfferPolicy
) -> str | None:
    """Why a rider in reach was not asked; None where better ones filled the wave."""
    widest_km = policy.radii_km[-1]
    past = dispatch.asked.get(candidate.rider_id)
    if candidate.distance_km > widest_km:
        return f"beyond {widest_km:g} km"
    if candidate.exclusion is not None:
        return candidate.exclusion
    if past is not None and not may_ask(dispatch, candidate.rider_id, now_ms, policy):
        return f"asked before: {past.outcome.value}"
    if candidate.distance_km > wave.radius_km:
        return f"beyond the {wave.radius_km:g} km of wave {wave.number}"
    return None
