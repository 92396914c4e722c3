"""Judges what clients heard: without gaps, in order, once, and enough to know how things stand."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.simulation.evidence import Evidence, Violation, order_versions, rider_of

LogRecord = Mapping[str, Any]
# What an event makes of an order's status and of the search beside it, as its customer sees it.
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
# The end of an order, and what its customer must have heard of it.
FINAL_EVENT_OF_STATUS = {
    "FUNDS_DISTRIBUTED": "order_delivered",
    "CANCELLED": "order_cancelled",
    "REJECTED": "order_rejected",
}
# Commands whose answers tell how things stand, and not what was done.
READ_COMMANDS = frozenset({"subscribe_order", "unsubscribe_order"})


def audit(evidence: Evidence) -> Iterator[Violation]:
    """Everything that is wrong with what was said."""
    people: dict[str, list[LogRecord]] = {}
    for line in evidence.records:
        if line["what"] in ("hears", "opens", "closed", "answered", "told"):
            people.setdefault(line["who"], []).append(line)
    for who, lines in people.items():
        yield from _check_sequence(who, lines)
        yield from _check_duplicates(who, lines)
        yield from _check_caught_up(evidence, who, lines)
        yield from _check_positions(who, lines)
        if who.startswith("user:"):
            yield from _check_snapshots(who, lines)
    yield from _check_required_events(evidence, people)
    yield from _check_repeated_answers(evidence)
    for line in evidence.records_of("error", "log"):
        yield Violation("error", line.get("event", ""), line.get("error", ""))


def _check_sequence(actor: str, records: list[LogRecord]) -> Iterator[Violation]:
    """Each event follows the one before it, on a line and over lines, unless a resync came."""
    known: tuple[str, int] | None = None
    for line in records:
        if line["what"] == "opens" and line["resume"] is None:
            known = None
        if line["what"] != "hears":
            continue
        epoch, seq = line["payload"].get("epoch"), line["payload"].get("seq")
        if line["event"] == "resync":
            known = (epoch, seq)
            continue
        if not isinstance(seq, int):
            continue
        if known is not None and (epoch, seq) != (known[0], known[1] + 1):
            # A new inbox begins with 1; what was in the one before it was heard.
            is_new = epoch != known[0] and seq == 1
            if not is_new:
                text = f"{line['event']} {epoch[-4:]}/{seq} came after {known[0][-4:]}/{known[1]}"
                yield Violation("sequence", actor, f"{text} at {line['t']}")
        known = (epoch, seq)


def _check_duplicates(actor: str, records: list[LogRecord]) -> Iterator[Violation]:
    """One event has one number."""
    heard: dict[tuple[Any, ...], int] = {}
    for line in records:
        payload = line.get("payload")
        if line["what"] != "hears" or payload is None or "seq" not in payload:
            continue
        rest = {k: v for k, v in payload.items() if k not in ("seq", "ts", "order")}
        same = (line["event"], *sorted((k, str(v)) for k, v in rest.items()))
        if heard.setdefault(same, payload["seq"]) != payload["seq"]:
            yield Violation(
                "twice", actor, f"{line['event']} of {payload.get('orderId')} came twice"
            )


def _check_caught_up(
    evidence: Evidence, actor: str, records: list[LogRecord]
) -> Iterator[Violation]:
    """Who is connected at the end has heard everything there is."""
    moves = [line for line in records if line["what"] in ("opens", "closed")]
    head = evidence.inbox_heads.get(actor, {})
    if not moves or moves[-1]["what"] == "closed" or not head:
        return
    numbered = [
        x["payload"] for x in records if x["what"] == "hears" and "seq" in x.get("payload", {})
    ]
    if not numbered:
        # Events from before the first line are for snapshots.
        return
    last = numbered[-1]
    if (last["epoch"], str(last["seq"])) != (head["epoch"], head["seq"]):
        yield Violation("tail", actor, f"heard up to {last['seq']} of {head['seq']}")


def _check_positions(actor: str, records: list[LogRecord]) -> Iterator[Violation]:
    """A marker never moves back."""
    newest: dict[tuple[str, str], int] = {}
    for line in records:
        if line["what"] == "opens":
            newest.clear()
        if line["what"] != "hears" or line["event"] != "rider_location_update":
            continue
        payload = line["payload"]
        marker = payload["orderId"], payload["riderId"]
        if payload["ts"] < newest.get(marker, 0):
            yield Violation("marker", actor, f"{marker} moved back at {line['t']}")
        newest[marker] = payload["ts"]


def _check_snapshots(actor: str, records: list[LogRecord]) -> Iterator[Violation]:
    """A snapshot and the events after it make the next snapshot."""
    known: dict[str, LogRecord] = {}
    events: dict[str, list[LogRecord]] = {}
    for line in records:
        if line["what"] == "hears" and "version" in line["payload"]:
            events.setdefault(line["payload"]["orderId"], []).append(line)
    for at, line in enumerate(records):
        if _is_fresh_start(line):
            known.clear()
        for order in _snapshots_in(line):
            before = known.get(order["orderId"])
            known[order["orderId"]] = order
            if before is None or before["version"] > order["version"]:
                continue
            # Events may come after a snapshot that has them already.
            made = _state_after_events(before, events.get(order["orderId"], ()), order["version"])
            if made != _visible_state(order) and not _has_fresh_start_next(records[at + 1 :]):
                text = f"{order['orderId']} v{before['version']} and events make {made}"
                yield Violation(
                    "picture", actor, f"{text}, v{order['version']} is {_visible_state(order)}"
                )


def _is_fresh_start(record: LogRecord) -> bool:
    """From here on the app knows that it has missed something."""
    is_resync = record["what"] == "hears" and record["event"] == "resync"
    return is_resync or (record["what"] == "opens" and record["resume"] is None)


def _has_fresh_start_next(later_records: list[LogRecord]) -> bool:
    for line in later_records:
        if _is_fresh_start(line):
            return True
        if line["what"] == "hears" and "seq" in line["payload"]:
            return False
    return False


def _snapshots_in(record: LogRecord) -> Iterator[Mapping[str, Any]]:
    if record["what"] == "answered" and record["command"] == "subscribe_order":
        yield record["data"]["data"]
    if (
        record["what"] == "told"
        and record["method"] == "GET"
        and record["path"].startswith("/orders")
    ):
        data = record["data"]
        yield from [data] if "orderId" in data else data["items"]


def _visible_state(order: Mapping[str, Any]) -> tuple[Any, ...]:
    # Its customer is not told that the money was split.
    status = "DELIVERED" if order["status"] == "FUNDS_DISTRIBUTED" else order["status"]
    return status, order["dispatch"].get("state"), order["dispatch"].get("riderId")


def _state_after_events(before: Mapping[str, Any], events: Any, version: int) -> tuple[Any, ...]:
    status, state, rider = _visible_state(before)
    later = [x for x in events if before["version"] < x["payload"]["version"] <= version]
    for line in sorted(later, key=lambda x: (x["payload"]["version"], x["payload"]["seq"])):
        payload, event = line["payload"], line["event"]
        turn = STATES_AFTER_EVENT.get(event, (None, None))
        status = turn[0] or status
        state = turn[1] or state
        if event == "dispatch_status":
            state, rider = STATE_OF_DISPATCH_STATUS[payload["state"]], None
        if event == "rider_assigned" and status == "PENDING":
            # Nobody accepts a parcel before its rider does.
            status = "ACCEPTED"
        if event == "rider_arrived":
            state = STATE_OF_ARRIVAL[payload["at"]]
        rider = payload.get("riderId", rider)
    return status, state, rider


def _check_required_events(
    evidence: Evidence, records_by_actor: Mapping[str, list[LogRecord]]
) -> Iterator[Violation]:
    """Whom an order's turns concern has heard of them, or was told to look for himself."""
    for order_id, versions in order_versions(evidence).items():
        last, since_s = versions[-1].order, versions[0].at_s
        wanted: list[tuple[str, str]] = []
        if last["status"] in FINAL_EVENT_OF_STATUS:
            wanted.append((f"user:{last['userId']}", FINAL_EVENT_OF_STATUS[last["status"]]))
        if last.get("vendorId"):
            wanted.append((f"vendor:{last['vendorId']}", "new_order"))
        if last["status"] == "FUNDS_DISTRIBUTED":
            wanted.append((f"rider:{rider_of(last)}", "order_settled"))
            if last.get("vendorId"):
                wanted.append((f"vendor:{last['vendorId']}", "order_settled"))
        for who, event in wanted:
            if not _has_received(records_by_actor.get(who, ()), order_id, event, since_s):
                yield Violation("told", who, f"never heard {event} of {order_id}")


def _has_received(records: Any, order_id: str, event: str, since_s: float) -> bool:
    later = [x for x in records if x["t"] >= since_s - 0.001]
    heard = [x for x in later if x["what"] == "hears" and x["event"] == event]
    # Who comes without a past, or is told of a gap, takes a snapshot.
    return any(map(_is_fresh_start, later)) or order_id in [
        x["payload"].get("orderId") for x in heard
    ]


def _check_repeated_answers(evidence: Evidence) -> Iterator[Violation]:
    """A repeated request gets the first answer again."""
    looks = {
        (x["who"], x["id"]) for x in evidence.records_of("says") if x["command"] in READ_COMMANDS
    }
    first: dict[tuple[str, str], Any] = {}
    for line in evidence.records_of("acked"):
        request, answer = (line["who"], line["id"]), line["answer"]
        if request in looks or line["id"] is None:
            continue
        if not answer["ok"] and _is_retryable(answer):
            continue
        told = first.setdefault(request, answer)
        if told != answer and (told["ok"] or answer["ok"]):
            yield Violation("once", line["who"], f"{line['id']} got {told}, then {answer}")


def _is_retryable(answer: Mapping[str, Any]) -> bool:
    error = answer.get("error") or {}
    return bool(error.get("retryable")) or error.get("code") in ("unavailable", "rate_limited")
