"""All open orders and all riders decided at once, and why: pure, and too slow for an event loop.

Step 4 of an order's way, where all are decided at once: orders.tableau -> [here] -> orders.batches.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from dispatch.model import ConsideredRider, Decision, DispatchState, Order
from dispatch.orders.batch.prep_time import prep_time_of
from dispatch.orders.batch.problem_builder import (
    BatchInput,
    BatchProblem,
    build_problem,
    is_undecided,
)
from dispatch.orders.transitions import waves
from dispatch.orders.transitions.context import dispatch_of
from dispatch.tracking.stores.rider_facts import IndexedRider
from matching.geo import haversine_m
from matching.problem import Plan, PlannedTrip
from matching.reasons import PlanExplainer
from matching.solve import solve

METRES_PER_KM = 1000
# Riders whom a decision names beside the chosen one: who could have, and who took no part at all.
ALTERNATIVES_MAX, EXCLUDED_MAX = 8, 4


class PlannedOffer(NamedTuple):
    """A rider to be asked for an order, and why him."""

    order: Order
    rider_id: str
    distance_km: float
    decision: Decision


class BatchDecision(NamedTuple):
    """What follows from one decision: whom to ask, what to take from whom, and what nobody can do.

    `planned` orders wait for a rider who is on the way to being free, or for their time.
    """

    offers: Sequence[PlannedOffer] = ()
    reassignments: Sequence[Order] = ()
    unassignable: Sequence[tuple[Order, Decision]] = ()
    waiting_count: int = 0


def decide_batch(batch_input: BatchInput, batch_id: str) -> BatchDecision:
    """Decide; `batch` names the decision. The same town gives the same verdict."""
    board = build_problem(batch_input)
    if not board.orders:
        return BatchDecision()
    plan = solve(board.problem, "batch")
    why = _DecisionExplainer(batch_input, board, batch_id)
    asks = [ask for task in plan.trips if task.is_firm for ask in why.planned_offers(task)]
    moves = list(_reassignments(board, plan))
    left = [board.orders[row] for row in plan.unassigned]
    nobody = [
        (each, why.unassignable_decision(each))
        for each in left
        if is_undecided(each, batch_input.batched_services)
    ]
    planned = (
        sum(is_undecided(each, batch_input.batched_services) for each in board.orders)
        - len(asks)
        - len(nobody)
    )
    return BatchDecision(asks, moves, nobody, planned)


def _reassignments(problem: BatchProblem, plan: Plan) -> Iterator[Order]:
    """Orders that somebody has said yes to, and that another rider shall have by now."""
    for task in plan.trips:
        rider_id = problem.riders[task.rider].rider.rider_id
        for row in task.orders:
            order = problem.orders[row]
            is_his = order.rider_id in (None, rider_id)
            if not is_his and dispatch_of(order).state is DispatchState.ASSIGNED:
                yield order


class _DecisionExplainer:
    """Puts a plan into words."""

    def __init__(self, batch_input: BatchInput, problem: BatchProblem, batch_id: str) -> None:
        self._batch_input = batch_input
        self._problem = problem
        self._batch_id = batch_id
        self._row_by_order_id = {order.order_id: row for row, order in enumerate(problem.orders)}
        self._reasons = PlanExplainer(problem.problem)

    def planned_offers(self, task: PlannedTrip) -> Iterator[PlannedOffer]:
        """The orders of a trip that its rider has not been asked for."""
        seen = self._problem.riders[task.rider].rider
        for row in task.orders:
            order = self._problem.orders[row]
            if is_undecided(order, self._batch_input.batched_services):
                km = _distance_km(order, seen)
                yield PlannedOffer(order, seen.rider_id, km, self._decision(order, (seen, task)))

    def unassignable_decision(self, order: Order) -> Decision:
        """Why nobody could take an order."""
        return self._decision(order, None)

    def _decision(
        self, order: Order, rider_and_trip: tuple[IndexedRider, PlannedTrip] | None
    ) -> Decision:
        rows: list[ConsideredRider] = []
        if rider_and_trip is not None:
            seen, task = rider_and_trip
            rows.append(self._considered_rider(order, seen, task.terms))
        named = {row.rider_id for row in rows}
        rows += [each for each in self._alternatives(order) if each.rider_id not in named]
        rows += self._nearest_excluded(order)
        dispatch = dispatch_of(order)
        preps = self._batch_input.prep_times.get(order.vendor_id or "", {})
        return Decision(
            at_ms=self._batch_input.now_ms,
            wave=dispatch.wave + (rider_and_trip is not None),
            radius_km=max((row.distance_km for row in rows), default=0.0),
            candidates=tuple(rows),
            left_out=max(0, len(self._problem.riders) + len(self._problem.excluded) - len(rows)),
            batch=self._batch_id,
            prep=prep_time_of(order, preps),
        )

    def _alternatives(self, order: Order) -> Iterator[ConsideredRider]:
        """Who else could have taken it, or must not; cheapest first."""
        dispatch = dispatch_of(order)
        policy = self._batch_input.policies[order.order_type]
        for each in self._reasons.alternatives(
            self._row_by_order_id[order.order_id], ALTERNATIVES_MAX
        ):
            seen = self._problem.riders[each.rider].rider
            asked = dispatch.asked.get(seen.rider_id)
            bar = each.excluded
            if asked and not waves.may_ask_again(
                dispatch, seen.rider_id, self._batch_input.now_ms, policy
            ):
                bar = f"asked before: {asked.outcome.value}"
            yield self._considered_rider(order, seen, each.terms, bar)

    def _nearest_excluded(self, order: Order) -> Iterator[ConsideredRider]:
        """Those near who take no part."""
        out = sorted(
            self._problem.excluded,
            key=lambda each: (_distance_km(order, each[0]), each[0].rider_id),
        )
        for seen, bar in out[:EXCLUDED_MAX]:
            yield self._considered_rider(order, seen, {}, bar)

    def _considered_rider(
        self,
        order: Order,
        rider: IndexedRider,
        terms: Mapping[str, float],
        exclusion: str | None = None,
    ) -> ConsideredRider:
        return ConsideredRider(
            rider_id=rider.rider_id,
            distance_km=round(_distance_km(order, rider), 3),
            parts={name: round(value, 3) for name, value in terms.items()},
            cost=round(sum(terms.values()), 3) if terms else None,
            recent_offers=rider.recent_offers,
            excluded=exclusion,
            before=dispatch_of(order).asked.get(rider.rider_id),
        )


def _distance_km(order: Order, rider: IndexedRider) -> float:
    metres = haversine_m(rider.lat, rider.lng, order.pickup.lat, order.pickup.lng)
    return metres / METRES_PER_KM
