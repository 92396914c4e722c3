"""Candidate riders for each order: those who could be at its pickup first, found by grid cells."""

from math import floor
from typing import NamedTuple

import numpy as np

from matching.cost import Costs
from matching.problem import Floats, Ints, Problem, may_carry
from matching.travel_times import ROUNDING_TOLERANCE

# Riders that an order is compared with.
# Source: on the bench's development instances 24 find nothing better than 16, and 10 miss some.
NEARBY_MAX = 16
# Riders gathered around a pickup for each one that is kept: some of them are still busy, some must
# not carry the order. Source: chosen.
OVERSAMPLING = 4
# Side of a grid cell. Units: metres.
# Source: chosen; a city of 30 km has 225 cells, with some 20 riders in each of 5,000.
CELL_M = 2_000.0
# Up to this many riders are all compared: gathering a part of them takes as long.
# Source: measured 2026-11-21, 60 us for either.
SCAN_ALL_MAX = 500


class _NearbyRiders(NamedTuple):
    """Riders around a place, when each could start there, and its travel time to it.

    Shapes: each (r,). Units: minutes.
    """

    riders: Ints
    arrives_at: Floats
    travel: Floats


class RiderGrid:
    """Index of riders by the grid cell in which each will be free.

    Shapes: `x`, `y` (n,). Units: metres.
    """

    def __init__(self, x: Floats, y: Floats) -> None:
        self._cells: dict[tuple[int, int], list[int]] = {}
        columns: list[float] = np.floor(x / CELL_M).tolist()
        rows: list[float] = np.floor(y / CELL_M).tolist()
        for rider, cell in enumerate(zip(columns, rows, strict=True)):
            self._cells.setdefault((int(cell[0]), int(cell[1])), []).append(rider)
        self._all: Ints = np.arange(len(columns))

    def riders_around(self, x: float, y: float, count: int) -> Ints:
        """At least `count` riders, namely all within some distance; all riders if need be.

        Shapes: (r,) rows of the riders. Units: metres.
        """
        if len(self._all) <= max(count, SCAN_ALL_MAX):
            return self._all
        column, row = floor(x / CELL_M), floor(y / CELL_M)
        found: list[int] = []
        seen = width = 0
        has_enough = False
        while seen < len(self._cells) and not has_enough:
            # One ring more than needed: the corners of a square are farther than its sides.
            has_enough = len(found) >= count
            ring = self._ring(column, row, width)
            seen += len(ring)
            for cell in ring:
                found += self._cells[cell]
            width += 1
        return np.array(sorted(found), dtype=np.int64)

    def _ring(self, column: int, row: int, width: int) -> list[tuple[int, int]]:
        """The occupied cells at this distance from a cell."""
        if 8 * width > len(self._cells):
            distances = (max(abs(each[0] - column), abs(each[1] - row)) for each in self._cells)
            return [each for each, far in zip(self._cells, distances, strict=True) if far == width]
        side = range(-width, width + 1)
        edge = [(column + i, row + j) for i in side for j in (-width, width)]
        edge += [(column + i, row + j) for i in (-width, width) for j in side[1:-1]]
        return [cell for cell in dict.fromkeys(edge) if cell in self._cells]


def nearby_riders(problem: Problem, costs: Costs) -> dict[int, list[int]]:
    """For each order the NEARBY_MAX riders who may carry it and could start first.

    Riders under way to its place who may carry it are always added. Shapes: rows of the riders by
    row of the order.
    """
    grid = RiderGrid(problem.riders.x, problem.riders.y)
    under_way: dict[int, list[int]] = {}
    for each in problem.committed:
        under_way.setdefault(costs.order_lists.place[each.stops[0].order], []).append(each.rider)
    around: dict[int, _NearbyRiders] = {}
    nearby: dict[int, list[int]] = {}
    for order, place in enumerate(costs.order_lists.place):
        if place not in around:
            around[place] = _riders_around_place(problem, grid, place)
        best = _best_riders(problem, around[place], order, costs.weights.rider_minute)
        if place in under_way:
            at_place: Ints = np.array(under_way[place], dtype=np.int64)
            best = np.union1d(best, at_place[may_carry(problem, at_place, order)])
        nearby[order] = best.tolist()
    return nearby


def _riders_around_place(problem: Problem, grid: RiderGrid, place: int) -> _NearbyRiders:
    riders, x, y = problem.riders, problem.places.x[place], problem.places.y[place]
    rows = grid.riders_around(float(x), float(y), NEARBY_MAX * OVERSAMPLING)
    travel: Floats = np.hypot(riders.x[rows] - x, riders.y[rows] - y) / riders.speed[rows]
    if problem.rules.rounds_up_minutes:
        travel = np.ceil(travel - ROUNDING_TOLERANCE)
    arrives_at = riders.free_at[rows] + travel + problem.rules.before_handover
    in_time = arrives_at <= riders.until[rows]
    return _NearbyRiders(rows[in_time], arrives_at[in_time], travel[in_time])


def _best_riders(problem: Problem, nearby: _NearbyRiders, order: int, rider_minute: float) -> Ints:
    starts_at = np.maximum(nearby.arrives_at, problem.orders.ready[order])
    first = np.argsort(starts_at + rider_minute * nearby.travel, kind="stable")
    riders = nearby.riders[first]
    # Nearly always enough of the first may carry it; the others are looked at only where not.
    some = riders[: 2 * NEARBY_MAX]
    fit = some[may_carry(problem, some, order)]
    if len(fit) < NEARBY_MAX < len(riders):
        fit = riders[may_carry(problem, riders, order)]
    return np.sort(fit[:NEARBY_MAX])
