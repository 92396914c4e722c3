"""All open orders and all riders decided at once, and why: pure, and too slow for an event loop.

Step 4 of an order's way, where all are decided at once: orders.tableau -> [here] -> orders.batches.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from dispatch.model import Considered, Decision, DispatchState, Order
from dispatch.orders.batch.prep_time import prep_of
from dispatch.orders.batch.problem_builder import Tableau, Town, is_open, tableau
from dispatch.orders.transitions import waves
from dispatch.orders.transitions.context import dispatch_of
from dispatch.tracking.stores.rider_facts import Seen
from matching.geo import haversine_m
from matching.problem import Plan, Task
from matching.reasons import Reasons
from matching.solve import solve

METRES_PER_KM = 1000
# Riders whom a decision names beside the chosen one: who could have, and who took no part at all.
NAMED_MAX, OUT_MAX = 8, 4


class Question(NamedTuple):
    """A rider to be asked for an order, and why him."""

    order: Order
    rider_id: str
    distance_km: float
    decision: Decision


class Verdict(NamedTuple):
    """What follows from one decision: whom to ask, what to take from whom, and what nobody can do.

    `planned` orders wait for a rider who is on the way to being free, or for their time.
    """

    asks: Sequence[Question] = ()
    moves: Sequence[Order] = ()
    nobody: Sequence[tuple[Order, Decision]] = ()
    planned: int = 0


def decide(town: Town, batch: str) -> Verdict:
    """Decide; `batch` names the decision. The same town gives the same verdict."""
    board = tableau(town)
    if not board.orders:
        return Verdict()
    plan = solve(board.problem, "batch")
    why = _Why(town, board, batch)
    asks = [ask for task in plan.tasks if task.go for ask in why.asks(task)]
    moves = list(_moves(board, plan))
    left = [board.orders[row] for row in plan.left_over]
    nobody = [(each, why.nobody(each)) for each in left if is_open(each, town.batched)]
    planned = sum(is_open(each, town.batched) for each in board.orders) - len(asks) - len(nobody)
    return Verdict(asks, moves, nobody, planned)


def _moves(board: Tableau, plan: Plan) -> Iterator[Order]:
    """Orders that somebody has said yes to, and that another rider shall have by now."""
    for task in plan.tasks:
        rider_id = board.riders[task.rider].seen.rider_id
        for row in task.orders:
            order = board.orders[row]
            is_his = order.rider_id in (None, rider_id)
            if not is_his and dispatch_of(order).state is DispatchState.ASSIGNED:
                yield order


class _Why:
    """Puts a plan into words."""

    def __init__(self, town: Town, board: Tableau, batch: str) -> None:
        self._town = town
        self._board = board
        self._batch = batch
        self._row = {order.order_id: row for row, order in enumerate(board.orders)}
        self._reasons = Reasons(board.problem)

    def asks(self, task: Task) -> Iterator[Question]:
        """The orders of a trip that its rider has not been asked for."""
        seen = self._board.riders[task.rider].seen
        for row in task.orders:
            order = self._board.orders[row]
            if is_open(order, self._town.batched):
                km = _km(order, seen)
                yield Question(order, seen.rider_id, km, self._decision(order, (seen, task)))

    def nobody(self, order: Order) -> Decision:
        """Why nobody could take an order."""
        return self._decision(order, None)

    def _decision(self, order: Order, chosen: tuple[Seen, Task] | None) -> Decision:
        rows: list[Considered] = []
        if chosen is not None:
            seen, task = chosen
            rows.append(self._considered(order, seen, task.terms))
        named = {row.rider_id for row in rows}
        rows += [each for each in self._around(order) if each.rider_id not in named]
        rows += self._out(order)
        dispatch = dispatch_of(order)
        preps = self._town.preps.get(order.vendor_id or "", {})
        return Decision(
            at_ms=self._town.now_ms,
            wave=dispatch.wave + (chosen is not None),
            radius_km=max((row.distance_km for row in rows), default=0.0),
            candidates=tuple(rows),
            left_out=max(0, len(self._board.riders) + len(self._board.out) - len(rows)),
            batch=self._batch,
            prep=prep_of(order, preps),
        )

    def _around(self, order: Order) -> Iterator[Considered]:
        """Who else could have taken it, or must not; cheapest first."""
        dispatch = dispatch_of(order)
        policy = self._town.policies[order.order_type]
        for each in self._reasons.around(self._row[order.order_id], NAMED_MAX):
            seen = self._board.riders[each.rider].seen
            asked = dispatch.asked.get(seen.rider_id)
            bar = each.bar
            if asked and not waves.may_refill(dispatch, seen.rider_id, self._town.now_ms, policy):
                bar = f"asked before: {asked.outcome.value}"
            yield self._considered(order, seen, each.terms, bar)

    def _out(self, order: Order) -> Iterator[Considered]:
        """Those near who take no part."""
        out = sorted(self._board.out, key=lambda each: (_km(order, each[0]), each[0].rider_id))
        for seen, bar in out[:OUT_MAX]:
            yield self._considered(order, seen, {}, bar)

    def _considered(
        self, order: Order, seen: Seen, terms: Mapping[str, float], bar: str | None = None
    ) -> Considered:
        return Considered(
            rider_id=seen.rider_id,
            distance_km=round(_km(order, seen), 3),
            parts={name: round(value, 3) for name, value in terms.items()},
            cost=round(sum(terms.values()), 3) if terms else None,
            recent_offers=seen.recent_offers,
            excluded=bar,
            before=dispatch_of(order).asked.get(seen.rider_id),
        )


def _km(order: Order, seen: Seen) -> float:
    metres = haversine_m(seen.lat, seen.lng, order.pickup.lat, order.pickup.lng)
    return metres / METRES_PER_KM
