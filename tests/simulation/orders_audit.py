"""Audits orders: durable once acknowledged, one rider each, legal transitions, ended in time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tests.simulation.evidence import (
    Evidence,
    OrderVersion,
    Violation,
    dispatch_state_of,
    order_versions,
    rider_of,
)

TERMINAL = frozenset({"FUNDS_DISTRIBUTED", "REJECTED", "CANCELLED"})
CARRYING_STATES = frozenset({"ASSIGNED", "AT_PICKUP", "PICKED_UP", "AT_DROPOFF"})
# Source: docs/contract.md, order states.
NEXT_STATUSES = {
    "PENDING": {"ACCEPTED", "REJECTED", "CANCELLED"},
    "ACCEPTED": {"PREPARING", "READY", "IN_TRANSIT", "CANCELLED"},
    "PREPARING": {"READY", "IN_TRANSIT", "CANCELLED"},
    "READY": {"IN_TRANSIT", "CANCELLED"},
    "IN_TRANSIT": {"DELIVERED"},
    "DELIVERED": {"FUNDS_DISTRIBUTED"},
}
# How much earlier an offer ends for the rider than for the server. Units: seconds.
GRACE_S = 3.0
RIDER_CAPACITY = 1

# (order, actor, command) -> whether the order has the effect of an acknowledged command.
_EffectCheck = Callable[[Mapping[str, Any], str, Mapping[str, Any]], bool]


def _has_status(*statuses: str) -> _EffectCheck:
    return lambda order, _rider, _payload: order["status"] in statuses


def _has_rider_at(*states: str) -> _EffectCheck:
    return lambda order, rider, _payload: (
        dispatch_state_of(order) in states and rider_of(order) == rider
    )


EFFECT_CHECKS: dict[str, _EffectCheck] = {
    "accept_order": _has_status("ACCEPTED"),
    "reject_order": _has_status("REJECTED"),
    "order_preparing": _has_status("PREPARING"),
    "order_ready": _has_status("READY"),
    "cancel_order": _has_status("CANCELLED"),
    "accept_delivery": _has_rider_at("ASSIGNED"),
    "arrived_pickup": _has_rider_at("AT_PICKUP"),
    "pick_up": _has_rider_at("PICKED_UP"),
    "arrived_dropoff": _has_rider_at("AT_DROPOFF"),
    "complete_delivery": _has_status("DELIVERED"),
    "rate_order": lambda order, _rider, payload: order.get("rating") == payload["rating"],
}


def audit(evidence: Evidence) -> Iterator[Violation]:
    """All violations in the orders."""
    versions_by_order = order_versions(evidence)
    yield from _check_placed(evidence, versions_by_order)
    yield from _check_acknowledged(evidence, versions_by_order)
    yield from _check_late_accepts(evidence)
    yield from _check_capacity(evidence)
    for order_id, versions in versions_by_order.items():
        yield from _check_transitions(order_id, versions)
        yield from _check_end(evidence, order_id, versions)


def _check_placed(
    evidence: Evidence, versions_by_order: Mapping[str, Sequence[OrderVersion]]
) -> Iterator[Violation]:
    placed_by_user: dict[str, dict[str, str]] = {}
    for record in evidence.records_of("request_answered", "user:"):
        if record["method"] != "POST" or record["path"] != "/orders":
            continue
        order_id = record["data"]["orderId"]
        placed_by_user.setdefault(record["actor"], {})[record["id"]] = order_id
        versions = versions_by_order.get(order_id)
        if versions is None or versions[0].at_s > record["t"] + 0.001:
            yield Violation(
                "acknowledged", record["actor"], f"placed {order_id}, and it is not there"
            )
    requests_by_user: dict[str, set[str]] = {}
    for record in evidence.records_of("request_sent", "user:"):
        if record["method"] == "POST" and record["path"] == "/orders":
            requests_by_user.setdefault(record["actor"], set()).add(record["id"])
    for order_id, versions in versions_by_order.items():
        user = f"user:{versions[0].order['userId']}"
        is_acknowledged = order_id in placed_by_user.get(user, {}).values()
        # An order without an answer is expected only while its customer still waits for one.
        if not is_acknowledged and len(requests_by_user.get(user, ())) <= len(
            placed_by_user.get(user, ())
        ):
            yield Violation(
                "repeat_not_idempotent", user, f"{order_id} was placed without an acknowledgement"
            )
    for user, placed in placed_by_user.items():
        if len(set(placed.values())) < len(placed):
            yield Violation("repeat_not_idempotent", user, "two requests made one order")


def _check_acknowledged(
    evidence: Evidence, versions_by_order: Mapping[str, Sequence[OrderVersion]]
) -> Iterator[Violation]:
    payloads = {(x["actor"], x["id"]): x["payload"] for x in evidence.records_of("command_sent")}
    for record in evidence.records_of("command_answered"):
        command = record["command"]
        if command not in EFFECT_CHECKS:
            continue
        payload = payloads[record["actor"], record["id"]]
        actor_id = record["actor"].partition(":")[2]
        earlier_versions = [
            v
            for v in versions_by_order.get(payload["orderId"], ())
            if v.at_s <= record["t"] + 0.001
        ]
        if not any(
            EFFECT_CHECKS[command](version.order, actor_id, payload) for version in earlier_versions
        ):
            text = f"{command} of {payload['orderId']} was acknowledged at {record['t']}, not kept"
            yield Violation("acknowledged", record["actor"], text)


def _check_late_accepts(evidence: Evidence) -> Iterator[Violation]:
    end_by_offer: dict[str, float] = {}
    for record in evidence.records_of("event_received", "rider:"):
        if record["event"] == "delivery_request":
            offer = record["payload"]
            # The payload's wall-clock time, by the server's clock.
            end_by_offer[offer["offerId"]] = offer["expiresAt"] / 1000 + GRACE_S
    start_s = _start_s(evidence)
    commands = {(x["actor"], x["id"]): x for x in evidence.records_of("command_sent", "rider:")}
    for record in evidence.records_of("command_answered", "rider:"):
        command = commands[record["actor"], record["id"]]
        if record["command"] != "accept_delivery":
            continue
        end_s = end_by_offer.get(command["payload"]["offerId"])
        if end_s is not None and command["t"] + start_s > end_s:
            late_s = command["t"] + start_s - end_s
            text = f"{command['payload']['offerId']} was accepted {late_s:.3f} s after its end"
            yield Violation("accepted_late", record["actor"], text)


def _start_s(evidence: Evidence) -> float:
    return evidence.start_ms / 1000


def _check_capacity(evidence: Evidence) -> Iterator[Violation]:
    carried_by: dict[str, set[str]] = {}
    rider_of_order: dict[str, str] = {}
    for order_id, version in _versions_by_time(evidence):
        order = version.order
        carries = dispatch_state_of(order) in CARRYING_STATES and order["status"] not in TERMINAL
        rider = rider_of(order) if carries else None
        previous = rider_of_order.pop(order_id, None)
        if previous is not None:
            carried_by[previous].discard(order_id)
        if rider is None:
            continue
        if previous is not None and previous != rider:
            text = f"{order_id} went from {previous} to {rider} in one step"
            yield Violation("assigned", f"order:{order_id}", text)
        rider_of_order[order_id] = rider
        carried_by.setdefault(rider, set()).add(order_id)
        if len(carried_by[rider]) > RIDER_CAPACITY:
            text = f"carries {sorted(carried_by[rider])} at {version.at_s:.3f}"
            yield Violation("capacity", f"rider:{rider}", text)


def _versions_by_time(evidence: Evidence) -> Iterator[tuple[str, OrderVersion]]:
    versions = [(v, order_id) for order_id, vs in order_versions(evidence).items() for v in vs]
    versions.sort(key=lambda pair: pair[0].at_s)
    return ((order_id, version) for version, order_id in versions)


def _check_transitions(order_id: str, versions: Sequence[OrderVersion]) -> Iterator[Violation]:
    subject = f"order:{order_id}"
    for before, after in pairwise(versions):
        old, new = before.order, after.order
        if not new:
            yield Violation("illegal_transition", subject, "it was deleted")
            continue
        if new["version"] != old["version"] + 1:
            yield Violation(
                "illegal_transition", subject, f"version {old['version']} became {new['version']}"
            )
        is_legal = new["status"] == old["status"] or new["status"] in NEXT_STATUSES.get(
            old["status"], ()
        )
        if not is_legal:
            yield Violation(
                "illegal_transition", subject, f"{old['status']} became {new['status']}"
            )
        yield from _check_offer_ends(subject, old, new, after.at_s)


def _check_offer_ends(
    subject: str, old: Mapping[str, Any], new: Mapping[str, Any], at_s: float
) -> Iterator[Violation]:
    """No offer is marked expired before its deadline."""
    answered_offers = (new.get("dispatch") or {}).get("asked") or {}
    for rider, offer in ((old.get("dispatch") or {}).get("offers") or {}).items():
        answered = answered_offers.get(rider)
        if answered is None or answered["offerId"] != offer["offerId"]:
            continue
        if answered["outcome"] == "expired" and answered["atMs"] <= offer["deadlineMs"]:
            yield Violation(
                "offer_expired_early", subject, f"{rider}'s offer expired early, at {at_s:.3f}"
            )


def _check_end(
    evidence: Evidence, order_id: str, versions: Sequence[OrderVersion]
) -> Iterator[Violation]:
    last = versions[-1]
    ended = next((v.at_s for v in versions if v.order.get("status") in TERMINAL), None)
    if ended is None:
        state = f"{last.order.get('status')}/{dispatch_state_of(last.order)}"
        yield Violation("not_ended", f"order:{order_id}", f"is still {state}")
    elif ended > evidence.faults_end_s + evidence.settle_timeout_s:
        yield Violation(
            "not_ended", f"order:{order_id}", f"ended {ended - evidence.faults_end_s:.1f} s late"
        )
