"""Whom to offer an order next, how far away, and until when: pure.

Step 4 of an order's way: engine finds candidates -> [here] picks the wave -> flow.make_offers.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from dispatch.model import Dispatch, DispatchState, Offer, Order, Outcome


class OfferPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How riders are asked. Units: kilometres, milliseconds.

    Source: matching and reliability designs; grace covers the way of an answer on a mobile network.
    """

    wave_sizes: tuple[int, ...] = (1, 3, 5)
    radii_km: tuple[float, ...] = (1.5, 3.0, 5.0, 7.0)
    window_ms: int = 15_000
    grace_ms: int = 3_000
    receipt_ms: int = 2_000
    # How long a rider who said no, or nothing, is left alone with this order.
    silence_ms: int = 30 * 60_000
    # A rider who only kept silent is asked once more when nobody else is left.
    refill_ms: int = 30_000
    # Pauses between searches that found nobody, by how often that was so; the last one repeats.
    retry_ms: tuple[int, ...] = (2_000, 3_000, 5_000)
    candidates_max: int = 64

    def radius_km(self, wave: int) -> float:
        """How far the `wave`-th wave (from 1) looks at first."""
        return self.radii_km[min(wave, len(self.radii_km)) - 1]

    def size(self, wave: int) -> int:
        """How many riders the `wave`-th wave (from 1) asks."""
        return self.wave_sizes[min(wave, len(self.wave_sizes)) - 1]

    def retry_after_ms(self, misses: int) -> int:
        """How long to rest after `misses` searches in a row found nobody."""
        return self.retry_ms[min(misses, len(self.retry_ms)) - 1]


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A rider who could be asked, best first in any sequence of them. Units: kilometres."""

    rider_id: str
    distance_km: float


_SILENT = frozenset({Outcome.EXPIRED, Outcome.UNREAD, Outcome.TAKEN})


def may_ask(dispatch: Dispatch, rider: str, now_ms: int, policy: OfferPolicy) -> bool:
    """Whether the order has not asked this rider lately."""
    asked = dispatch.asked.get(rider)
    return asked is None or now_ms - asked.at_ms >= policy.silence_ms


def may_refill(dispatch: Dispatch, rider: str, now_ms: int, policy: OfferPolicy) -> bool:
    """Whether a rider who kept silent may be asked again because nobody else is left."""
    asked = dispatch.asked.get(rider)
    if asked is None or asked.outcome not in _SILENT:
        return asked is None
    return now_ms - asked.at_ms >= policy.refill_ms


def pick_wave(
    dispatch: Dispatch, ranked: Sequence[Candidate], now_ms: int, policy: OfferPolicy
) -> list[Candidate]:
    """The riders of the next wave out of `ranked` (best first); empty where nobody is left.

    The radius widens until it holds somebody; riders asked before are refilled only then.
    """
    wanted = [c for c in ranked if c.rider_id == dispatch.wanted]
    if wanted and wanted[0].rider_id not in dispatch.asked:
        return wanted
    wave = dispatch.wave + 1
    fresh = [c for c in ranked if may_ask(dispatch, c.rider_id, now_ms, policy)]
    pool = fresh or [c for c in ranked if may_refill(dispatch, c.rider_id, now_ms, policy)]
    for radius in policy.radii_km[min(wave, len(policy.radii_km)) - 1 :]:
        near = [c for c in pool if c.distance_km <= radius]
        if near:
            return near[: policy.size(wave)]
    return []


def offers_for(
    dispatch: Dispatch,
    chosen: Sequence[Candidate],
    now_ms: int,
    policy: OfferPolicy,
    mint: Callable[[], str],
) -> dict[str, Offer]:
    """One offer for each chosen rider, all of the next wave; `mint` makes offer ids."""
    return {
        candidate.rider_id: Offer(
            offer_id=mint(),
            wave=dispatch.wave + 1,
            made_at_ms=now_ms,
            expires_at_ms=now_ms + policy.window_ms,
            deadline_ms=now_ms + policy.window_ms + policy.grace_ms,
            distance_km=candidate.distance_km,
        )
        for candidate in chosen
    }


def expired(offers: Mapping[str, Offer], now_ms: int) -> frozenset[str]:
    """Riders whose time to answer is over."""
    return frozenset(rider for rider, offer in offers.items() if now_ms > offer.deadline_ms)


def receipt_due(offers: Mapping[str, Offer], now_ms: int, policy: OfferPolicy) -> dict[str, str]:
    """Offers (rider -> offer id) whose receipt should be there by now."""
    return {
        rider: offer.offer_id
        for rider, offer in offers.items()
        if now_ms >= offer.made_at_ms + policy.receipt_ms
    }


def next_look_ms(offers: Mapping[str, Offer], now_ms: int, policy: OfferPolicy) -> int:
    """When the engine must look at these offers again: at a receipt's or an answer's time."""
    moments = [
        moment
        for offer in offers.values()
        for moment in (offer.made_at_ms + policy.receipt_ms, offer.deadline_ms + 1)
        if moment > now_ms
    ]
    return min(moments, default=now_ms)


def wants_rider(order: Order) -> bool:
    """Whether the engine has anything to do for the order."""
    return (
        order.dispatch is not None
        and order.dispatch.state
        in (
            DispatchState.SEARCHING,
            DispatchState.OFFERED,
            DispatchState.EXHAUSTED,
        )
        and not order.is_terminal
    )
