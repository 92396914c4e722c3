"""Audits events: no gaps, in order, no duplicates, and consistent with the snapshots."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.simulation.evidence import Evidence, Violation, order_versions, rider_of

LogRecord = Mapping[str, Any]
# An event's effect on an order's status and dispatch state, as its customer sees them.
STATES_AFTER_EVENT: dict[str, tuple[str | None, str | None]] = {
    "order_accepted": ("ACCEPTED", "SEARCHING"),
    "order_rejected": ("REJECTED", None),
    "order_preparing": ("PREPARING", None),
    "order_ready": ("READY", None),
    "order_picked_up": ("IN_TRANSIT", "PICKED_UP"),
    "order_delivered": ("DELIVERED", "DONE"),
    "order_cancelled": ("CANCELLED", None),
    "rider_assigned": (None, "ASSIGNED"),
}
STATE_OF_DISPATCH_STATUS = {
    "searching": "SEARCHING",
    "offered": "OFFERED",
    "no_riders": "EXHAUSTED",
}
STATE_OF_ARRIVAL = {"pickup": "AT_PICKUP", "dropoff": "AT_DROPOFF"}
# The event that the customer must have received when an order ended with a status.
FINAL_EVENT_OF_STATUS = {
    "FUNDS_DISTRIBUTED": "order_delivered",
    "CANCELLED": "order_cancelled",
    "REJECTED": "order_rejected",
}
# Commands that return the current state, so their repeats may be answered differently.
READ_COMMANDS = frozenset({"subscribe_order", "unsubscribe_order"})


def audit(evidence: Evidence) -> Iterator[Violation]:
    """All violations in what clients received."""
    records_by_actor: dict[str, list[LogRecord]] = {}
    for record in evidence.records:
        if record["action"] in (
            "event_received",
            "connected",
            "disconnected",
            "command_answered",
            "request_answered",
        ):
            records_by_actor.setdefault(record["actor"], []).append(record)
    for actor, records in records_by_actor.items():
        yield from _check_sequence(actor, records)
        yield from _check_duplicates(actor, records)
        yield from _check_caught_up(evidence, actor, records)
        yield from _check_positions(actor, records)
        if actor.startswith("user:"):
            yield from _check_snapshots(actor, records)
    yield from _check_required_events(evidence, records_by_actor)
    yield from _check_repeated_answers(evidence)
    for record in evidence.records_of("error", "log"):
        yield Violation("error", record.get("event", ""), record.get("error", ""))


def _check_sequence(actor: str, records: list[LogRecord]) -> Iterator[Violation]:
    """Each event has the number after the one before it, unless a resync came."""
    known: tuple[str, int] | None = None
    for record in records:
        if record["action"] == "connected" and record["resume"] is None:
            known = None
        if record["action"] != "event_received":
            continue
        epoch, seq = record["payload"].get("epoch"), record["payload"].get("seq")
        if record["event"] == "resync":
            known = (epoch, seq)
            continue
        if not isinstance(seq, int):
            continue
        if known is not None and (epoch, seq) != (known[0], known[1] + 1):
            # A new inbox begins with 1; everything in the one before it was received.
            is_new = epoch != known[0] and seq == 1
            if not is_new:
                text = f"{record['event']} {epoch[-4:]}/{seq} came after {known[0][-4:]}/{known[1]}"
                yield Violation("sequence", actor, f"{text} at {record['t']}")
        known = (epoch, seq)


def _check_duplicates(actor: str, records: list[LogRecord]) -> Iterator[Violation]:
    """The same event never comes under two numbers."""
    seq_by_event: dict[tuple[Any, ...], int] = {}
    for record in records:
        payload = record.get("payload")
        if record["action"] != "event_received" or payload is None or "seq" not in payload:
            continue
        content = {k: v for k, v in payload.items() if k not in ("seq", "ts", "order")}
        event_key = (record["event"], *sorted((k, str(v)) for k, v in content.items()))
        if seq_by_event.setdefault(event_key, payload["seq"]) != payload["seq"]:
            yield Violation(
                "duplicate_event",
                actor,
                f"{record['event']} of {payload.get('orderId')} came twice",
            )


def _check_caught_up(
    evidence: Evidence, actor: str, records: list[LogRecord]
) -> Iterator[Violation]:
    """A client connected at the end has received everything in its inbox."""
    connection_records = [
        record for record in records if record["action"] in ("connected", "disconnected")
    ]
    head = evidence.inbox_heads.get(actor, {})
    if not connection_records or connection_records[-1]["action"] == "disconnected" or not head:
        return
    numbered_payloads = [
        x["payload"]
        for x in records
        if x["action"] == "event_received" and "seq" in x.get("payload", {})
    ]
    if not numbered_payloads:
        # Events from before its first connection are covered by a snapshot.
        return
    last = numbered_payloads[-1]
    if (last["epoch"], str(last["seq"])) != (head["epoch"], head["seq"]):
        yield Violation("not_caught_up", actor, f"received up to {last['seq']} of {head['seq']}")


def _check_positions(actor: str, records: list[LogRecord]) -> Iterator[Violation]:
    """A rider's position on the map never moves back in time."""
    newest: dict[tuple[str, str], int] = {}
    for record in records:
        if record["action"] == "connected":
            newest.clear()
        if record["action"] != "event_received" or record["event"] != "rider_location_update":
            continue
        payload = record["payload"]
        rider_key = payload["orderId"], payload["riderId"]
        if payload["ts"] < newest.get(rider_key, 0):
            yield Violation("position_went_back", actor, f"{rider_key} moved back at {record['t']}")
        newest[rider_key] = payload["ts"]


def _check_snapshots(actor: str, records: list[LogRecord]) -> Iterator[Violation]:
    """A snapshot plus the events after it equals the next snapshot."""
    known: dict[str, LogRecord] = {}
    events: dict[str, list[LogRecord]] = {}
    for record in records:
        if record["action"] == "event_received" and "version" in record["payload"]:
            events.setdefault(record["payload"]["orderId"], []).append(record)
    for at, record in enumerate(records):
        if _is_fresh_start(record):
            known.clear()
        for order in _snapshots_in(record):
            before = known.get(order["orderId"])
            known[order["orderId"]] = order
            if before is None or before["version"] > order["version"]:
                continue
            # Events may come after a snapshot that already includes them.
            expected = _state_after_events(
                before, events.get(order["orderId"], ()), order["version"]
            )
            if expected != _visible_state(order) and not _has_fresh_start_next(records[at + 1 :]):
                text = f"{order['orderId']} v{before['version']} and events make {expected}"
                yield Violation(
                    "snapshot_mismatch",
                    actor,
                    f"{text}, v{order['version']} is {_visible_state(order)}",
                )


def _is_fresh_start(record: LogRecord) -> bool:
    """Whether the client must refetch from here on, because it may have missed something."""
    is_resync = record["action"] == "event_received" and record["event"] == "resync"
    return is_resync or (record["action"] == "connected" and record["resume"] is None)


def _has_fresh_start_next(later_records: list[LogRecord]) -> bool:
    for record in later_records:
        if _is_fresh_start(record):
            return True
        if record["action"] == "event_received" and "seq" in record["payload"]:
            return False
    return False


def _snapshots_in(record: LogRecord) -> Iterator[Mapping[str, Any]]:
    if record["action"] == "command_answered" and record["command"] == "subscribe_order":
        yield record["data"]["data"]
    if (
        record["action"] == "request_answered"
        and record["method"] == "GET"
        and record["path"].startswith("/orders")
    ):
        data = record["data"]
        yield from [data] if "orderId" in data else data["items"]


def _visible_state(order: Mapping[str, Any]) -> tuple[Any, ...]:
    # Customers do not see that the money was distributed.
    status = "DELIVERED" if order["status"] == "FUNDS_DISTRIBUTED" else order["status"]
    return status, order["dispatch"].get("state"), order["dispatch"].get("riderId")


def _state_after_events(before: Mapping[str, Any], events: Any, version: int) -> tuple[Any, ...]:
    status, state, rider = _visible_state(before)
    later = [x for x in events if before["version"] < x["payload"]["version"] <= version]
    for record in sorted(later, key=lambda x: (x["payload"]["version"], x["payload"]["seq"])):
        payload, event = record["payload"], record["event"]
        change = STATES_AFTER_EVENT.get(event, (None, None))
        status = change[0] or status
        state = change[1] or state
        if event == "dispatch_status":
            state, rider = STATE_OF_DISPATCH_STATUS[payload["state"]], None
        if event == "rider_assigned" and status == "PENDING":
            # A parcel has no vendor, so its rider's assignment accepts it.
            status = "ACCEPTED"
        if event == "rider_arrived":
            state = STATE_OF_ARRIVAL[payload["at"]]
        rider = payload.get("riderId", rider)
    return status, state, rider


def _check_required_events(
    evidence: Evidence, records_by_actor: Mapping[str, list[LogRecord]]
) -> Iterator[Violation]:
    """Everyone whom an order concerns received its main events, or a resync instead."""
    for order_id, versions in order_versions(evidence).items():
        last, since_s = versions[-1].order, versions[0].at_s
        required: list[tuple[str, str]] = []
        if last["status"] in FINAL_EVENT_OF_STATUS:
            required.append((f"user:{last['userId']}", FINAL_EVENT_OF_STATUS[last["status"]]))
        if last.get("vendorId"):
            required.append((f"vendor:{last['vendorId']}", "new_order"))
        if last["status"] == "FUNDS_DISTRIBUTED":
            required.append((f"rider:{rider_of(last)}", "order_settled"))
            if last.get("vendorId"):
                required.append((f"vendor:{last['vendorId']}", "order_settled"))
        for actor, event in required:
            if not _has_received(records_by_actor.get(actor, ()), order_id, event, since_s):
                yield Violation("missing_event", actor, f"never received {event} of {order_id}")


def _has_received(records: Any, order_id: str, event: str, since_s: float) -> bool:
    later = [x for x in records if x["t"] >= since_s - 0.001]
    matching = [x for x in later if x["action"] == "event_received" and x["event"] == event]
    # A client without a resume position, or with a resync, takes a snapshot.
    return any(map(_is_fresh_start, later)) or order_id in [
        x["payload"].get("orderId") for x in matching
    ]


def _check_repeated_answers(evidence: Evidence) -> Iterator[Violation]:
    """A repeated request gets its first answer again."""
    read_requests = {
        (x["actor"], x["id"])
        for x in evidence.records_of("command_sent")
        if x["command"] in READ_COMMANDS
    }
    first: dict[tuple[str, str], Any] = {}
    for record in evidence.records_of("answer_received"):
        request, answer = (record["actor"], record["id"]), record["answer"]
        if request in read_requests or record["id"] is None:
            continue
        if not answer["ok"] and _is_retryable(answer):
            continue
        first_answer = first.setdefault(request, answer)
        if first_answer != answer and (first_answer["ok"] or answer["ok"]):
            yield Violation(
                "repeat_not_idempotent",
                record["actor"],
                f"{record['id']} got {first_answer}, then {answer}",
            )


def _is_retryable(answer: Mapping[str, Any]) -> bool:
    error = answer.get("error") or {}
    return bool(error.get("retryable")) or error.get("code") in ("unavailable", "rate_limited")
