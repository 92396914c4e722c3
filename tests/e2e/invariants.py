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

from tests.e2e.swarm import Ack, Record

Raw = Mapping[str, Any]

TERMINAL = frozenset({"FUNDS_DISTRIBUTED", "REJECTED", "CANCELLED"})
# Source: wire contract, business rules of FOOD.
COMMISSION_BPS, DELIVERY_FEE_XAF = 1500, 1500
# What an acknowledged command leaves in its order for good.
REACHED = {
    "accept_order": "ACCEPTED",
    "reject_order": "REJECTED",
    "order_preparing": "PREPARING",
    "order_ready": "READY",
    "pick_up": "IN_TRANSIT",
    "complete_delivery": "DELIVERED",
    "cancel_order": "CANCELLED",
}
# What each side is told once an order has reached a status.
TOLD_USER = {
    "ACCEPTED": "order_accepted",
    "PREPARING": "order_preparing",
    "READY": "order_ready",
    "IN_TRANSIT": "order_picked_up",
    "DELIVERED": "order_delivered",
    "CANCELLED": "order_cancelled",
    "REJECTED": "order_rejected",
}
TOLD_VENDOR = {
    "IN_TRANSIT": "order_picked_up",
    "DELIVERED": "order_delivered",
    "FUNDS_DISTRIBUTED": "order_settled",
}
TOLD_RIDER = {"FUNDS_DISTRIBUTED": "order_settled"}
# An app's own clock and the server's are one here; a resync covers what was said before it.
EXCUSED_MS = 1_000
# Commands that leave no receipt: repeating them is harmless by itself.
UNRECEIPTED = frozenset({"set_availability", "set_online", "subscribe_order", "place_order"})


class Finding(NamedTuple):
    """One promise: what was wrong, of how many that were looked at."""

    name: str
    wrong: list[str]
    of: int


@dataclass
class Facts:
    """What there is to judge: the record of the people and the raw items of the table."""

    record: Record
    items: Sequence[Raw]
    # Lines of the servers' logs that a run without bugs does not have.
    faults: Sequence[str] = field(default_factory=list)
    logs: int = 1

    @cached_property
    def orders(self) -> dict[str, Raw]:
        """Orders by their id."""
        return {i["orderId"]: i for i in self._at("ORDER#", "METADATA")}

    @cached_property
    def money(self) -> dict[str, Raw]:
        """What is kept of each order's money."""
        return {i["orderId"]: i for i in self._at("ORDER#", "FIN")}

    @cached_property
    def balances(self) -> dict[str, Raw]:
        """Accounts by their name."""
        found = self._at("WALLET#", "BALANCE")
        return {i["PK"].removeprefix("WALLET#"): i for i in found}

    @cached_property
    def lines(self) -> dict[str, list[Raw]]:
        """The numbered lines of each wallet."""
        found: dict[str, list[Raw]] = defaultdict(list)
        for item in self.items:
            if item["PK"].startswith("WALLET#") and item["SK"].startswith("TXN#"):
                found[item["PK"].removeprefix("WALLET#")].append(item)
        return found

    @cached_property
    def entries(self) -> list[Raw]:
        """Journal entries."""
        return [item for item in self.items if item["SK"].startswith("JE#")]

    @cached_property
    def duties(self) -> dict[str, Raw]:
        """What each rider carries and has done."""
        return {i["PK"].removeprefix("RIDER#"): i for i in self._at("RIDER#", "DUTY")}

    @cached_property
    def done(self) -> list[Ack]:
        """Commands that were answered with a yes."""
        return [ack for ack in self.record.acks if not ack.code]

    def of(self, command: str) -> list[Ack]:
        """Those of one command, each once though it was said twice."""
        said = {(a.who, a.payload.get("commandId") or a.order_id): a for a in reversed(self.done)}
        return [ack for ack in said.values() if ack.command == command]

    def _at(self, pk: str, sk: str) -> Iterator[Raw]:
        return (i for i in self.items if i["PK"].startswith(pk) and i["SK"] == sk)


# Orders.


def nothing_lost(facts: Facts) -> Finding:
    """Every order that was acknowledged is there, as it was placed."""
    placed = facts.of("place_order")
    wrong = [
        f"{ack.order_id} of {ack.who}"
        for ack in placed
        if f"user:{facts.orders.get(ack.order_id, {}).get('userId')}" != ack.who
    ]
    return Finding("orders_lost", wrong, len(placed))


def nothing_doubled(facts: Facts) -> Finding:
    """Every order that is there was acknowledged: repeating a request made no second one."""
    placed = {ack.order_id for ack in facts.of("place_order")}
    return Finding("orders_unasked", sorted(facts.orders.keys() - placed), len(facts.orders))


def all_ended(facts: Facts) -> Finding:
    """No order is left on its way, and no order's money and hands are."""
    wrong = [
        f"{o} is {i['status']}" for o, i in facts.orders.items() if i["status"] not in TERMINAL
    ]
    for rider, duty in facts.duties.items():
        held = [name for name in duty if name.startswith("carries_")]
        if held or duty.get("cnt", 0):
            wrong.append(f"{rider} still carries {held}, {duty.get('cnt')}")
    return Finding("orders_open", wrong, len(facts.orders))


def effects_there(facts: Facts) -> Finding:
    """What an acknowledged command did is to be seen in its order."""
    wrong: list[str] = []
    looked = [ack for ack in facts.done if ack.command in _EFFECT or ack.command in REACHED]
    for ack in looked:
        order = facts.orders.get(ack.order_id, {})
        reached = REACHED.get(ack.command)
        seen = reached in order.get("times", {}) if reached else _EFFECT[ack.command](ack, order)
        if not seen:
            wrong.append(f"{ack.command} of {ack.who} on {ack.order_id}")
    return Finding("effects_lost", wrong, len(looked))


def _was_his(ack: Ack, order: Raw) -> bool:
    dispatch, rider = order.get("dispatch", {}), ack.who.removeprefix("rider:")
    return dispatch.get("riderId") == rider or rider in dispatch.get("asked", {})


def _was_rated(ack: Ack, order: Raw) -> bool:
    return order.get("rating") == ack.payload["rating"]


_EFFECT: dict[str, Callable[[Ack, Raw], bool]] = {
    "accept_delivery": _was_his,
    "decline_delivery": _was_his,
    "release_delivery": _was_his,
    "rate_order": _was_rated,
}


def effects_once(facts: Facts) -> Finding:
    """Counters that a second effect would have raised twice say what was acknowledged."""
    wrong: list[str] = []
    said: Counter[tuple[str, str]] = Counter()
    for command, counter in (("complete_delivery", "delivered"), ("release_delivery", "givenBack")):
        for ack in facts.of(command):
            said[ack.who.removeprefix("rider:"), counter] += 1
    for ack in facts.of("rate_order"):
        rider = _rider_of(facts, ack)
        said[rider, "ratings"] += 1
        said[rider, "stars"] += ack.payload["rating"]
    for rider, duty in facts.duties.items():
        for counter in ("delivered", "givenBack", "ratings", "stars"):
            there, wanted = duty.get(counter, 0), said[rider, counter]
            if counter == "givenBack":
                wanted += _taken_away(facts, rider)
            if there != wanted:
                wrong.append(f"{rider} has {counter} {there}, not {wanted}")
    return Finding("effects_doubled", wrong, sum(said.values()))


def _rider_of(facts: Facts, ack: Ack) -> str:
    """Who carries the order in the end."""
    return str(facts.orders.get(ack.order_id, {}).get("dispatch", {}).get("riderId"))


def _taken_away(facts: Facts, rider: str) -> int:
    """Orders that the server took from a rider who did not come; they count as given back."""
    asked = [o.get("dispatch", {}).get("asked", {}).get(rider, {}) for o in facts.orders.values()]
    return sum(each.get("outcome") in ("vanished", "stalled") for each in asked)


def receipts_kept(facts: Facts) -> Finding:
    """Every acknowledged command is remembered with the very answer that was given."""
    kept = {i["PK"]: i for i in facts.items if i["SK"] == "RECEIPT"}
    looked = [ack for ack in facts.done if ack.command not in UNRECEIPTED]
    wrong = [
        f"{ack.command} of {ack.who}"
        for ack in looked
        if f"RECEIPT#{ack.who}#COMMAND#{ack.payload['commandId']}" not in kept
    ]
    return Finding("receipts_lost", wrong, len(looked))


def answers_equal(facts: Facts) -> Finding:
    """A command said twice is answered alike."""
    return Finding("answers_unequal", facts.record.unequal, facts.record.repeats)


# Riders.


def one_rider(facts: Facts) -> Finding:
    """No order was given to a rider while another had it."""
    wrong: list[str] = []
    accepted: dict[str, list[Ack]] = defaultdict(list)
    for ack in facts.of("accept_delivery"):
        accepted[ack.order_id].append(ack)
    released = {(ack.who, ack.order_id) for ack in facts.of("release_delivery")}
    for order_id, acks in accepted.items():
        asked = facts.orders.get(order_id, {}).get("dispatch", {}).get("asked", {})
        acks.sort(key=lambda ack: ack.data["version"])
        for ack in acks[:-1]:
            outcome = asked.get(ack.who.removeprefix("rider:"), {}).get("outcome")
            if (ack.who, order_id) not in released and outcome not in ("vanished", "stalled"):
                wrong.append(f"{order_id}: {ack.who} had it when {acks[-1].who} got it")
    return Finding("doubly_assigned", wrong, len(accepted))


def one_order(facts: Facts) -> Finding:
    """No rider had two orders at once: from the yes to when he began to say that he is done."""
    ends: dict[tuple[str, str], float] = {}
    for command in ("complete_delivery", "release_delivery"):
        ends |= {(a.who, a.order_id): a.asked_s for a in facts.of(command)}
    for ack in facts.of("cancel_order"):
        rider = _rider_of(facts, ack)
        ends.setdefault((f"rider:{rider}", ack.order_id), ack.asked_s)
    spans: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for ack in facts.of("accept_delivery"):
        end = ends.get((ack.who, ack.order_id), ack.told_s)
        spans[ack.who].append((ack.told_s, max(ack.told_s, end), ack.order_id))
    wrong: list[str] = []
    for who, held in spans.items():
        held.sort()
        wrong += [f"{who} had {a[2]} and {b[2]}" for a, b in pairwise(held) if b[0] < a[1]]
    return Finding("above_capacity", wrong, sum(map(len, spans.values())))


# Events.


def no_gaps(facts: Facts) -> Finding:
    """Each app's events are numbered without a gap, or a resync stands where they begin anew."""
    at: dict[str, tuple[str, int]] = {}
    wrong: list[str] = []
    of = 0
    for heard in facts.record.heard:
        epoch, seq = heard.body.get("epoch"), heard.body.get("seq")
        if epoch is None or seq is None:
            continue
        before = at.get(heard.who)
        at[heard.who] = (epoch, seq)
        of += 1
        if heard.name == "resync" or before in (None, (epoch, seq - 1)):
            continue
        # An inbox that was not there before begins at one.
        if before is None or before[0] == epoch or seq != 1:
            wrong.append(f"{heard.who}: {before} then {(epoch, seq)} {heard.name}")
    wrong += facts.record.missed
    return Finding("events_gaps", wrong, of)


def all_told(facts: Facts) -> Finding:
    """What an order went through was told to everyone in it, each thing once.

    Only what came before a resync may be missing, for the resync says so.
    """
    told: Counter[tuple[str, str, str]] = Counter()
    resync: dict[str, int] = {}
    for heard in facts.record.heard:
        if heard.name == "resync":
            resync[heard.who] = heard.at_ms
        told[heard.who, heard.name, heard.body.get("orderId", "")] += 1
    wrong: list[str] = []
    of = 0
    for who, name, order_id, at_ms in _due(facts):
        of += 1
        times = told[who, name, order_id]
        is_excused = at_ms <= resync.get(who, 0) + EXCUSED_MS
        if times > 1 or (times == 0 and not is_excused):
            wrong.append(f"{who} was told {name} of {order_id} {times} times")
    return Finding("events_wrong", wrong, of)


def excused(facts: Facts) -> int:
    """Events that nobody heard, but a resync stood for them."""
    told = {(h.who, h.name, h.body.get("orderId", "")) for h in facts.record.heard}
    return sum((who, name, order_id) not in told for who, name, order_id, _ in _due(facts))


def _due(facts: Facts) -> Iterator[tuple[str, str, str, int]]:
    """Who is to be told what of which order, and since when."""
    for order_id, order in facts.orders.items():
        rider = order.get("dispatch", {}).get("riderId")
        sides = [
            (f"user:{order['userId']}", TOLD_USER),
            (f"vendor:{order['vendorId']}", TOLD_VENDOR),
        ]
        if rider:
            sides.append((f"rider:{rider}", TOLD_RIDER))
        for who, names in sides:
            for status, at_ms in order.get("times", {}).items():
                if status in names:
                    yield who, names[status], order_id, at_ms


def nothing_unsaid(facts: Facts) -> Finding:
    """Nothing is left in the outbox."""
    left = [i["SK"] for i in facts.items if i["PK"].startswith("OUTBOX#")]
    return Finding("events_unsaid", left, len(facts.record.heard))


# Money.


def no_drift(facts: Facts) -> Finding:
    """All balances and every entry sum to zero, and nothing is left in escrow."""
    total = sum(int(i["posted"]) for i in facts.balances.values())
    wrong = [f"the books are off by {total}"] if total else []
    wrong += [
        f"{entry['PK']}/{entry['SK']} does not balance"
        for entry in facts.entries
        if sum(leg["amount"] for leg in entry["legs"]) != 0
    ]
    wrong += [f"{o} holds {i['escrow']}" for o, i in facts.money.items() if i["escrow"]]
    return Finding("money_drift", wrong, len(facts.entries))


def settled_once(facts: Facts) -> Finding:
    """Each delivered order was split once; those that were called off were not."""
    entries = Counter((e["PK"], e["SK"]) for e in facts.entries)
    ends = {"FUNDS_DISTRIBUTED": "SETTLED", "CANCELLED": "CANCELLED", "REJECTED": "CANCELLED"}
    wrong: list[str] = []
    for order_id, order in facts.orders.items():
        settled = entries[f"ORDER#{order_id}", "JE#SETTLE"]
        is_done = order["status"] == "FUNDS_DISTRIBUTED"
        state = facts.money.get(order_id, {}).get("finState")
        right = {ends.get(order["status"], ""), "VOID" if not is_done else "SETTLED"}
        if settled != is_done or state not in right:
            wrong.append(f"{order_id} is {order['status']}, settled {settled} times, {state}")
    return Finding("settled_wrong", wrong, len(facts.orders))


def wallets_add_up(facts: Facts) -> Finding:
    """Every wallet is the sum of its lines, which are numbered and chained without a gap."""
    wrong: list[str] = []
    for account, balance in facts.balances.items():
        lines = sorted(facts.lines.get(account, []), key=lambda line: line["seq"])
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
    return Finding("wallets_wrong", wrong, sum(map(len, facts.lines.values())))


def shares_right(facts: Facts) -> Finding:
    """Vendors and riders have what the contract gives them for what was delivered, to the franc."""
    earned: Counter[str] = Counter()
    done = [o for o in facts.orders.values() if o["status"] == "FUNDS_DISTRIBUTED"]
    for order in done:
        subtotal = order["pricing"]["subtotal"]
        earned[f"VENDOR#{order['vendorId']}"] += subtotal - subtotal * COMMISSION_BPS // 10_000
        earned[f"RIDER#{order['dispatch']['riderId']}"] += DELIVERY_FEE_XAF
    wrong = [
        f"{account} has {facts.balances.get(account, {}).get('posted', 0)}, not {amount}"
        for account, amount in earned.items()
        if facts.balances.get(account, {}).get("posted", 0) != amount
    ]
    return Finding("shares_wrong", wrong, len(done))


def no_faults(facts: Facts) -> Finding:
    """No server has logged a fault."""
    return Finding("faults", list(facts.faults), facts.logs)


CHECKS: Sequence[Callable[[Facts], Finding]] = (
    nothing_lost, nothing_doubled, all_ended, effects_there, effects_once, receipts_kept,
    answers_equal, one_rider, one_order, no_gaps, all_told, nothing_unsaid,
    no_drift, settled_once, wallets_add_up, shares_right, no_faults,
)  # fmt: skip


def judge(facts: Facts) -> list[Finding]:
    """Every promise, with what broke it."""
    return [check(facts) for check in CHECKS]
