"""Travel times between riders, pickup places and drop-offs, for riders of one speed."""

from math import ceil, hypot
from typing import NamedTuple

import numpy as np

from matching.problem import Floats, Orders, Problem

# Subtracted before rounding up, so that a floating-point excess over a whole number is ignored.
ROUNDING_TOLERANCE = 1e-9


class OrderLists(NamedTuple):
    """Columns of `Orders` as lists, for code that reads one order at a time.

    Shapes: each of length m, one element for each order. Units: as in `Orders`.
    """

    place: list[int]
    x: list[float]
    y: list[float]
    placed: list[float]
    ready: list[float]
    kg: list[float]
    cash: list[float]
    may_share: list[bool]


def to_order_lists(orders: Orders) -> OrderLists:
    """The columns of the orders as lists. Shapes: (m,) arrays in, lists of length m out."""
    return OrderLists(*(getattr(orders, column).tolist() for column in OrderLists._fields))


class TravelTimes:
    """Travel times between riders, k places and m drop-offs. Units: minutes.

    Shapes: `place_to_drop` (m,), from each order's place to its own drop-off; `drop_to_places`
    (m, k), from each drop-off to every place.
    """

    def __init__(self, problem: Problem, order_lists: OrderLists, speed: float) -> None:
        assert speed > 0, "a rider moves"
        orders, places = problem.orders, problem.places
        self._problem = problem
        self.order_lists = order_lists
        self._speed = speed
        self._drop_to_drop: dict[tuple[int, int], float] = {}
        self._from_place: dict[int, list[float]] = {}
        self._from_rider: dict[int, list[float]] = {}
        own = np.hypot(orders.x - places.x[orders.place], orders.y - places.y[orders.place])
        self.place_to_drop: list[float] = self._minutes(own).tolist()
        across = np.hypot(
            orders.x[:, None] - places.x[None, :], orders.y[:, None] - places.y[None, :]
        )
        self.drop_to_places: list[list[float]] = self._minutes(across).tolist()

    def from_rider(self, rider: int) -> list[float]:
        """From where a rider will be free to every place. Shapes: (k,). Units: minutes."""
        found = self._from_rider.get(rider)
        if found is None:
            riders = self._problem.riders
            found = self._to_places(float(riders.x[rider]), float(riders.y[rider]))
            self._from_rider[rider] = found
        return found

    def from_place(self, place: int) -> list[float]:
        """From a place to every place. Shapes: (k,). Units: minutes."""
        found = self._from_place.get(place)
        if found is None:
            places = self._problem.places
            found = self._to_places(float(places.x[place]), float(places.y[place]))
            self._from_place[place] = found
        return found

    def between_drops(self, one: int, other: int) -> float:
        """From the drop-off of one order to that of another. Units: minutes."""
        pair = (one, other) if one < other else (other, one)
        found = self._drop_to_drop.get(pair)
        if found is None:
            orders = self.order_lists
            found = self._minutes_of(
                hypot(orders.x[one] - orders.x[other], orders.y[one] - orders.y[other])
            )
            self._drop_to_drop[pair] = found
        return found

    def to_drop(self, place: int, order: int) -> float:
        """From any place to the drop-off of an order. Units: minutes."""
        return self.drop_to_places[order][place]

    def _to_places(self, x: float, y: float) -> list[float]:
        places = self._problem.places
        minutes: list[float] = self._minutes(np.hypot(places.x - x, places.y - y)).tolist()
        return minutes

    def _minutes(self, metres: Floats) -> Floats:
        minutes = metres / self._speed
        return (
            np.ceil(minutes - ROUNDING_TOLERANCE)
            if self._problem.rules.rounds_up_minutes
            else minutes
        )

    def _minutes_of(self, metres: float) -> float:
        minutes = metres / self._speed
        return (
            float(ceil(minutes - ROUNDING_TOLERANCE))
            if self._problem.rules.rounds_up_minutes
            else minutes
        )
