"""Greedy matching for comparison: orders are assigned one by one, in the sequence of placing."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from matching.problem import Floats, Ints, Plan, PlannedTrip, Problem, Stop, may_carry
from matching.score import ScoreInputs, ScoreParts, score_parts
from matching.travel_times import ROUNDING_TOLERANCE

METRES_PER_KM = 1000.0
# Riders farther away get no points from the policy `score`.
# Source: docs/contract.md, the widest search radius.
RADIUS_MAX_KM = 7.0


class Ranking(NamedTuple):
    """Points of riders for one order, higher is better, NaN is excluded; and the reasons by row.

    Shapes: `points` (r,).
    """

    points: Floats
    terms: Callable[[int], Mapping[str, float]]


Rank = Callable[[Problem, Ints, Floats], Ranking]


def solve_nearest(problem: Problem) -> Plan:
    """Policy `nearest`: the oldest order gets the nearest idle rider, and so on.

    Shapes, Units: as in `matching.batch.solve_batch`.
    """
    return _solve_greedily(problem, _by_distance)


def solve_score(problem: Problem) -> Plan:
    """Policy `score`: the oldest order gets the idle rider with the highest score, and so on.

    Shapes, Units: as in `matching.batch.solve_batch`.
    """
    return _solve_greedily(problem, _by_score)


def _by_distance(problem: Problem, riders: Ints, metres: Floats) -> Ranking:
    travel = metres / problem.riders.speed[riders]
    return Ranking(-travel, lambda row: {"travel": float(travel[row])})


def _by_score(problem: Problem, riders: Ints, metres: Floats) -> Ranking:
    columns, km = problem.riders, metres / METRES_PER_KM
    table = score_parts(
        ScoreInputs(km, columns.completion[riders], columns.rating[riders], columns.active[riders])
    )
    points = np.where(km <= RADIUS_MAX_KM, table.sum(axis=1), np.nan)
    return Ranking(points, lambda row: ScoreParts(*table[row].tolist())._asdict())


def _solve_greedily(problem: Problem, rank: Rank) -> Plan:
    riders, orders, places = problem.riders, problem.orders, problem.places
    trips = [
        PlannedTrip(
            each.rider,
            tuple(each.stops),
            each.arrives_at + problem.rules.before_handover,
            is_firm=True,
            terms={},
        )
        for each in problem.committed
    ]
    taken = {stop.order for each in problem.committed for stop in each.stops}
    is_idle = riders.free_at <= problem.now
    is_idle[[each.rider for each in problem.committed]] = False
    unassigned: list[int] = []
    for order in np.argsort(orders.placed, kind="stable").tolist():
        if order in taken:
            continue
        idle = np.flatnonzero(is_idle)
        idle = idle[may_carry(problem, idle, order)]
        place = orders.place[order]
        metres = np.hypot(riders.x[idle] - places.x[place], riders.y[idle] - places.y[place])
        starts_at = _starts_at(problem, idle, metres, order)
        ranking = rank(problem, idle, metres)
        points = np.where(starts_at <= riders.until[idle], ranking.points, np.nan)
        if np.isnan(points).all():
            unassigned.append(order)
            continue
        row = int(np.nanargmax(points))
        stops = (Stop(order, is_pickup=True), Stop(order, is_pickup=False))
        terms = ranking.terms(row)
        trip = PlannedTrip(int(idle[row]), stops, float(starts_at[row]), is_firm=True, terms=terms)
        trips.append(trip)
        is_idle[idle[row]] = False
    return Plan(tuple(trips), tuple(unassigned))


def _starts_at(problem: Problem, riders: Ints, metres: Floats, order: int) -> Floats:
    travel = metres / problem.riders.speed[riders]
    if problem.rules.rounds_up_minutes:
        travel = np.ceil(travel - ROUNDING_TOLERANCE)
    arrives_at = problem.now + travel + problem.rules.before_handover
    return np.maximum(arrives_at, problem.orders.ready[order])
