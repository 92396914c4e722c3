"""How long a vendor's goods take, learned from when they were ready; by hour where known."""

from typing import NamedTuple

# What is believed of a vendor of whom nothing is known, and how many orders that weighs.
# Source: 17.1 minutes on average from placing to ready, 20,312 orders of 20 days of the public Meal
# Delivery Routing Problem library; the weight is an own choice.
PRIOR_MINUTES, PRIOR_ORDERS = 17.0, 3.0
# What a vendor does all day weighs so many orders against what he does in one hour of it.
ALL_DAY_ORDERS = 4.0
# Older orders fade: all together never weigh more than so many.
# Source: own choice, some days of a vendor's orders.
MEMORY_ORDERS = 50.0
# A shorter time is a vendor who calls ready what he has not made, a longer one who forgot to.
OBSERVED_MINUTES_MIN, OBSERVED_MINUTES_MAX = 1.0, 90.0
# Under this name stands what a vendor does all day; hours stand under their number.
ALL_DAY = "day"


class FadedSum(NamedTuple):
    """A faded sum, and how many it is of: minutes of orders, or yeses of answers."""

    total: float = 0.0
    weight: float = 0.0


def clamp_observation(minutes: float) -> float:
    """What is learned of one order. Units: minutes."""
    return min(OBSERVED_MINUTES_MAX, max(OBSERVED_MINUTES_MIN, minutes))


def estimate_prep_minutes(day: FadedSum, hour: FadedSum) -> float:
    """How long the next order takes: this hour's word, within the day's, within the house's.

    Units: minutes, between the shortest and the longest that is learned.
    """
    usual = (day.total + PRIOR_MINUTES * PRIOR_ORDERS) / (day.weight + PRIOR_ORDERS)
    return (hour.total + usual * ALL_DAY_ORDERS) / (hour.weight + ALL_DAY_ORDERS)
