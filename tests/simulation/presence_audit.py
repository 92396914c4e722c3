"""Audits presence: no order is taken from a rider who has sent anything in the last minute."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from tests.simulation.evidence import (
    Evidence,
    OrderVersion,
    Violation,
    order_versions,
    rider_of,
)

# Source: docs/contract.md, an order is withdrawn after a minute without any sign of its rider.
SEEN_WITHIN_S = 60.0
# What was sent so shortly before may still have been on its way: to the server (1.5 s at most),
# into Redis (2.5 s), and to the engine that had decided.
IN_FLIGHT_S = 6.0
WITHDRAWN = ("vanished", "stalled")


def audit(evidence: Evidence) -> Iterator[Violation]:
    """All orders that were taken from a rider who was there."""
    sent_at_s = _sent_at_s(evidence)
    for order_id, versions in order_versions(evidence).items():
        for rider_id, at_s in _withdrawals(versions):
            sent = sent_at_s.get(rider_id, ())
            first = bisect_left(sent, at_s - SEEN_WITHIN_S)
            if first < len(sent) and sent[first] <= at_s - IN_FLIGHT_S:
                text = f"was taken from {rider_id} at {at_s:.3f}, who sent at {sent[first]:.3f}"
                yield Violation("withdrawn_while_present", f"order:{order_id}", text)


def _sent_at_s(evidence: Evidence) -> Mapping[str, Sequence[float]]:
    """When each rider's phones have sent packets, in order."""
    sent: dict[str, list[float]] = {}
    for record in evidence.records_of("packet_sent"):
        sent.setdefault(record["actor"].partition(":")[2], []).append(record["t"])
    return sent


def _withdrawals(versions: Sequence[OrderVersion]) -> Iterator[tuple[str, float]]:
    """The riders that lost the order to the engine, and when."""
    for before, after in pairwise(versions):
        rider_id = rider_of(before.order)
        asked = (after.order.get("dispatch") or {}).get("asked") or {}
        if rider_id is None or rider_of(after.order) is not None:
            continue
        if asked.get(rider_id, {}).get("outcome") in WITHDRAWN:
            yield rider_id, after.at_s
