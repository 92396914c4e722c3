"""Duration of one batch decision by the size of the city.

`python -m bench.scale [--full] [--seed N]`. Synthetic cities of the same density, with a fifth as
many open orders as riders; the full size goes up to 5,000 riders and 1,000 orders. It measures how
long a decision takes, not how good it is.
"""

import argparse
import sys
import time
from math import log, sqrt
from statistics import median
from typing import NamedTuple

import numpy as np

from bench.common.result_line import print_result
from matching.batch import solve_batch
from matching.problem import ANY_VEHICLE, NO_ZONE, Orders, Places, Problem, Riders

SEED = 1
# Numbers of riders; figures are quoted from the full size.
SIZES = {"smoke": (100, 200, 400), "full": (625, 1_250, 2_500, 5_000)}
ORDERS_PER_RIDER = 0.2
# Five orders from each place.
PLACES_PER_ORDER = 0.2
# Source: 5,000 riders in a city 30 km across. Units: riders per square metre.
DENSITY = 5_000 / 30_000**2
# Riders who carry an order, and within what time they are free. Units: minutes.
BUSY_SHARE, BUSY_MINUTES = 0.4, 20.0
PREP_MINUTES, SHIFT_MINUTES = 25.0, 120.0
# A motorbike, over the straight line. Units: metres per minute.
SPEED_M_PER_MINUTE = 320.0
# Units: seconds. Source: bench/README.md, one decision of the largest city.
GOAL_S, GOAL_RIDERS = 1.0, 5_000
# The duration may grow with the riders to this power at most; 2 is that of all pairs.
POWER_MAX = 2.0
ROUNDS = 3


class Measured(NamedTuple):
    """Result of one size: the duration of a decision, and the orders that got a rider."""

    riders: int
    orders: int
    seconds: float
    served: int


def synthetic_city(riders: int, rng: np.random.Generator) -> Problem:
    """A busy moment of a synthetic city.

    Shapes: `riders` riders, a fifth as many orders. Units: as in `matching.problem`.
    """
    side = sqrt(riders / DENSITY)
    orders = int(riders * ORDERS_PER_RIDER)
    places = max(1, int(orders * PLACES_PER_ORDER))
    busy = rng.random(riders) < BUSY_SHARE
    return Problem(
        now=0.0,
        riders=Riders(
            x=rng.uniform(0, side, riders),
            y=rng.uniform(0, side, riders),
            free_at=np.where(busy, rng.uniform(0, BUSY_MINUTES, riders), 0.0),
            until=rng.uniform(BUSY_MINUTES, SHIFT_MINUTES, riders),
            speed=np.full(riders, SPEED_M_PER_MINUTE),
            capacity=np.full(riders, 3),
            kg=np.full(riders, 15.0),
            cash=np.full(riders, 50_000.0),
            vehicle=np.full(riders, ANY_VEHICLE),
            zone=np.full(riders, NO_ZONE),
            acceptance_chance=rng.uniform(0.7, 0.95, riders),
            completion=np.full(riders, np.nan),
            rating=np.full(riders, np.nan),
            active=np.zeros(riders),
        ),
        orders=_orders(orders, places, side, rng),
        places=Places(rng.uniform(0, side, places), rng.uniform(0, side, places), np.ones(places)),
    )


def _orders(orders: int, places: int, side: float, rng: np.random.Generator) -> Orders:
    placed = -rng.uniform(0, PREP_MINUTES, orders)
    return Orders(
        place=rng.integers(0, places, orders),
        x=rng.uniform(0, side, orders),
        y=rng.uniform(0, side, orders),
        placed=placed,
        ready=placed + PREP_MINUTES,
        kg=rng.uniform(0.5, 6.0, orders),
        cash=np.where(rng.random(orders) < 0.5, 5_000.0, 0.0),
        vehicles=np.full(orders, ANY_VEHICLE),
        zone=np.full(orders, NO_ZONE),
        may_share=rng.random(orders) < 0.1,
    )


def measure(riders: int, seed: int) -> Measured:
    """The median of ROUNDS decisions of this size. Units: seconds."""
    rng = np.random.default_rng(seed)
    durations_s, served = zip(
        *(_time_decision(synthetic_city(riders, rng)) for _ in range(ROUNDS)), strict=True
    )
    return Measured(riders, int(riders * ORDERS_PER_RIDER), median(durations_s), min(served))


def _time_decision(problem: Problem) -> tuple[float, int]:
    """Duration of one decision, and the number of orders that got a rider."""
    began_s = time.perf_counter()
    plan = solve_batch(problem)
    passed_s = time.perf_counter() - began_s
    return passed_s, len(problem.orders.place) - len(plan.unassigned)


def growth_power(rows: list[Measured]) -> float:
    """The power of the number of riders with which the duration grows, first size to last."""
    first, last = rows[0], rows[-1]
    return log(last.seconds / first.seconds) / log(last.riders / first.riders)


def main() -> None:
    """Measure and print; exit 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="up to 5,000 riders and 1,000 orders")
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()
    size = "full" if given.full else "smoke"
    rows = [measure(riders, given.seed) for riders in SIZES[size]]
    print(f"{'riders':>8}{'orders':>8}{'ms':>10}{'us/rider':>10}{'served':>8}", file=sys.stderr)
    for row in rows:
        each_us = row.seconds / row.riders * 1e6
        line = f"{row.riders:>8}{row.orders:>8}{row.seconds * 1000:>10.1f}{each_us:>10.1f}"
        print(f"{line}{row.served:>8}", file=sys.stderr)
    power = growth_power(rows)
    is_late = rows[-1].riders >= GOAL_RIDERS and rows[-1].seconds > GOAL_S
    table = [{**row._asdict(), "seconds": round(row.seconds, 4)} for row in rows]
    print_result(
        "scale", {"size": size, "seed": given.seed}, {"sizes": table, "power": round(power, 2)}
    )
    raise SystemExit(is_late or power >= POWER_MAX)


if __name__ == "__main__":
    main()
