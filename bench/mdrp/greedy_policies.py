"""Orders served one after the other, as they came: the policies `nearest` and `score`."""

from collections.abc import Callable, Mapping

import numpy as np

from matching.problem import Floats, Ints, Plan, PlannedTrip, Problem, Stop, may_carry
from matching.score import ScoreInputs, ScoreParts, score_parts
from matching.travel_times import ROUNDING_TOLERANCE

METRES_PER_KM = 1000.0
# Riders of the policy `score` are not asked from farther away.
# Source: wire contract, the widest search radius.
RADIUS_MAX_KM = 7.0

# Ranks the riders of these rows for an order, higher first, NaN for nobody; and tells of one.
Rank = Callable[[Problem, Ints, Floats], tuple[Floats, Callable[[int], Mapping[str, float]]]]


def solve_nearest(problem: Problem) -> Plan:
    """The oldest order gets the nearest idle rider, and so on."""
    return _solve_greedily(problem, _by_distance)


def solve_score(problem: Problem) -> Plan:
    """The oldest order gets the idle rider with the most points, and so on."""
    return _solve_greedily(problem, _by_score)


def _by_distance(
    problem: Problem, riders: Ints, metres: Floats
) -> tuple[Floats, Callable[[int], Mapping[str, float]]]:
    way = metres / problem.riders.speed[riders]
    return -way, lambda row: {"way": float(way[row])}


def _by_score(
    problem: Problem, riders: Ints, metres: Floats
) -> tuple[Floats, Callable[[int], Mapping[str, float]]]:
    who, km = problem.riders, metres / METRES_PER_KM
    table = score_parts(
        ScoreInputs(km, who.completion[riders], who.rating[riders], who.active[riders])
    )
    points = np.where(km <= RADIUS_MAX_KM, table.sum(axis=1), np.nan)
    return points, lambda row: ScoreParts(*table[row].tolist())._asdict()


def _solve_greedily(problem: Problem, rank: Rank) -> Plan:
    riders, orders, places = problem.riders, problem.orders, problem.places
    tasks = [
        PlannedTrip(
            bound.rider,
            tuple(bound.stops),
            bound.arrives_at + problem.rules.before_handover,
            is_firm=True,
            terms={},
        )
        for bound in problem.committed
    ]
    taken = {stop.order for bound in problem.committed for stop in bound.stops}
    is_idle = riders.free_at <= problem.now
    is_idle[[bound.rider for bound in problem.committed]] = False
    left: list[int] = []
    for order in np.argsort(orders.placed, kind="stable").tolist():
        if order in taken:
            continue
        idle = np.flatnonzero(is_idle)
        idle = idle[may_carry(problem, idle, order)]
        place = orders.place[order]
        metres = np.hypot(riders.x[idle] - places.x[place], riders.y[idle] - places.y[place])
        starts_at = _starts_at(problem, idle, metres, order)
        points, terms = rank(problem, idle, metres)
        points = np.where(starts_at <= riders.until[idle], points, np.nan)
        if np.isnan(points).all():
            left.append(order)
            continue
        row = int(np.nanargmax(points))
        stops = (Stop(order, is_pickup=True), Stop(order, is_pickup=False))
        tasks.append(
            PlannedTrip(
                int(idle[row]), stops, float(starts_at[row]), is_firm=True, terms=terms(row)
            )
        )
        is_idle[idle[row]] = False
    return Plan(tuple(tasks), tuple(left))


def _starts_at(problem: Problem, riders: Ints, metres: Floats, order: int) -> Floats:
    way = metres / problem.riders.speed[riders]
    if problem.rules.rounds_up_minutes:
        way = np.ceil(way - ROUNDING_TOLERANCE)
    arrives_at = problem.now + way + problem.rules.before_handover
    return np.maximum(arrives_at, problem.orders.ready[order])
