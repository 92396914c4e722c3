"""Small matching problems on a plane where one metre takes one minute."""

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np

from matching.problem import (
    ANY_VEHICLE,
    NO_ZONE,
    CommittedRider,
    Orders,
    Places,
    Plan,
    Problem,
    Riders,
    Rules,
    Stop,
)

RULES = Rules(rounds_up_minutes=True)


def rider(x: float, y: float = 0.0, **fields: Any) -> dict[str, Any]:
    """A rider who is free now, may carry anything, and works all day."""
    return {
        "x": x, "y": y, "free_at": 0.0, "until": 1000.0, "speed": 1.0, "capacity": 4,
        "kg": 100.0, "cash": 1e9, "vehicle": ANY_VEHICLE, "zone": NO_ZONE, "acceptance_chance": 1.0,
        "completion": np.nan, "rating": np.nan, "active": 0.0, **fields,
    }  # fmt: skip


def order(place: int, x: float, y: float = 0.0, **fields: Any) -> dict[str, Any]:
    """A meal that is placed and ready at minute 0."""
    return {
        "place": place, "x": x, "y": y, "placed": 0.0, "ready": 0.0, "kg": 1.0, "cash": 0.0,
        "vehicles": ANY_VEHICLE, "zone": NO_ZONE, "may_share": False, **fields,
    }  # fmt: skip


def problem(
    riders: Sequence[dict[str, Any]],
    orders: Sequence[dict[str, Any]],
    places: Sequence[tuple[float, float]],
    **fields: Any,
) -> Problem:
    """A problem of these riders, orders and places, at minute 0."""
    rider_columns = {name: _column(riders, name, rider(0)) for name in Riders._fields}
    order_columns = {name: _column(orders, name, order(0, 0)) for name in Orders._fields}
    at = np.array(places, dtype=np.float64).reshape(-1, 2)
    return Problem(
        **{
            "now": 0.0,
            "riders": Riders(**rider_columns),
            "orders": Orders(**order_columns),
            "places": Places(at[:, 0], at[:, 1], np.ones(len(at))),
            "rules": RULES,
            **fields,
        }
    )


def _column(rows: Sequence[dict[str, Any]], name: str, kind: dict[str, Any]) -> Any:
    """One column; with the right type also where there are no rows."""
    return np.array([row[name] for row in rows], dtype=np.array(kind[name]).dtype)


def committed_rider(rider_row: int, orders: Sequence[int], arrives_at: float) -> CommittedRider:
    """A rider under way to a place where it picks up these orders."""
    stops = [Stop(row, is_pickup=True) for row in orders]
    stops += [Stop(row, is_pickup=False) for row in orders]
    return CommittedRider(rider_row, tuple(stops), arrives_at)


def rider_by_order(plan: Plan) -> dict[int, int]:
    """The rider of each order."""
    return {row: trip.rider for trip in plan.trips for row in trip.orders}


def plan_cost(plan: Plan) -> float:
    """The cost of a plan: all terms of all trips together."""
    return sum(sum(trip.terms.values()) for trip in plan.trips)


def all_plans(riders: int, orders: int) -> list[list[tuple[int, ...]]]:
    """Every assignment of orders to riders, with every sequence for each rider."""
    found: set[tuple[tuple[int, ...], ...]] = set()
    separators = [-1] * (riders - 1)
    for row in permutations([*range(orders), *separators]):
        routes: list[list[int]] = [[]]
        for each in row:
            routes = [*routes, []] if each == -1 else [*routes[:-1], [*routes[-1], each]]
        found.add(tuple(tuple(route) for route in routes))
    return [list(each) for each in sorted(found)]
