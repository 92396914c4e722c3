"""Judges orders: kept once acknowledged, with one rider, on a legal way, and to an end in time."""

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
# Source: wire contract, order states.
NEXT_STATUSES = {
    "PENDING": {"ACCEPTED", "REJECTED", "CANCELLED"},
    "ACCEPTED": {"PREPARING", "READY", "IN_TRANSIT", "CANCELLED"},
    "PREPARING": {"READY", "CANCELLED"},
    "READY": {"IN_TRANSIT", "CANCELLED"},
    "IN_TRANSIT": {"DELIVERED"},
    "DELIVERED": {"FUNDS_DISTRIBUTED"},
}
# Source: offer policy, a rider sees an offer end this long before it really does. Units: seconds.
GRACE_S = 3.0
RIDER_CAPACITY = 1

# What must have been written when a command was acknowledged: of an order, for who said it.
_EffectCheck = Callable[[Mapping[str, Any], str, Mapping[str, Any]], bool]


def _has_status(*statuses: str) -> _EffectCheck:
    return lambda order, _who, _said: order["status"] in statuses


def _has_rider_at(*states: str) -> _EffectCheck:
    return lambda order, who, _said: dispatch_state_of(order) in states and rider_of(order) == who


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
    "rate_order": lambda order, _who, said: order.get("rating") == said["rating"],
}


def audit(evidence: Evidence) -> Iterator[Violation]:
    """Everything that is wrong with the orders."""
    known = order_versions(evidence)
    yield from _check_placed(evidence, known)
    yield from _check_acknowledged(evidence, known)
    yield from _check_late_accepts(evidence)
    yield from _check_capacity(evidence)
    for order_id, versions in known.items():
        yield from _check_transitions(order_id, versions)
        yield from _check_end(evidence, order_id, versions)


def _check_placed(
    evidence: Evidence, versions_by_order: Mapping[str, Sequence[OrderVersion]]
) -> Iterator[Violation]:
    told: dict[str, dict[str, str]] = {}
    for line in evidence.records_of("told", "user:"):
        if line["method"] != "POST" or line["path"] != "/orders":
            continue
        order_id = line["data"]["orderId"]
        told.setdefault(line["who"], {})[line["id"]] = order_id
        versions = versions_by_order.get(order_id)
        if versions is None or versions[0].at_s > line["t"] + 0.001:
            yield Violation("acknowledged", line["who"], f"placed {order_id}, and it is not there")
    asked: dict[str, set[str]] = {}
    for line in evidence.records_of("asks", "user:"):
        if line["method"] == "POST" and line["path"] == "/orders":
            asked.setdefault(line["who"], set()).add(line["id"])
    for order_id, versions in versions_by_order.items():
        who = f"user:{versions[0].order['userId']}"
        is_told = order_id in told.get(who, {}).values()
        # What he was never told may be his only where he still asks.
        if not is_told and len(asked.get(who, ())) <= len(told.get(who, ())):
            yield Violation("once", who, f"{order_id} was placed, and never told")
    for who, placed in told.items():
        if len(set(placed.values())) < len(placed):
            yield Violation("once", who, "two requests made one order")


def _check_acknowledged(
    evidence: Evidence, versions_by_order: Mapping[str, Sequence[OrderVersion]]
) -> Iterator[Violation]:
    said = {(x["who"], x["id"]): x["payload"] for x in evidence.records_of("says")}
    for line in evidence.records_of("answered"):
        command = line["command"]
        if command not in EFFECT_CHECKS:
            continue
        payload = said[line["who"], line["id"]]
        who = line["who"].partition(":")[2]
        before = [
            v for v in versions_by_order.get(payload["orderId"], ()) if v.at_s <= line["t"] + 0.001
        ]
        if not any(EFFECT_CHECKS[command](version.order, who, payload) for version in before):
            text = f"{command} of {payload['orderId']} was acknowledged at {line['t']}, not kept"
            yield Violation("acknowledged", line["who"], text)


def _check_late_accepts(evidence: Evidence) -> Iterator[Violation]:
    ends: dict[str, float] = {}
    for line in evidence.records_of("hears", "rider:"):
        if line["event"] == "delivery_request":
            offer = line["payload"]
            # As the server's clock had it: the payload's own time, moved to the diary's.
            ends[offer["offerId"]] = offer["expiresAt"] / 1000 + GRACE_S
    start_s = _start_s(evidence)
    said = {(x["who"], x["id"]): x for x in evidence.records_of("says", "rider:")}
    for line in evidence.records_of("answered", "rider:"):
        asked = said[line["who"], line["id"]]
        if line["command"] != "accept_delivery":
            continue
        end_s = ends.get(asked["payload"]["offerId"])
        if end_s is not None and asked["t"] + start_s > end_s:
            text = (
                f"{asked['payload']['offerId']} was accepted {asked['t'] + start_s - end_s:.3f} s"
            )
            yield Violation("late", line["who"], f"{text} after its end")


def _start_s(evidence: Evidence) -> float:
    return evidence.start_ms / 1000


def _check_capacity(evidence: Evidence) -> Iterator[Violation]:
    hands: dict[str, set[str]] = {}
    holder: dict[str, str] = {}
    for order_id, version in _versions_by_time(evidence):
        order = version.order
        carries = dispatch_state_of(order) in CARRYING_STATES and order["status"] not in TERMINAL
        rider = rider_of(order) if carries else None
        before = holder.pop(order_id, None)
        if before is not None:
            hands[before].discard(order_id)
        if rider is None:
            continue
        if before is not None and before != rider:
            text = f"{order_id} went from {before} to {rider} in one step"
            yield Violation("assigned", f"order:{order_id}", text)
        holder[order_id] = rider
        hands.setdefault(rider, set()).add(order_id)
        if len(hands[rider]) > RIDER_CAPACITY:
            text = f"carries {sorted(hands[rider])} at {version.at_s:.3f}"
            yield Violation("capacity", f"rider:{rider}", text)


def _versions_by_time(evidence: Evidence) -> Iterator[tuple[str, OrderVersion]]:
    versions = [(v, order_id) for order_id, vs in order_versions(evidence).items() for v in vs]
    versions.sort(key=lambda pair: pair[0].at_s)
    return ((order_id, version) for version, order_id in versions)


def _check_transitions(order_id: str, versions: Sequence[OrderVersion]) -> Iterator[Violation]:
    about = f"order:{order_id}"
    for before, after in pairwise(versions):
        old, new = before.order, after.order
        if not new:
            yield Violation("way", about, "it was deleted")
            continue
        if new["version"] != old["version"] + 1:
            yield Violation("way", about, f"version {old['version']} became {new['version']}")
        is_legal = new["status"] == old["status"] or new["status"] in NEXT_STATUSES.get(
            old["status"], ()
        )
        if not is_legal:
            yield Violation("way", about, f"{old['status']} became {new['status']}")
        yield from _check_offer_ends(about, old, new, after.at_s)


def _check_offer_ends(
    subject: str, old: Mapping[str, Any], new: Mapping[str, Any], at_s: float
) -> Iterator[Violation]:
    """No offer is called expired before its time."""
    ended = (new.get("dispatch") or {}).get("asked") or {}
    for rider, offer in ((old.get("dispatch") or {}).get("offers") or {}).items():
        asked = ended.get(rider)
        if asked is None or asked["offerId"] != offer["offerId"]:
            continue
        if asked["outcome"] == "expired" and asked["atMs"] <= offer["deadlineMs"]:
            yield Violation("early", subject, f"{rider}'s offer expired early, at {at_s:.3f}")


def _check_end(
    evidence: Evidence, order_id: str, versions: Sequence[OrderVersion]
) -> Iterator[Violation]:
    last = versions[-1]
    ended = next((v.at_s for v in versions if v.order.get("status") in TERMINAL), None)
    if ended is None:
        state = f"{last.order.get('status')}/{dispatch_state_of(last.order)}"
        yield Violation("ends", f"order:{order_id}", f"is still {state}")
    elif ended > evidence.faults_end_s + evidence.settle_timeout_s:
        yield Violation(
            "ends", f"order:{order_id}", f"ended {ended - evidence.faults_end_s:.1f} s late"
        )
