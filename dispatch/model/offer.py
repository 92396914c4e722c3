"""Offers to riders: an open offer, its outcome, and the policy by which offers are made."""

from enum import StrEnum
from typing import Literal

import msgspec

from dispatch.ids import OfferId
from dispatch.model.record import Record


class Offer(Record, frozen=True):
    """A delivery offered to one rider until a deadline on the server's clock.

    Units: Unix milliseconds, kilometres. The rider is shown `expires_at_ms` and may still accept
    until `deadline_ms`, which leaves time for the answer to arrive.
    """

    offer_id: OfferId
    wave: int
    made_at_ms: int
    expires_at_ms: int
    deadline_ms: int
    distance_km: float


class OfferOutcome(StrEnum):
    """How an offer that was not accepted ended, or how an accepted one was given up."""

    DECLINED = "declined"
    EXPIRED = "expired"
    UNREAD = "unread"
    TAKEN = "taken"
    RELEASED = "released"
    VANISHED = "vanished"
    STALLED = "stalled"
    MOVED = "moved"


class PastOffer(Record, frozen=True):
    """An earlier offer of the order to a rider, and how it ended. Units: Unix milliseconds.

    `reason` is what the rider said, None where it said nothing.
    """

    offer_id: OfferId
    outcome: OfferOutcome
    at_ms: int
    reason: str | None = None


# How orders and riders are matched: each order by itself, all orders together, or together only
# while riders are short.
MatchingMode = Literal["offers", "batch", "auto"]


class OfferPolicy(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How riders are asked. Units: kilometres, metres, milliseconds.

    Source: chosen, and adjustable while the server runs (`offers.policy_store`); decision records
    7, 10 and 15 give the reasons. `grace_ms` covers an answer's time on a mobile network.
    """

    mode: MatchingMode = "offers"
    # Period of the decision over all open orders; a declined offer triggers one earlier.
    batch_every_ms: int = 5_000
    # With `auto`: orders waiting per free rider, above and below which the mode changes.
    # Source: chosen; with as many orders as riders the next order has to wait for a rider.
    batch_above: float = 1.0
    batch_below: float = 0.5
    wave_sizes: tuple[int, ...] = (1, 3, 5)
    radii_km: tuple[float, ...] = (1.5, 3.0, 5.0, 7.0)
    # Time between two riders of a wave, best first; 0 asks them all at once.
    stagger_ms: int = 3_000
    window_ms: int = 15_000
    grace_ms: int = 3_000
    receipt_ms: int = 2_000
    # How long a rider who declined or did not answer is not asked for this order again.
    silence_ms: int = 30 * 60_000
    # How long until a rider who did not answer is asked a second time, if no one else is left.
    refill_ms: int = 30_000
    # Pauses between searches without a result, by how many there were; the last one repeats.
    retry_ms: tuple[int, ...] = (2_000, 3_000, 5_000)
    candidates_max: int = 64
    # Offers in a row that a rider's app did not show, and how long the rider is then not asked.
    unread_max: int = 3
    pause_ms: int = 5 * 60_000
    # A search of this length raises an alert, and another one after each further interval.
    alert_after_ms: int = 3 * 60_000
    alert_every_ms: int = 5 * 60_000
    # Before the pickup an order is withdrawn from its rider after `vanish_ms` without a fix, or
    # after `stall_ms` without coming `stall_m` nearer, unless the rider is within `near_m`.
    vanish_ms: int = 60_000
    stall_ms: int = 240_000
    stall_m: int = 50
    near_m: int = 100
    # After the pickup operators are alerted where nothing was received from the rider for
    # `goods_silent_ms`, where positions show no progress as above, and after `late_ms` under way.
    # Source: chosen; a rider counts as lost after 45 s, and most rides in a city take half an hour.
    goods_silent_ms: int = 45_000
    late_ms: int = 60 * 60_000
    # Whether a rider may take goods that their vendor has not reported ready.
    # Source: chosen; a rider at the counter sees them, and vendors forget to report.
    pickup_implies_ready: bool = True
