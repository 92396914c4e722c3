"""Preparation times of vendors, learned from past orders, by hour of the day where known."""

from typing import NamedTuple

# The estimate for a vendor without orders, and how many orders it weighs.
# Source: 17.1 minutes on average from placing to ready, 20,312 orders of 20 days of the public Meal
# Delivery Routing Problem library; the weight is chosen.
PRIOR_MINUTES, PRIOR_ORDERS = 17.0, 3.0
# The vendor's all-day average weighs this many orders against the average of one hour.
ALL_DAY_ORDERS = 4.0
# Older orders fade: all orders of a vendor together never weigh more than this many.
# Source: chosen; some days of a vendor's orders.
MEMORY_ORDERS = 50.0
# A shorter time means that an order was marked ready before it was made, a longer one that marking
# it was forgotten.
OBSERVED_MINUTES_MIN, OBSERVED_MINUTES_MAX = 1.0, 90.0
# Hash field of a vendor's all-day sum; the sums by hour stand under the number of the hour.
ALL_DAY = "day"


class FadedSum(NamedTuple):
    """A sum whose older parts weigh less, and the weight it is of.

    For example minutes over orders, or acceptances over answers.
    """

    total: float = 0.0
    weight: float = 0.0


def clamp_observation(minutes: float) -> float:
    """The preparation time that is learned from one order. Units: minutes."""
    return min(OBSERVED_MINUTES_MAX, max(OBSERVED_MINUTES_MIN, minutes))


def estimate_prep_minutes(day: FadedSum, hour: FadedSum) -> float:
    """Expected preparation time: the hour's average, drawn to the day's, drawn to the prior.

    Units: minutes, between OBSERVED_MINUTES_MIN and OBSERVED_MINUTES_MAX.
    """
    usual = (day.total + PRIOR_MINUTES * PRIOR_ORDERS) / (day.weight + PRIOR_ORDERS)
    return (hour.total + usual * ALL_DAY_ORDERS) / (hour.weight + ALL_DAY_ORDERS)
