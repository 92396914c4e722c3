"""Batch matching: all open orders and all usable riders are decided together.

A heuristic for the cheapest plan. Regret insertion: orders are inserted one by one, first the one
that loses most if it has to wait for the others. Then each order is taken out once and inserted
where it is cheapest by then, and whole routes are exchanged between riders. Only trips that must
start now are firm; the others are decided again next time.
"""

from heapq import heapify, heappop, heappush

from matching.cost import Costs, Weights
from matching.nearby import nearby_riders
from matching.problem import Plan, Problem
from matching.route_exchange import exchange_routes
from matching.schedule import Insertion, Schedule

# Regret of an order that only one rider can take. Units: minutes.
# Source: chosen; above any delay that another rider could cause in a working city.
SOLE_RIDER_REGRET_MINUTES = 60.0


class _RegretInsertion:
    """Orders to be inserted into the schedule, with the best insertion for each nearby rider."""

    def __init__(self, schedule: Schedule, nearby: dict[int, list[int]]) -> None:
        self._schedule = schedule
        self._nearby = nearby
        self._moves: dict[int, dict[int, Insertion]] = {}
        self._orders_by_rider: dict[int, set[int]] = {}
        self._queue: list[tuple[float, int]] = []
        self._priorities: dict[int, float] = {}

    def insert_all(self, orders: list[int]) -> list[int]:
        """Insert the orders; returns those that no rider can take."""
        for order in orders:
            self._moves[order] = {}
            for rider in self._nearby[order]:
                self._orders_by_rider.setdefault(rider, set()).add(order)
                self._update_move(order, rider)
            self._priorities[order] = self._priority(order)
        self._queue = [(self._priorities[order], order) for order in orders]
        heapify(self._queue)
        while self._queue:
            key, order = heappop(self._queue)
            if order in self._moves and key == self._priorities[order] and self._moves[order]:
                self._insert(order)
        return sorted(self._moves)

    def _insert(self, order: int) -> None:
        best = min(self._moves[order].values(), key=_by_cost)
        self._schedule.insert(order, best)
        del self._moves[order]
        for other in sorted(self._orders_by_rider[best.rider]):
            if other not in self._moves:
                continue
            self._update_move(other, best.rider)
            key = self._priority(other)
            if key != self._priorities[other]:
                self._priorities[other] = key
                heappush(self._queue, (key, other))

    def _update_move(self, order: int, rider: int) -> None:
        move = self._schedule.best_insertion(rider, order)
        if move is None:
            self._moves[order].pop(rider, None)
        else:
            self._moves[order][rider] = move

    def _priority(self, order: int) -> float:
        """Key of the queue: the more an order loses without its best rider, the smaller."""
        first = second = float("inf")
        for move in self._moves[order].values():
            if move.cost < first:
                first, second = move.cost, first
            elif move.cost < second:
                second = move.cost
        return first - min(second, first + SOLE_RIDER_REGRET_MINUTES) if self._moves[order] else 0.0


def _by_cost(move: Insertion) -> tuple[float, int]:
    return (move.cost, move.rider)


def _relocate(schedule: Schedule, nearby: dict[int, list[int]]) -> None:
    """Take each order out once and insert it where it is cheapest now."""
    for order, rider in list(schedule.rider_of.items()):
        cost = schedule.cost_of(rider) - schedule.reassignment_threshold(order)
        before = schedule.remove(order)
        if before is None:
            continue
        saved = cost - schedule.cost_of(rider)
        # A rider without trips was dearer than this one when the order was inserted, and still is
        # where the order is all that this rider has.
        is_alone = not schedule.trips[rider]
        riders = [each for each in nearby[order] if not is_alone or schedule.trips.get(each)]
        moves = [
            move for each in riders if (move := schedule.best_insertion(each, order)) is not None
        ]
        best = min(moves, key=_by_cost, default=None)
        if best is not None and best.cost < saved - 1e-9:
            schedule.insert(order, best)
        else:
            schedule.set_trips(rider, before)


def solve_batch(problem: Problem, weights: Weights = Weights()) -> Plan:  # noqa: B008 - a constant
    """The plan for one decision; the same problem always gives the same plan.

    Shapes: columns of n riders, m orders and k places in. Units: as in `Problem`, minutes out.
    """
    if not len(problem.orders.place) or not len(problem.riders.x):
        return Plan((), tuple(range(len(problem.orders.place))))
    costs = Costs(problem, weights)
    schedule = Schedule(problem, costs)
    nearby = nearby_riders(problem, costs)
    orders = range(len(problem.orders.place))
    open_orders = [order for order in orders if order not in schedule.rider_of]
    unassigned = _RegretInsertion(schedule, nearby).insert_all(open_orders)
    _relocate(schedule, nearby)
    exchange_routes(schedule, nearby)
    return Plan(tuple(schedule.planned_trips()), tuple(unassigned))
