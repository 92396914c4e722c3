"""Chances of the simulated people's rare actions: cancel, reject, break down, lose the network."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Chances, and the durations that belong to them. Units: shares from 0 to 1, seconds.

    Source: guesses that give every branch of the contract its share of a demo.
    """

    # A customer cancels an order, within this time.
    cancel_chance: float = 0.04
    cancel_within_s: float = 25.0
    # A customer rates a delivered order.
    rating_chance: float = 0.7
    # A vendor rejects an order.
    reject_chance: float = 0.03
    # A rider gives a delivery back on the way to the shop.
    breakdown_chance: float = 0.01
    # After a fix, the mobile network is lost for some seconds (median).
    outage_chance: float = 0.002
    outage_median_s: float = 6.0
    # An app that got no answer sends its fix twice.
    duplicate_chance: float = 0.005
    # A tap that is sent twice.
    double_tap_chance: float = 0.02
    # Phones that are coarse, set their clock, or repeat their last fix while they stand, and riders
    # who have left a second phone where they began.
    coarse_share: float = 0.05
    clock_share: float = 0.03
    repeats_share: float = 0.02
    second_phone_share: float = 0.01
