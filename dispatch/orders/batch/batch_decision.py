"""Batch decision: all open orders and riders at once, and why; pure, too slow for an event loop."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from dispatch.ids import RiderId
from dispatch.model import ConsideredRider, Decision, DispatchState, Order
from dispatch.orders.batch.batch_input import BatchInput, is_undecided
from dispatch.orders.batch.prep_time import prep_time_of
from dispatch.orders.batch.problem_builder import BatchProblem, build_problem
from dispatch.orders.transitions import waves
from dispatch.orders.transitions.context import dispatch_of
from dispatch.orders.units import METRES_PER_KM
from dispatch.tracking.stores.rider_facts import IndexedRider
from matching.batch import solve_batch
from matching.geo import haversine_m
from matching.problem import Plan, PlannedTrip
from matching.reasons import PlanExplainer

# Riders that a decision lists besides the chosen one: alternatives, and excluded ones nearby.
# Source: docs/decisions/0015-batch-mode-per-zone.md.
ALTERNATIVES_MAX, EXCLUDED_MAX = 8, 4


class PlannedOffer(NamedTuple):
    """A rider to ask for an order, and the reasons. Units: kilometres to the pickup."""

    order: Order
    rider_id: RiderId
    distance_km: float
    decision: Decision


class UnassignableOrder(NamedTuple):
    """An order that no rider can take, and the reasons."""

    order: Order
    decision: Decision


class BatchDecision(NamedTuple):
    """What follows from one decision.

    `offers` are to be made, `reassignments` are orders to take from their riders, `waiting_count`
    counts the orders that wait for a rider who will be free, or until their goods are ready.
    """

    offers: Sequence[PlannedOffer] = ()
    reassignments: Sequence[Order] = ()
    unassignable: Sequence[UnassignableOrder] = ()
    waiting_count: int = 0


class _Choice(NamedTuple):
    """The rider chosen for an order, and the trip that holds it."""

    rider: IndexedRider
    trip: PlannedTrip


def decide_batch(batch_input: BatchInput, batch_id: str) -> BatchDecision:
    """Decide all undecided orders; the same input gives the same decision."""
    problem = build_problem(batch_input)
    if not problem.orders:
        return BatchDecision()
    plan = solve_batch(problem.problem)
    explainer = _DecisionExplainer(batch_input, problem, batch_id)
    offers = [
        offer for trip in plan.trips if trip.is_firm for offer in explainer.planned_offers(trip)
    ]
    unassigned = [problem.orders[row] for row in plan.unassigned]
    services = batch_input.batched_services
    unassignable = [
        UnassignableOrder(order, explainer.unassignable_decision(order))
        for order in unassigned
        if is_undecided(order, services)
    ]
    undecided_count = sum(is_undecided(order, services) for order in problem.orders)
    waiting_count = undecided_count - len(offers) - len(unassignable)
    return BatchDecision(offers, list(_reassignments(problem, plan)), unassignable, waiting_count)


def _reassignments(problem: BatchProblem, plan: Plan) -> Iterator[Order]:
    """Accepted orders that the plan gives to another rider."""
    for trip in plan.trips:
        rider_id = problem.riders[trip.rider].rider.rider_id
        for row in trip.orders:
            order = problem.orders[row]
            has_other_rider = order.rider_id not in (None, rider_id)
            if has_other_rider and dispatch_of(order).state is DispatchState.ASSIGNED:
                yield order


class _DecisionExplainer:
    """Writes the decision about each order of a plan."""

    def __init__(self, batch_input: BatchInput, problem: BatchProblem, batch_id: str) -> None:
        self._input = batch_input
        self._problem = problem
        self._batch_id = batch_id
        self._row_by_order_id = {order.order_id: row for row, order in enumerate(problem.orders)}
        self._reasons = PlanExplainer(problem.problem)

    def planned_offers(self, trip: PlannedTrip) -> Iterator[PlannedOffer]:
        """The orders of a trip for which its rider has not been asked yet."""
        rider = self._problem.riders[trip.rider].rider
        for row in trip.orders:
            order = self._problem.orders[row]
            if is_undecided(order, self._input.batched_services):
                decision = self._decision(order, _Choice(rider, trip))
                rider_id = RiderId(rider.rider_id)
                yield PlannedOffer(order, rider_id, _distance_km(order, rider), decision)

    def unassignable_decision(self, order: Order) -> Decision:
        """Why no rider could take an order."""
        return self._decision(order, None)

    def _decision(self, order: Order, choice: _Choice | None) -> Decision:
        rows: list[ConsideredRider] = []
        if choice is not None:
            rows.append(self._considered_rider(order, choice.rider, choice.trip.terms))
        listed = {row.rider_id for row in rows}
        rows += [each for each in self._alternatives(order) if each.rider_id not in listed]
        rows += self._nearest_excluded(order)
        learned = self._input.prep_times.get(order.vendor_id or "", {})
        rider_count = len(self._problem.riders) + len(self._problem.excluded)
        return Decision(
            at_ms=self._input.now_ms,
            wave=dispatch_of(order).wave + (choice is not None),
            radius_km=max((row.distance_km for row in rows), default=0.0),
            candidates=tuple(rows),
            left_out=max(0, rider_count - len(rows)),
            batch=self._batch_id,
            prep=prep_time_of(order, learned),
        )

    def _alternatives(self, order: Order) -> Iterator[ConsideredRider]:
        """The riders who could have taken the order, or were blocked, cheapest first."""
        dispatch = dispatch_of(order)
        policy = self._input.policies[order.order_type]
        row = self._row_by_order_id[order.order_id]
        for alternative in self._reasons.alternatives(row, ALTERNATIVES_MAX):
            rider = self._problem.riders[alternative.rider].rider
            rider_id, exclusion = RiderId(rider.rider_id), alternative.excluded
            past = dispatch.asked.get(rider_id)
            if past and not waves.may_ask_again(dispatch, rider_id, self._input.now_ms, policy):
                exclusion = f"asked before: {past.outcome.value}"
            yield self._considered_rider(order, rider, alternative.terms, exclusion)

    def _nearest_excluded(self, order: Order) -> Iterator[ConsideredRider]:
        """The nearest riders who took no part."""
        nearest = sorted(
            self._problem.excluded,
            key=lambda each: (_distance_km(order, each.rider), each.rider.rider_id),
        )
        for rider, reason in nearest[:EXCLUDED_MAX]:
            yield self._considered_rider(order, rider, {}, reason)

    def _considered_rider(
        self,
        order: Order,
        rider: IndexedRider,
        terms: Mapping[str, float],
        exclusion: str | None = None,
    ) -> ConsideredRider:
        rider_id = RiderId(rider.rider_id)
        return ConsideredRider(
            rider_id=rider_id,
            distance_km=round(_distance_km(order, rider), 3),
            parts={name: round(value, 3) for name, value in terms.items()},
            cost=round(sum(terms.values()), 3) if terms else None,
            recent_offers=rider.recent_offers,
            excluded=exclusion,
            before=dispatch_of(order).asked.get(rider_id),
        )


def _distance_km(order: Order, rider: IndexedRider) -> float:
    metres = haversine_m(rider.lat, rider.lng, order.pickup.lat, order.pickup.lng)
    return metres / METRES_PER_KM
