"""Orders served one after the other, as they came: the policies `nearest` and `score`."""

from collections.abc import Callable, Mapping

import numpy as np

from matching.problem import Floats, Ints, Plan, Problem, Stop, Task, allowed
from matching.score import Facts, Parts, parts
from matching.travel_times import ROUNDING

METRES_PER_KM = 1000.0
# Riders of the policy `score` are not asked from farther away.
# Source: wire contract, the widest search radius.
REACH_KM = 7.0

# Ranks the riders of these rows for an order, higher first, NaN for nobody; and tells of one.
Rank = Callable[[Problem, Ints, Floats], tuple[Floats, Callable[[int], Mapping[str, float]]]]


def solve_nearest(problem: Problem) -> Plan:
    """The oldest order gets the nearest idle rider, and so on."""
    return _solve(problem, _by_distance)


def solve_score(problem: Problem) -> Plan:
    """The oldest order gets the idle rider with the most points, and so on."""
    return _solve(problem, _by_score)


def _by_distance(
    problem: Problem, riders: Ints, metres: Floats
) -> tuple[Floats, Callable[[int], Mapping[str, float]]]:
    way = metres / problem.riders.speed[riders]
    return -way, lambda row: {"way": float(way[row])}


def _by_score(
    problem: Problem, riders: Ints, metres: Floats
) -> tuple[Floats, Callable[[int], Mapping[str, float]]]:
    who, km = problem.riders, metres / METRES_PER_KM
    table = parts(Facts(km, who.completion[riders], who.rating[riders], who.active[riders]))
    points = np.where(km <= REACH_KM, table.sum(axis=1), np.nan)
    return points, lambda row: Parts(*table[row].tolist())._asdict()


def _solve(problem: Problem, rank: Rank) -> Plan:
    riders, orders, places = problem.riders, problem.orders, problem.places
    tasks = [
        Task(
            bound.rider,
            tuple(bound.stops),
            bound.arrives_at + problem.rules.before,
            go=True,
            terms={},
        )
        for bound in problem.bound
    ]
    taken = {stop.order for bound in problem.bound for stop in bound.stops}
    is_idle = riders.free_at <= problem.now
    is_idle[[bound.rider for bound in problem.bound]] = False
    left: list[int] = []
    for order in np.argsort(orders.placed, kind="stable").tolist():
        if order in taken:
            continue
        idle = np.flatnonzero(is_idle)
        idle = idle[allowed(problem, idle, order)]
        place = orders.place[order]
        metres = np.hypot(riders.x[idle] - places.x[place], riders.y[idle] - places.y[place])
        starts_at = _starts(problem, idle, metres, order)
        points, terms = rank(problem, idle, metres)
        points = np.where(starts_at <= riders.until[idle], points, np.nan)
        if np.isnan(points).all():
            left.append(order)
            continue
        row = int(np.nanargmax(points))
        stops = (Stop(order, is_pickup=True), Stop(order, is_pickup=False))
        tasks.append(Task(int(idle[row]), stops, float(starts_at[row]), go=True, terms=terms(row)))
        is_idle[idle[row]] = False
    return Plan(tuple(tasks), tuple(left))


def _starts(problem: Problem, riders: Ints, metres: Floats, order: int) -> Floats:
    way = metres / problem.riders.speed[riders]
    if problem.rules.whole:
        way = np.ceil(way - ROUNDING)
    arrives_at = problem.now + way + problem.rules.before
    return np.maximum(arrives_at, problem.orders.ready[order])
