"""All open orders and all usable riders together: the cheapest plan that can be found quickly.

Orders are put in one by one, the one first that loses most if it has to wait for the others
(regret); then each is taken out once more and put where it is cheapest by then. Only whoever must
leave now is sent; everything else is decided anew next time.
"""

from heapq import heapify, heappop, heappush

from matching.cost import Costs, Weights
from matching.nearby import nearby_riders
from matching.problem import Plan, Problem
from matching.route_exchange import exchange_routes
from matching.schedule import Insertion, Schedule

# An order with one rider alone regrets him this much. Units: minutes.
# Source: above any delay that another rider could cause in a working city.
SOLE_RIDER_REGRET_MINUTES = 60.0


class _RegretInsertion:
    """Orders on their way into the schedule, and the riders each could go to."""

    def __init__(self, schedule: Schedule, nearby: dict[int, list[int]]) -> None:
        self._schedule = schedule
        self._nearby = nearby
        self._moves: dict[int, dict[int, Insertion]] = {}
        self._orders_by_rider: dict[int, set[int]] = {}
        self._queue: list[tuple[float, int]] = []
        self._priorities: dict[int, float] = {}

    def insert_all(self, orders: list[int]) -> list[int]:
        """Put the orders in; those for which nobody is left."""
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
        """The more an order loses without its best rider, the smaller."""
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
    """Take each order out once and put it where it is cheapest now."""
    for order, rider in list(schedule.rider_of.items()):
        cost = schedule.cost_of(rider) - schedule.reassignment_threshold(order)
        before = schedule.remove(order)
        if before is None:
            continue
        saved = cost - schedule.cost_of(rider)
        # Whoever has nothing to do was dearer when this rider was chosen, and is so still, unless
        # more was put on this one since.
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
    """The plan of the policy `batch`."""
    if not len(problem.orders.place) or not len(problem.riders.x):
        return Plan((), tuple(range(len(problem.orders.place))))
    costs = Costs(problem, weights)
    schedule = Schedule(problem, costs)
    near = nearby_riders(problem, costs)
    open_ = [order for order in range(len(problem.orders.place)) if order not in schedule.rider_of]
    left = _RegretInsertion(schedule, near).insert_all(open_)
    _relocate(schedule, near)
    exchange_routes(schedule, near)
    return Plan(tuple(schedule.planned_trips()), tuple(left))
