"""Judges a run from outside: what people were acknowledged and told, against the stores' raw items.

Written apart from the server: it imports nothing of it and knows only the public contract, the keys
under which items lie, and arithmetic.
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
# Source: wire contract, business rules of FOOD.
COMMISSION_BPS, DELIVERY_FEE_XAF = 1500, 1500
# What an acknowledged command leaves in its order for good.
STATUS_AFTER_COMMAND = {
    "accept_order": "ACCEPTED",
    "reject_order": "REJECTED",
    "order_preparing": "PREPARING",
    "order_ready": "READY",
    "pick_up": "IN_TRANSIT",
    "complete_delivery": "DELIVERED",
    "cancel_order": "CANCELLED",
}
# What each side is told once an order has reached a status.
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
# An app's own clock and the server's are one here; a resync covers what was said before it.
RESYNC_MARGIN_MS = 1_000
# Commands that leave no receipt: repeating them is harmless by itself.
COMMANDS_WITHOUT_RECORD = frozenset(
    {"set_availability", "set_online", "subscribe_order", "place_order"}
)


class CheckResult(NamedTuple):
    """One promise: what was wrong, of how many that were looked at."""

    name: str
    violations: list[str]
    checked_count: int


@dataclass
class RunEvidence:
    """What there is to judge: the record of the people and the raw items of the table."""

    record: SwarmRecord
    items: Sequence[RawItem]
    # Lines of the servers' logs that a run without bugs does not have.
    log_faults: Sequence[str] = field(default_factory=list)
    log_count: int = 1

    @cached_property
    def orders(self) -> dict[str, RawItem]:
        """Orders by their id."""
        return {i["orderId"]: i for i in self._items_at("ORDER#", "METADATA")}

    @cached_property
    def funds(self) -> dict[str, RawItem]:
        """What is kept of each order's money."""
        return {i["orderId"]: i for i in self._items_at("ORDER#", "FUNDS")}

    @cached_property
    def balances(self) -> dict[str, RawItem]:
        """Accounts by their name."""
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
        """Journal entries."""
        return [item for item in self.items if item["SK"].startswith("JE#")]

    @cached_property
    def workloads(self) -> dict[str, RawItem]:
        """What each rider carries and has done."""
        return {i["PK"].removeprefix("RIDER#"): i for i in self._items_at("RIDER#", "WORKLOAD")}

    @cached_property
    def acknowledged(self) -> list[Ack]:
        """Commands that were answered with a yes."""
        return [ack for ack in self.record.acks if not ack.code]

    def commands_of(self, command: str) -> list[Ack]:
        """Those of one command, each once though it was said twice."""
        said = {
            (a.identity, a.payload.get("commandId") or a.order_id): a
            for a in reversed(self.acknowledged)
        }
        return [ack for ack in said.values() if ack.command == command]

    def _items_at(self, pk: str, sk: str) -> Iterator[RawItem]:
        return (i for i in self.items if i["PK"].startswith(pk) and i["SK"] == sk)


# Orders.


def check_no_order_lost(evidence: RunEvidence) -> CheckResult:
    """Every order that was acknowledged is there, as it was placed."""
    placed = evidence.commands_of("place_order")
    wrong = [
        f"{ack.order_id} of {ack.identity}"
        for ack in placed
        if f"user:{evidence.orders.get(ack.order_id, {}).get('userId')}" != ack.identity
    ]
    return CheckResult("orders_lost", wrong, len(placed))


def check_no_order_doubled(evidence: RunEvidence) -> CheckResult:
    """Every order that is there was acknowledged: repeating a request made no second one."""
    placed = {ack.order_id for ack in evidence.commands_of("place_order")}
    return CheckResult(
        "orders_unasked", sorted(evidence.orders.keys() - placed), len(evidence.orders)
    )


def check_all_ended(evidence: RunEvidence) -> CheckResult:
    """No order is left on its way, and no order's money and hands are."""
    wrong = [
        f"{o} is {i['status']}" for o, i in evidence.orders.items() if i["status"] not in TERMINAL
    ]
    for rider, duty in evidence.workloads.items():
        held = [name for name in duty if name.startswith("carries_")]
        if held or duty.get("orderCount", 0):
            wrong.append(f"{rider} still carries {held}, {duty.get('orderCount')}")
    return CheckResult("orders_open", wrong, len(evidence.orders))


def check_effects_present(evidence: RunEvidence) -> CheckResult:
    """What an acknowledged command did is to be seen in its order."""
    wrong: list[str] = []
    looked = [
        ack
        for ack in evidence.acknowledged
        if ack.command in _EFFECT_CHECKS or ack.command in STATUS_AFTER_COMMAND
    ]
    for ack in looked:
        order = evidence.orders.get(ack.order_id, {})
        reached = STATUS_AFTER_COMMAND.get(ack.command)
        seen = (
            reached in order.get("times", {})
            if reached
            else _EFFECT_CHECKS[ack.command](ack, order)
        )
        if not seen:
            wrong.append(f"{ack.command} of {ack.identity} on {ack.order_id}")
    return CheckResult("effects_lost", wrong, len(looked))


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
    """Counters that a second effect would have raised twice say what was acknowledged."""
    wrong: list[str] = []
    said: Counter[tuple[str, str]] = Counter()
    for command, counter in (("complete_delivery", "delivered"), ("release_delivery", "givenBack")):
        for ack in evidence.commands_of(command):
            said[ack.identity.removeprefix("rider:"), counter] += 1
    for ack in evidence.commands_of("rate_order"):
        rider = _rider_of(evidence, ack)
        said[rider, "ratings"] += 1
        said[rider, "stars"] += ack.payload["rating"]
    for rider, duty in evidence.workloads.items():
        for counter in ("delivered", "givenBack", "ratings", "stars"):
            there, wanted = duty.get(counter, 0), said[rider, counter]
            if counter == "givenBack":
                wanted += _count_reassigned(evidence, rider)
            if there != wanted:
                wrong.append(f"{rider} has {counter} {there}, not {wanted}")
    return CheckResult("effects_doubled", wrong, sum(said.values()))


def _rider_of(evidence: RunEvidence, ack: Ack) -> str:
    """Who carries the order in the end."""
    return str(evidence.orders.get(ack.order_id, {}).get("dispatch", {}).get("riderId"))


def _count_reassigned(evidence: RunEvidence, rider: str) -> int:
    """Orders that the server took from a rider who did not come; they count as given back."""
    asked = [
        o.get("dispatch", {}).get("asked", {}).get(rider, {}) for o in evidence.orders.values()
    ]
    return sum(each.get("outcome") in ("vanished", "stalled") for each in asked)


def check_command_records(evidence: RunEvidence) -> CheckResult:
    """Every acknowledged command is remembered with the very answer that was given."""
    kept = {i["PK"]: i for i in evidence.items if i["SK"] == "RECORD"}
    looked = [ack for ack in evidence.acknowledged if ack.command not in COMMANDS_WITHOUT_RECORD]
    wrong = [
        f"{ack.command} of {ack.identity}"
        for ack in looked
        if f"IDEMPOTENCY#{ack.identity}#COMMAND#{ack.payload['commandId']}" not in kept
    ]
    return CheckResult("receipts_lost", wrong, len(looked))


def check_repeated_answers(evidence: RunEvidence) -> CheckResult:
    """A command said twice is answered alike."""
    return CheckResult(
        "answers_unequal", evidence.record.unequal_answers, evidence.record.repeat_count
    )


# Riders.


def check_one_rider_per_order(evidence: RunEvidence) -> CheckResult:
    """No order was given to a rider while another had it."""
    wrong: list[str] = []
    accepted: dict[str, list[Ack]] = defaultdict(list)
    for ack in evidence.commands_of("accept_delivery"):
        accepted[ack.order_id].append(ack)
    released = {(ack.identity, ack.order_id) for ack in evidence.commands_of("release_delivery")}
    for order_id, acks in accepted.items():
        asked = evidence.orders.get(order_id, {}).get("dispatch", {}).get("asked", {})
        acks.sort(key=lambda ack: ack.data["version"])
        for ack in acks[:-1]:
            outcome = asked.get(ack.identity.removeprefix("rider:"), {}).get("outcome")
            if (ack.identity, order_id) not in released and outcome not in ("vanished", "stalled"):
                wrong.append(f"{order_id}: {ack.identity} had it when {acks[-1].identity} got it")
    return CheckResult("doubly_assigned", wrong, len(accepted))


def check_one_order_per_rider(evidence: RunEvidence) -> CheckResult:
    """No rider had two orders at once: from the yes to when he began to say that he is done."""
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
    for who, held in spans.items():
        held.sort()
        wrong += [f"{who} had {a[2]} and {b[2]}" for a, b in pairwise(held) if b[0] < a[1]]
    return CheckResult("above_capacity", wrong, sum(map(len, spans.values())))


# Events.


def check_no_event_gaps(evidence: RunEvidence) -> CheckResult:
    """Each app's events are numbered without a gap, or a resync stands where they begin anew."""
    at: dict[str, tuple[str, int]] = {}
    wrong: list[str] = []
    of = 0
    for heard in evidence.record.events:
        epoch, seq = heard.payload.get("epoch"), heard.payload.get("seq")
        if epoch is None or seq is None:
            continue
        before = at.get(heard.identity)
        at[heard.identity] = (epoch, seq)
        of += 1
        if heard.name == "resync" or before in (None, (epoch, seq - 1)):
            continue
        # An inbox that was not there before begins at one.
        if before is None or before[0] == epoch or seq != 1:
            wrong.append(f"{heard.identity}: {before} then {(epoch, seq)} {heard.name}")
    wrong += evidence.record.missed_events
    return CheckResult("events_gaps", wrong, of)


def check_events_delivered(evidence: RunEvidence) -> CheckResult:
    """What an order went through was told to everyone in it, each thing once.

    Only what came before a resync may be missing, for the resync says so.
    """
    told: Counter[tuple[str, str, str]] = Counter()
    resync: dict[str, int] = {}
    for heard in evidence.record.events:
        if heard.name == "resync":
            resync[heard.identity] = heard.at_ms
        told[heard.identity, heard.name, heard.payload.get("orderId", "")] += 1
    wrong: list[str] = []
    of = 0
    for who, name, order_id, at_ms in _expected_events(evidence):
        of += 1
        times = told[who, name, order_id]
        is_excused = at_ms <= resync.get(who, 0) + RESYNC_MARGIN_MS
        if times > 1 or (times == 0 and not is_excused):
            wrong.append(f"{who} was told {name} of {order_id} {times} times")
    return CheckResult("events_wrong", wrong, of)


def count_events_lost_to_resync(evidence: RunEvidence) -> int:
    """Events that nobody heard, but a resync stood for them."""
    told = {(h.identity, h.name, h.payload.get("orderId", "")) for h in evidence.record.events}
    return sum(
        (who, name, order_id) not in told for who, name, order_id, _ in _expected_events(evidence)
    )


def _expected_events(evidence: RunEvidence) -> Iterator[tuple[str, str, str, int]]:
    """Who is to be told what of which order, and since when."""
    for order_id, order in evidence.orders.items():
        rider = order.get("dispatch", {}).get("riderId")
        sides = [
            (f"user:{order['userId']}", USER_EVENTS),
            (f"vendor:{order['vendorId']}", VENDOR_EVENTS),
        ]
        if rider:
            sides.append((f"rider:{rider}", RIDER_EVENTS))
        for who, names in sides:
            for status, at_ms in order.get("times", {}).items():
                if status in names:
                    yield who, names[status], order_id, at_ms


def check_outbox_empty(evidence: RunEvidence) -> CheckResult:
    """Nothing is left in the outbox."""
    left = [i["SK"] for i in evidence.items if i["PK"].startswith("OUTBOX#")]
    return CheckResult("events_unsaid", left, len(evidence.record.events))


# Money.


def check_ledger_balances(evidence: RunEvidence) -> CheckResult:
    """All balances and every entry sum to zero, and nothing is left in escrow."""
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
    """Each delivered order was split once; those that were called off were not."""
    entries = Counter((e["PK"], e["SK"]) for e in evidence.journal_entries)
    ends = {"FUNDS_DISTRIBUTED": "SETTLED", "CANCELLED": "CANCELLED", "REJECTED": "CANCELLED"}
    wrong: list[str] = []
    for order_id, order in evidence.orders.items():
        settled = entries[f"ORDER#{order_id}", "JE#SETTLE"]
        is_done = order["status"] == "FUNDS_DISTRIBUTED"
        state = evidence.funds.get(order_id, {}).get("fundsState")
        right = {ends.get(order["status"], ""), "VOID" if not is_done else "SETTLED"}
        if settled != is_done or state not in right:
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
    """Vendors and riders have what the contract gives them for what was delivered, to the franc."""
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
    """No server has logged a fault."""
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
    """Every promise, with what broke it."""
    return [check(evidence) for check in CHECKS]
