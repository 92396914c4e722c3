"""All open orders and all usable riders together: the cheapest plan that can be found quickly.

Orders are put in one by one, the one first that loses most if it has to wait for the others
(regret); then each is taken out once more and put where it is cheapest by then. Only whoever must
leave now is sent; everything else is decided anew next time.
"""

from heapq import heapify, heappop, heappush

from matching.cost import Costs, Weights
from matching.nearby import near_riders
from matching.problem import Plan, Problem
from matching.route_exchange import exchange
from matching.schedule import Move, Schedule

# An order with one rider alone regrets him this much. Units: minutes.
# Source: above any delay that another rider could cause in a working city.
ALONE_REGRET = 60.0


class _Fill:
    """Orders on their way into the schedule, and the riders each could go to."""

    def __init__(self, schedule: Schedule, near: dict[int, list[int]]) -> None:
        self._schedule = schedule
        self._near = near
        self._moves: dict[int, dict[int, Move]] = {}
        self._watch: dict[int, set[int]] = {}
        self._queue: list[tuple[float, int]] = []
        self._key: dict[int, float] = {}

    def run(self, orders: list[int]) -> list[int]:
        """Put the orders in; those for which nobody is left."""
        for order in orders:
            self._moves[order] = {}
            for rider in self._near[order]:
                self._watch.setdefault(rider, set()).add(order)
                self._look(order, rider)
            self._key[order] = self._regret(order)
        self._queue = [(self._key[order], order) for order in orders]
        heapify(self._queue)
        while self._queue:
            key, order = heappop(self._queue)
            if order in self._moves and key == self._key[order] and self._moves[order]:
                self._put(order)
        return sorted(self._moves)

    def _put(self, order: int) -> None:
        best = min(self._moves[order].values(), key=_by_cost)
        self._schedule.put(order, best)
        del self._moves[order]
        for other in sorted(self._watch[best.rider]):
            if other not in self._moves:
                continue
            self._look(other, best.rider)
            key = self._regret(other)
            if key != self._key[other]:
                self._key[other] = key
                heappush(self._queue, (key, other))

    def _look(self, order: int, rider: int) -> None:
        move = self._schedule.best(rider, order)
        if move is None:
            self._moves[order].pop(rider, None)
        else:
            self._moves[order][rider] = move

    def _regret(self, order: int) -> float:
        """The more an order loses without its best rider, the smaller."""
        first = second = float("inf")
        for move in self._moves[order].values():
            if move.cost < first:
                first, second = move.cost, first
            elif move.cost < second:
                second = move.cost
        return first - min(second, first + ALONE_REGRET) if self._moves[order] else 0.0


def _by_cost(move: Move) -> tuple[float, int]:
    return (move.cost, move.rider)


def _relocate(schedule: Schedule, near: dict[int, list[int]]) -> None:
    """Take each order out once and put it where it is cheapest now."""
    for order, rider in list(schedule.rider_of.items()):
        cost = schedule.cost_of(rider) - schedule.hurdle(order)
        before = schedule.take(order)
        if before is None:
            continue
        saved = cost - schedule.cost_of(rider)
        # Whoever has nothing to do was dearer when this rider was chosen, and is so still, unless
        # more was put on this one since.
        is_alone = not schedule.trips[rider]
        riders = [each for each in near[order] if not is_alone or schedule.trips.get(each)]
        moves = [move for each in riders if (move := schedule.best(each, order)) is not None]
        best = min(moves, key=_by_cost, default=None)
        if best is not None and best.cost < saved - 1e-9:
            schedule.put(order, best)
        else:
            schedule.restore(rider, before)


def solve_batch(problem: Problem, weights: Weights = Weights()) -> Plan:  # noqa: B008 - a constant
    """The plan of the policy `batch`."""
    if not len(problem.orders.place) or not len(problem.riders.x):
        return Plan((), tuple(range(len(problem.orders.place))))
    costs = Costs(problem, weights)
    schedule = Schedule(problem, costs)
    near = near_riders(problem, costs)
    open_ = [order for order in range(len(problem.orders.place)) if order not in schedule.rider_of]
    left = _Fill(schedule, near).run(open_)
    _relocate(schedule, near)
    exchange(schedule, near)
    return Plan(tuple(schedule.tasks()), tuple(left))
