"""Evidence of a rider's commands: how far its last position was from the stop: pure."""

from typing import Any

from msgspec.structs import replace

from dispatch.model import Order, Place, PositionEvidence
from dispatch.orders.transitions.context import TransitionRequest
from matching.geo import distance_m

# The commands that a rider sends at a stop.
_AT_PICKUP = frozenset({"arrived_pickup", "pick_up"})
_AT_DROPOFF = frozenset({"arrived_dropoff", "complete_delivery"})


def evidence_of(order: Order, request: TransitionRequest[Any]) -> PositionEvidence | None:
    """How far from the command's stop the rider was last seen, and how long ago.

    None for another command, and where no position is known.
    """
    position, stop = request.position, _stop_of(order, request.name)
    if position is None or stop is None:
        return None
    return PositionEvidence(
        distance_m=round(distance_m(position, stop)),
        age_ms=max(0, request.now_ms - position.received_at),
        accuracy=position.accuracy,
    )


def with_evidence(order: Order, request: TransitionRequest[Any]) -> Order:
    """The order after a command, with the evidence beside it."""
    evidence, dispatch = evidence_of(order, request), order.dispatch
    if evidence is None or dispatch is None:
        return order
    kept = {**dispatch.evidence, request.name: evidence}
    return replace(order, dispatch=replace(dispatch, evidence=kept))


def _stop_of(order: Order, name: str) -> Place | None:
    if name in _AT_PICKUP:
        return order.pickup
    return order.dropoff if name in _AT_DROPOFF else None
