"""Which riders are worth a look for which order: those around its pickup, found by cells."""

from math import floor
from typing import NamedTuple

import numpy as np

from matching.cost import Costs
from matching.problem import Floats, Ints, Problem, allowed
from matching.travel_times import ROUNDING

# Riders an order is compared with.
# Source: on the bench's development instances 24 find nothing better than 16, and 10 miss some.
NEAR_MAX = 16
# Riders around a pickup are gathered until there are so many for each one that is kept: some of
# them are still busy, some must not carry the order.
GATHER = 4
# Cells of the grid. Units: metres.
# Source: own choice; a city of 30 km has 225 of them, some 20 riders in each of 5,000.
CELL_M = 2_000.0
# So many riders are compared at once as quickly as a part of them is gathered.
# Source: measured 2026-11-21, 60 us for either.
ALL_MAX = 500


class _Around(NamedTuple):
    """The riders around a place, when each could be there, and how far he goes for it."""

    riders: Ints
    arrives_at: Floats
    way: Floats


class Grid:
    """Riders by the cell in which each will be free."""

    def __init__(self, x: Floats, y: Floats) -> None:
        self._cells: dict[tuple[int, int], list[int]] = {}
        columns, rows = np.floor(x / CELL_M).tolist(), np.floor(y / CELL_M).tolist()
        for rider, cell in enumerate(zip(columns, rows, strict=True)):
            self._cells.setdefault((int(cell[0]), int(cell[1])), []).append(rider)
        self._all = np.arange(len(columns))

    def around(self, x: float, y: float, count: int) -> Ints:
        """At least `count` riders, all there are within some distance; all riders if need be."""
        if len(self._all) <= max(count, ALL_MAX):
            return self._all
        column, row = floor(x / CELL_M), floor(y / CELL_M)
        found: list[int] = []
        seen = width = 0
        enough = False
        while seen < len(self._cells) and not enough:
            # One ring more than needed: the corners of a square are farther than its sides.
            enough = len(found) >= count
            ring = self._ring(column, row, width)
            seen += len(ring)
            for cell in ring:
                found += self._cells[cell]
            width += 1
        return np.array(sorted(found), dtype=np.int64)

    def _ring(self, column: int, row: int, width: int) -> list[tuple[int, int]]:
        """The cells with riders at this distance from a cell."""
        if 8 * width > len(self._cells):
            at = (max(abs(each[0] - column), abs(each[1] - row)) for each in self._cells)
            return [each for each, far in zip(self._cells, at, strict=True) if far == width]
        side = range(-width, width + 1)
        edge = [(column + i, row + j) for i in side for j in (-width, width)]
        edge += [(column + i, row + j) for i in (-width, width) for j in side[1:-1]]
        return [cell for cell in dict.fromkeys(edge) if cell in self._cells]


def near_riders(problem: Problem, costs: Costs) -> dict[int, list[int]]:
    """For each order the riders who may carry it and could be there first, at most 16 of them.

    Riders with a trip from its place, or one that it may share, are among them if they are near.
    """
    grid = Grid(problem.riders.x, problem.riders.y)
    under_way: dict[int, list[int]] = {}
    for bound in problem.bound:
        under_way.setdefault(costs.sheet.place[bound.stops[0].order], []).append(bound.rider)
    around: dict[int, _Around] = {}
    near: dict[int, list[int]] = {}
    for order, place in enumerate(costs.sheet.place):
        if place not in around:
            around[place] = _around(problem, grid, place)
        best = _best(problem, around[place], order, costs.weights.rider_minute)
        if place in under_way:
            here = np.array(under_way[place], dtype=np.int64)
            best = np.union1d(best, here[allowed(problem, here, order)])
        near[order] = best.tolist()
    return near


def _around(problem: Problem, grid: Grid, place: int) -> _Around:
    riders, x, y = problem.riders, problem.places.x[place], problem.places.y[place]
    rows = grid.around(float(x), float(y), NEAR_MAX * GATHER)
    way = np.hypot(riders.x[rows] - x, riders.y[rows] - y) / riders.speed[rows]
    if problem.rules.whole:
        way = np.ceil(way - ROUNDING)
    arrives_at = riders.free_at[rows] + way + problem.rules.before
    in_time = arrives_at <= riders.until[rows]
    return _Around(rows[in_time], arrives_at[in_time], way[in_time])


def _best(problem: Problem, around: _Around, order: int, rider_minute: float) -> Ints:
    starts_at = np.maximum(around.arrives_at, problem.orders.ready[order])
    first = np.argsort(starts_at + rider_minute * around.way, kind="stable")
    riders = around.riders[first]
    # Nearly always enough of the first may carry it; the rest is looked at only where not.
    some = riders[: 2 * NEAR_MAX]
    fit = some[allowed(problem, some, order)]
    if len(fit) < NEAR_MAX < len(riders):
        fit = riders[allowed(problem, riders, order)]
    return np.sort(fit[:NEAR_MAX])
