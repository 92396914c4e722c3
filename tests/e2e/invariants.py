"""Checks a run from outside: acknowledgements and events of clients against the table's raw items.

Independent of the server: it imports none of its code and knows only the public contract, the keys
of the items, and arithmetic.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

from tests.e2e.retrying_client import Ack, SwarmRecord

RawItem = Mapping[str, Any]

TERMINAL = frozenset({"FUNDS_DISTRIBUTED", "REJECTED", "CANCELLED"})
# Source: docs/contract.md, business rules of FOOD.
COMMISSION_BPS, DELIVERY_FEE_XAF = 1500, 1500
# The status that an acknowledged command leaves in its order's history.
STATUS_AFTER_COMMAND = {
    "accept_order": "ACCEPTED",
    "reject_order": "REJECTED",
    "order_preparing": "PREPARING",
    "order_ready": "READY",
    "pick_up": "IN_TRANSIT",
    "complete_delivery": "DELIVERED",
    "cancel_order": "CANCELLED",
}
# The event that each side receives once an order has reached a status.
USER_EVENTS = {
    "ACCEPTED": "order_accepted",
    "PREPARING": "order_preparing",
    "READY": "order_ready",
    "IN_TRANSIT": "order_picked_up",
    "DELIVERED": "order_delivered",
    "CANCELLED": "order_cancelled",
    "REJECTED": "order_rejected",
}
VENDOR_EVENTS = {
    "IN_TRANSIT": "order_picked_up",
    "DELIVERED": "order_delivered",
    "FUNDS_DISTRIBUTED": "order_settled",
}
RIDER_EVENTS = {"FUNDS_DISTRIBUTED": "order_settled"}
# Clients and server share one clock here; a resync covers events sent before it.
RESYNC_MARGIN_MS = 1_000
# Commands without an idempotency record, because repeating them is harmless.
COMMANDS_WITHOUT_RECORD = frozenset(
    {"set_availability", "set_online", "subscribe_order", "place_order"}
)


class CheckResult(NamedTuple):
    """Result of one check: its violations and how many things were checked."""

    name: str
    violations: list[str]
    checked_count: int


@dataclass
class RunEvidence:
    """Evidence of a run: what clients recorded, and the raw items of the table."""

    record: SwarmRecord
    items: Sequence[RawItem]
    # Log lines of the servers that show a bug.
    log_faults: Sequence[str] = field(default_factory=list)
    log_count: int = 1

    @cached_property
    def orders(self) -> dict[str, RawItem]:
        """Orders by id."""
        return {i["orderId"]: i for i in self._items_at("ORDER#", "METADATA")}

    @cached_property
    def funds(self) -> dict[str, RawItem]:
        """Order funds by order id."""
        return {i["orderId"]: i for i in self._items_at("ORDER#", "FUNDS")}

    @cached_property
    def balances(self) -> dict[str, RawItem]:
        """Account balances by account name."""
        found = self._items_at("WALLET#", "BALANCE")
        return {i["PK"].removeprefix("WALLET#"): i for i in found}

    @cached_property
    def wallet_entries(self) -> dict[str, list[RawItem]]:
        """The numbered lines of each wallet."""
        found: dict[str, list[RawItem]] = defaultdict(list)
        for item in self.items:
            if item["PK"].startswith("WALLET#") and item["SK"].startswith("TXN#"):
                found[item["PK"].removeprefix("WALLET#")].append(item)
        return found

    @cached_property
    def journal_entries(self) -> list[RawItem]:
        """All journal entries."""
        return [item for item in self.items if item["SK"].startswith("JE#")]

    @cached_property
    def workloads(self) -> dict[str, RawItem]:
        """Workload of each rider: the orders it carries, and its counters."""
        return {i["PK"].removeprefix("RIDER#"): i for i in self._items_at("RIDER#", "WORKLOAD")}

    @cached_property
    def acknowledged(self) -> list[Ack]:
        """Commands that were answered without an error."""
        return [ack for ack in self.record.acks if not ack.code]

    def commands_of(self, command: str) -> list[Ack]:
        """Acknowledged commands with this name, each once even if it was repeated."""
        unique_acks = {
            (a.identity, a.payload.get("commandId") or a.order_id): a
            for a in reversed(self.acknowledged)
        }
        return [ack for ack in unique_acks.values() if ack.command == command]

    def _items_at(self, pk: str, sk: str) -> Iterator[RawItem]:
        return (i for i in self.items if i["PK"].startswith(pk) and i["SK"] == sk)


# Orders.


def check_no_order_lost(evidence: RunEvidence) -> CheckResult:
    """Every acknowledged order exists and belongs to its customer."""
    placed = evidence.commands_of("place_order")
    wrong = [
        f"{ack.order_id} of {ack.identity}"
        for ack in placed
        if f"user:{evidence.orders.get(ack.order_id, {}).get('userId')}" != ack.identity
    ]
    return CheckResult("orders_lost", wrong, len(placed))


def check_no_order_doubled(evidence: RunEvidence) -> CheckResult:
    """Every existing order was acknowledged: a repeated request made no second order."""
    placed = {ack.order_id for ack in evidence.commands_of("place_order")}
    return CheckResult(
        "orders_unacknowledged", sorted(evidence.orders.keys() - placed), len(evidence.orders)
    )


def check_all_ended(evidence: RunEvidence) -> CheckResult:
    """Every order has ended, and no rider still carries one."""
    wrong = [
        f"{order_id} is {order['status']}"
        for order_id, order in evidence.orders.items()
        if order["status"] not in TERMINAL
    ]
    for rider, workload in evidence.workloads.items():
        carried = [name for name in workload if name.startswith("carries_")]
        if carried or workload.get("orderCount", 0):
            wrong.append(f"{rider} still carries {carried}, {workload.get('orderCount')}")
    return CheckResult("orders_open", wrong, len(evidence.orders))


def check_effects_present(evidence: RunEvidence) -> CheckResult:
    """The effect of every acknowledged command is in its order."""
    wrong: list[str] = []
    checked = [
        ack
        for ack in evidence.acknowledged
        if ack.command in _EFFECT_CHECKS or ack.command in STATUS_AFTER_COMMAND
    ]
    for ack in checked:
        order = evidence.orders.get(ack.order_id, {})
        expected_status = STATUS_AFTER_COMMAND.get(ack.command)
        is_present = (
            expected_status in order.get("times", {})
            if expected_status
            else _EFFECT_CHECKS[ack.command](ack, order)
        )
        if not is_present:
            wrong.append(f"{ack.command} of {ack.identity} on {ack.order_id}")
    return CheckResult("effects_lost", wrong, len(checked))


def _was_with_rider(ack: Ack, order: RawItem) -> bool:
    dispatch, rider = order.get("dispatch", {}), ack.identity.removeprefix("rider:")
    return dispatch.get("riderId") == rider or rider in dispatch.get("asked", {})


def _has_rating(ack: Ack, order: RawItem) -> bool:
    return order.get("rating") == ack.payload["rating"]


_EFFECT_CHECKS: dict[str, Callable[[Ack, RawItem], bool]] = {
    "accept_delivery": _was_with_rider,
    "decline_delivery": _was_with_rider,
    "release_delivery": _was_with_rider,
    "rate_order": _has_rating,
}


def check_effects_once(evidence: RunEvidence) -> CheckResult:
    """Counters that a repeated effect would raise twice equal the acknowledged commands."""
    wrong: list[str] = []
    expected: Counter[tuple[str, str]] = Counter()
    for command, counter in (("complete_delivery", "delivered"), ("release_delivery", "givenBack")):
        for ack in evidence.commands_of(command):
            expected[ack.identity.removeprefix("rider:"), counter] += 1
    for ack in evidence.commands_of("rate_order"):
        rider = _rider_of(evidence, ack)
        expected[rider, "ratings"] += 1
        expected[rider, "stars"] += ack.payload["rating"]
    for rider, workload in evidence.workloads.items():
        for counter in ("delivered", "givenBack", "ratings", "stars"):
            actual, expected_count = workload.get(counter, 0), expected[rider, counter]
            if counter == "givenBack":
                expected_count += _count_reassigned(evidence, rider)
            if actual != expected_count:
                wrong.append(f"{rider} has {counter} {actual}, not {expected_count}")
    return CheckResult("effects_doubled", wrong, sum(expected.values()))


def _rider_of(evidence: RunEvidence, ack: Ack) -> str:
    """The rider who carries the order at the end."""
    return str(evidence.orders.get(ack.order_id, {}).get("dispatch", {}).get("riderId"))


def _count_reassigned(evidence: RunEvidence, rider: str) -> int:
    """Orders that the server withdrew from a rider who did not come; they count as given back."""
    offers = [
        o.get("dispatch", {}).get("asked", {}).get(rider, {}) for o in evidence.orders.values()
    ]
    return sum(offer.get("outcome") in ("vanished", "stalled") for offer in offers)


def check_command_records(evidence: RunEvidence) -> CheckResult:
    """Every acknowledged command has an idempotency record."""
    records = {i["PK"]: i for i in evidence.items if i["SK"] == "RECORD"}
    checked = [ack for ack in evidence.acknowledged if ack.command not in COMMANDS_WITHOUT_RECORD]
    wrong = [
        f"{ack.command} of {ack.identity}"
        for ack in checked
        if f"IDEMPOTENCY#{ack.identity}#COMMAND#{ack.payload['commandId']}" not in records
    ]
    return CheckResult("command_records_lost", wrong, len(checked))


def check_repeated_answers(evidence: RunEvidence) -> CheckResult:
    """A repeated command gets the same answer."""
    return CheckResult(
        "answers_unequal", evidence.record.unequal_answers, evidence.record.repeat_count
    )


# Riders.


def check_one_rider_per_order(evidence: RunEvidence) -> CheckResult:
    """No order was assigned to a second rider while the first still had it."""
    wrong: list[str] = []
    accepted: dict[str, list[Ack]] = defaultdict(list)
    for ack in evidence.commands_of("accept_delivery"):
        accepted[ack.order_id].append(ack)
    released = {(ack.identity, ack.order_id) for ack in evidence.commands_of("release_delivery")}
    for order_id, acks in accepted.items():
        offers = evidence.orders.get(order_id, {}).get("dispatch", {}).get("asked", {})
        acks.sort(key=lambda ack: ack.data["version"])
        for ack in acks[:-1]:
            outcome = offers.get(ack.identity.removeprefix("rider:"), {}).get("outcome")
            if (ack.identity, order_id) not in released and outcome not in ("vanished", "stalled"):
                wrong.append(
                    f"{order_id}: {ack.identity} still had it when {acks[-1].identity} got it"
                )
    return CheckResult("doubly_assigned", wrong, len(accepted))


def check_one_order_per_rider(evidence: RunEvidence) -> CheckResult:
    """No rider had two orders at once, from acceptance to sending the completion."""
    ends: dict[tuple[str, str], float] = {}
    for command in ("complete_delivery", "release_delivery"):
        ends |= {(a.identity, a.order_id): a.sent_s for a in evidence.commands_of(command)}
    for ack in evidence.commands_of("cancel_order"):
        rider = _rider_of(evidence, ack)
        ends.setdefault((f"rider:{rider}", ack.order_id), ack.sent_s)
    spans: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for ack in evidence.commands_of("accept_delivery"):
        end = ends.get((ack.identity, ack.order_id), ack.answered_s)
        spans[ack.identity].append((ack.answered_s, max(ack.answered_s, end), ack.order_id))
    wrong: list[str] = []
    for rider_identity, intervals in spans.items():
        intervals.sort()
        wrong += [
            f"{rider_identity} had {a[2]} and {b[2]}" for a, b in pairwise(intervals) if b[0] < a[1]
        ]
    return CheckResult("above_capacity", wrong, sum(map(len, spans.values())))


# Events.


def check_no_event_gaps(evidence: RunEvidence) -> CheckResult:
    """Each client's events have consecutive numbers, except where a resync starts a new epoch."""
    last_event_of: dict[str, tuple[str, int]] = {}
    wrong: list[str] = []
    checked = 0
    for event in evidence.record.events:
        epoch, seq = event.payload.get("epoch"), event.payload.get("seq")
        if epoch is None or seq is None:
            continue
        previous = last_event_of.get(event.identity)
        last_event_of[event.identity] = (epoch, seq)
        checked += 1
        if event.name == "resync" or previous in (None, (epoch, seq - 1)):
            continue
        # A newly created inbox begins at one.
        if previous is None or previous[0] == epoch or seq != 1:
            wrong.append(f"{event.identity}: {previous} then {(epoch, seq)} {event.name}")
    wrong += evidence.record.missed_events
    return CheckResult("events_gaps", wrong, checked)


def check_events_delivered(evidence: RunEvidence) -> CheckResult:
    """Every participant of an order received each of its events exactly once.

    Only events before a resync may be missing, because the resync makes the client refetch.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    resync: dict[str, int] = {}
    for event in evidence.record.events:
        if event.name == "resync":
            resync[event.identity] = event.at_ms
        counts[event.identity, event.name, event.payload.get("orderId", "")] += 1
    wrong: list[str] = []
    checked = 0
    for owner, name, order_id, at_ms in _expected_events(evidence):
        checked += 1
        count = counts[owner, name, order_id]
        is_excused = at_ms <= resync.get(owner, 0) + RESYNC_MARGIN_MS
        if count > 1 or (count == 0 and not is_excused):
            wrong.append(f"{owner} received {name} of {order_id} {count} times")
    return CheckResult("events_wrong", wrong, checked)


def count_events_lost_to_resync(evidence: RunEvidence) -> int:
    """Number of expected events that were not received but are covered by a resync."""
    received = {
        (event.identity, event.name, event.payload.get("orderId", ""))
        for event in evidence.record.events
    }
    return sum(
        (owner, name, order_id) not in received
        for owner, name, order_id, _ in _expected_events(evidence)
    )


def _expected_events(evidence: RunEvidence) -> Iterator[tuple[str, str, str, int]]:
    """The (identity, event, order, time) of every event that should have been received."""
    for order_id, order in evidence.orders.items():
        rider = order.get("dispatch", {}).get("riderId")
        sides = [
            (f"user:{order['userId']}", USER_EVENTS),
            (f"vendor:{order['vendorId']}", VENDOR_EVENTS),
        ]
        if rider:
            sides.append((f"rider:{rider}", RIDER_EVENTS))
        for owner, event_of_status in sides:
            for status, at_ms in order.get("times", {}).items():
                if status in event_of_status:
                    yield owner, event_of_status[status], order_id, at_ms


def check_outbox_empty(evidence: RunEvidence) -> CheckResult:
    """The outbox is empty."""
    left = [i["SK"] for i in evidence.items if i["PK"].startswith("OUTBOX#")]
    return CheckResult("outbox_left", left, len(evidence.record.events))


# Money.


def check_ledger_balances(evidence: RunEvidence) -> CheckResult:
    """All balances and each entry sum to zero, and no escrow is left."""
    total = sum(int(i["posted"]) for i in evidence.balances.values())
    wrong = [f"the books are off by {total}"] if total else []
    wrong += [
        f"{entry['PK']}/{entry['SK']} does not balance"
        for entry in evidence.journal_entries
        if sum(leg["amount"] for leg in entry["legs"]) != 0
    ]
    wrong += [f"{o} holds {i['escrow']}" for o, i in evidence.funds.items() if i["escrow"]]
    return CheckResult("money_drift", wrong, len(evidence.journal_entries))


def check_settled_once(evidence: RunEvidence) -> CheckResult:
    """Each delivered order was settled once; cancelled and rejected ones were not."""
    entries = Counter((e["PK"], e["SK"]) for e in evidence.journal_entries)
    ends = {"FUNDS_DISTRIBUTED": "SETTLED", "CANCELLED": "CANCELLED", "REJECTED": "CANCELLED"}
    wrong: list[str] = []
    for order_id, order in evidence.orders.items():
        settled = entries[f"ORDER#{order_id}", "JE#SETTLE"]
        is_settled = order["status"] == "FUNDS_DISTRIBUTED"
        state = evidence.funds.get(order_id, {}).get("fundsState")
        allowed = {ends.get(order["status"], ""), "VOID" if not is_settled else "SETTLED"}
        if settled != is_settled or state not in allowed:
            wrong.append(f"{order_id} is {order['status']}, settled {settled} times, {state}")
    return CheckResult("settled_wrong", wrong, len(evidence.orders))


def check_wallet_chains(evidence: RunEvidence) -> CheckResult:
    """Every wallet is the sum of its lines, which are numbered and chained without a gap."""
    wrong: list[str] = []
    for account, balance in evidence.balances.items():
        lines = sorted(evidence.wallet_entries.get(account, []), key=lambda line: line["seq"])
        if "seq" not in balance:
            continue
        ends = [0, *(line["balanceAfter"] for line in lines)]
        is_chained = all(
            line["seq"] == n and line["balanceBefore"] == before
            for n, (line, before) in enumerate(zip(lines, ends, strict=False), start=1)
        )
        total = sum(line["amount"] for line in lines)
        if not is_chained or total != balance["posted"] or len(lines) != balance["seq"]:
            wrong.append(f"{account}: {len(lines)} lines of {total}, balance {balance['posted']}")
    return CheckResult("wallets_wrong", wrong, sum(map(len, evidence.wallet_entries.values())))


def check_shares(evidence: RunEvidence) -> CheckResult:
    """Vendors and riders have exactly their contractual share of the delivered orders."""
    earned: Counter[str] = Counter()
    done = [o for o in evidence.orders.values() if o["status"] == "FUNDS_DISTRIBUTED"]
    for order in done:
        subtotal = order["pricing"]["subtotal"]
        earned[f"VENDOR#{order['vendorId']}"] += subtotal - subtotal * COMMISSION_BPS // 10_000
        earned[f"RIDER#{order['dispatch']['riderId']}"] += DELIVERY_FEE_XAF
    wrong = [
        f"{account} has {evidence.balances.get(account, {}).get('posted', 0)}, not {amount}"
        for account, amount in earned.items()
        if evidence.balances.get(account, {}).get("posted", 0) != amount
    ]
    return CheckResult("shares_wrong", wrong, len(done))


def check_no_log_faults(evidence: RunEvidence) -> CheckResult:
    """No server logged a fault."""
    return CheckResult("faults", list(evidence.log_faults), evidence.log_count)


CHECKS: Sequence[Callable[[RunEvidence], CheckResult]] = (
    check_no_order_lost,
    check_no_order_doubled,
    check_all_ended,
    check_effects_present,
    check_effects_once,
    check_command_records,
    check_repeated_answers,
    check_one_rider_per_order,
    check_one_order_per_rider,
    check_no_event_gaps,
    check_events_delivered,
    check_outbox_empty,
    check_ledger_balances,
    check_settled_once,
    check_wallet_chains,
    check_shares,
    check_no_log_faults,
)


def run_checks(evidence: RunEvidence) -> list[CheckResult]:
    """Run every check."""
    return [check(evidence) for check in CHECKS]
