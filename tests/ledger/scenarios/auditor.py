"""Independent audit of all items of a table; shares no code with the ledger."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from ledger.dynamodb.attribute_values import from_item
from ledger.dynamodb.fake import FakeDynamo

Item = dict[str, Any]
Items = Mapping[tuple[str, str], Item]

GENESIS = "0" * 64
TERMINAL_STATES = frozenset({"SETTLED", "CANCELLED", "VOID"})
# Funds states that an order's status allows.
FUNDS_STATES_OF_STATUS = {
    "DELIVERED": frozenset({"DELIVERED"}),
    "FUNDS_DISTRIBUTED": frozenset({"SETTLED"}),
    "REJECTED": frozenset({"CANCELLED", "VOID"}),
    "CANCELLED": frozenset({"CANCELLED", "VOID"}),
}
BEFORE_DELIVERY = frozenset({"NONE", "DUE", "CAPTURED"})


def items_of(fake: FakeDynamo, table: str) -> Items:
    """All current items, sorted by key."""
    images = sorted(fake.tables[table].items.items())
    return {key: from_item(image) for key, image in images}


def find_breaks(items: Items) -> list[str]:
    """Every inconsistency, in words; none for a correct ledger."""
    entries = {place: item for place, item in items.items() if place[1].startswith("JE#")}
    moved: dict[str, int] = defaultdict(int)
    claimed: dict[tuple[str, str], tuple[str, Item]] = {}
    found: list[str] = []
    for (pk, sk), entry in entries.items():
        found += _check_entry(f"{pk}/{sk}", entry, moved, claimed)
    found += _check_lines(items, claimed)
    wallets = {pk[7:]: item for (pk, sk), item in items.items() if sk == "BALANCE"}
    for account, item in wallets.items():
        found += [*_check_wallet(account, item, items), *_check_available(account, item)]
    escrows = {f"ORDER#{i['orderId']}": i for (_, sk), i in items.items() if sk == "FUNDS"}
    found += [
        each for account, funds in escrows.items() for each in _check_order(account, funds, items)
    ]
    balances = {account: item["posted"] for account, item in wallets.items()}
    balances |= {account: funds["escrow"] for account, funds in escrows.items()}
    for account in sorted(balances.keys() | moved.keys()):
        if balances.get(account, 0) != moved[account]:
            found.append(f"{account} has {balances.get(account)}, its entries {moved[account]}")
    if sum(balances.values()):
        found.append(f"all accounts sum to {sum(balances.values())}")
    found += [
        *_check_cash(items, wallets),
        *_check_payments(items),
        *_check_payouts(items, wallets),
    ]
    found += [*_check_promotions(items), *_check_workloads(items), *_check_unpaid(items)]
    return found


def unsettled_orders(items: Items) -> list[str]:
    """Orders that are delivered and not settled."""
    funds_items = [item for (_, sk), item in items.items() if sk == "FUNDS"]
    return [funds["orderId"] for funds in funds_items if funds["fundsState"] == "DELIVERED"]


def _check_entry(
    name: str,
    entry: Item,
    moved: dict[str, int],
    claimed: dict[tuple[str, str], tuple[str, Item]],
) -> Iterator[str]:
    if sum(leg["amount"] for leg in entry["legs"]):
        yield f"{name} does not sum to zero"
    accounts = [leg["account"] for leg in entry["legs"]]
    if len(set(accounts)) < len(accounts):
        yield f"{name} has two legs of one account"
    for leg in entry["legs"]:
        moved[leg["account"]] += leg["amount"]
        if not leg["amount"]:
            yield f"{name} has an empty leg"
        if "seq" in leg:
            place = (f"WALLET#{leg['account']}", f"TXN#{leg['seq']:012d}")
            if place in claimed:
                yield f"{place} belongs to {claimed[place][0]} and {name}"
            claimed[place] = (name, leg)


def _check_lines(items: Items, claimed: dict[tuple[str, str], tuple[str, Item]]) -> Iterator[str]:
    lines = {place: item for place, item in items.items() if place[1].startswith("TXN#")}
    for place in sorted(claimed.keys() - lines.keys()):
        yield f"{claimed[place][0]} has no line {place}"
    for place, line in lines.items():
        name, leg = claimed.get(place, (None, {}))
        stated = (line["entry"], line["amount"], line["balanceAfter"])
        if stated != (name, leg.get("amount"), leg.get("after")):
            yield f"{place} says {stated}, its entry {name} {leg}"


def _check_wallet(account: str, balance: Item, items: Items) -> Iterator[str]:
    if "seq" not in balance:
        return
    before, head = 0, GENESIS
    for seq in range(1, balance["seq"] + 1):
        line = items.get((f"WALLET#{account}", f"TXN#{seq:012d}"))
        if line is None:
            yield f"{account} has no line {seq} of {balance['seq']}"
            return
        if (line["seq"], line["balanceBefore"], line["prev"]) != (seq, before, head):
            yield f"{account} line {seq} does not follow the one before"
        if line["balanceBefore"] + line["amount"] != line["balanceAfter"]:
            yield f"{account} line {seq} does not add up"
        if _hash(account, line) != line["hash"]:
            yield f"{account} line {seq} has another hash"
        before, head = line["balanceAfter"], line["hash"]
    if (balance["posted"], balance["head"]) != (before, head):
        yield f"{account} does not have the balance of its last line"
    if (f"WALLET#{account}", f"TXN#{balance['seq'] + 1:012d}") in items:
        yield f"{account} has a line after the last one of its balance"


def _check_available(account: str, balance: Item) -> Iterator[str]:
    if "available" not in balance or account.startswith("RIDERCASH#"):
        return
    if balance["available"] != balance["posted"] - balance["held"]:
        yield f"{account} may spend {balance['available']} of {balance['posted']}"
    if balance["available"] < 0 or balance["held"] < 0:
        yield f"{account} is below zero"


def _hash(account: str, line: Item) -> str:
    names = ("prev", "seq", "amount", "balanceBefore", "balanceAfter", "category", "entry")
    body = [account, *(line[name] for name in names), line["createdAt"]]
    return hashlib.sha256(orjson.dumps(body)).hexdigest()


def _check_order(account: str, funds: Item, items: Items) -> Iterator[str]:
    state = funds["fundsState"]
    if state in TERMINAL_STATES and funds["escrow"]:
        yield f"{account} is {state} and holds {funds['escrow']}"
    settled = (account, "JE#SETTLE") in items
    if settled != (state == "SETTLED"):
        yield f"{account} is {state}, its settlement {'stands' if settled else 'is missing'}"
    order = items.get((account, "METADATA"))
    if order is not None:
        allowed = FUNDS_STATES_OF_STATUS.get(order["status"], BEFORE_DELIVERY)
        if state not in allowed:
            yield f"{account} is {order['status']} and its money {state}"


def _check_cash(items: Items, wallets: Mapping[str, Item]) -> Iterator[str]:
    held: dict[str, int] = defaultdict(int)
    for (_, sk), hold in items.items():
        if sk == "HOLD#CASH" and hold["holdState"] == "OPEN":
            held[f"RIDERCASH#{hold['riderId']}"] += hold["amount"]
    riders = {a: w for a, w in wallets.items() if a.startswith("RIDERCASH#")}
    for account in sorted(held.keys() | riders.keys()):
        wallet = riders.get(account, {"held": 0, "posted": 0, "exposure": 0})
        if wallet["held"] != held[account]:
            yield f"{account} holds {wallet['held']}, open holds are {held[account]}"
        if wallet["exposure"] != wallet["held"] - wallet["posted"] or wallet["posted"] > 0:
            yield f"{account} is exposed by {wallet['exposure']}"


def _check_payments(items: Items) -> Iterator[str]:
    paid = [i for (_, sk), i in items.items() if sk == "PAYMENT" and i["paymentState"] == "SUCCESS"]
    legs = [
        leg
        for (_, sk), entry in items.items()
        if sk in ("JE#TOPUP", "JE#CAPTURE")
        for leg in entry["legs"]
    ]
    received = sum(-leg["amount"] for leg in legs if leg["account"].startswith("CLEARING#"))
    if sum(payment["amount"] for payment in paid) != received:
        yield f"providers paid {sum(p['amount'] for p in paid)}, the books took {received}"


def _check_payouts(items: Items, wallets: Mapping[str, Item]) -> Iterator[str]:
    held: dict[str, int] = defaultdict(int)
    for (pk, sk), payout in items.items():
        if not (pk.startswith("PAYOUT#") and sk == "REQUEST"):
            continue
        state = payout["payoutState"]
        if state in ("REQUESTED", "APPROVED", "SUBMITTED"):
            held[f"{payout['ownerType']}#{payout['ownerId']}"] += payout["amount"]
        if ((pk, "JE#PAID") in items) != (state in ("PAID", "RETURNED")):
            yield f"{pk} is {state}, its entry is not"
    for account, wallet in wallets.items():
        if account.startswith(("VENDOR#", "RIDER#")) and wallet["held"] != held[account]:
            yield f"{account} holds {wallet['held']}, its payouts {held[account]}"


def _check_promotions(items: Items) -> Iterator[str]:
    """A promotion has spent what its orders' discounts come to, and counts each use."""
    spent: dict[str, int] = defaultdict(int)
    uses: dict[tuple[str, str], int] = defaultdict(int)
    for (_, sk), order in items.items():
        if sk == "METADATA" and "promoCode" in order and not _is_discount_returned(order, items):
            pk = f"PROMOTION#{order['promoCode']}"
            spent[pk] += order["pricing"]["discount"]
            uses[pk, f"USER#{order['userId']}"] += 1
    for (pk, sk), item in items.items():
        if pk.startswith("PROMOTION#") and sk.startswith("USER#") and item["used"] != uses[pk, sk]:
            yield f"{sk} has used {pk} {item['used']} times, in {uses[pk, sk]} orders"
        if sk != "PROMOTION":
            continue
        if item["spent"] != spent[pk] or item["spent"] > item["budget"]:
            yield f"{pk} has spent {item['spent']}, its orders {spent[pk]}"


def _is_discount_returned(order: Item, items: Items) -> bool:
    if order["status"] not in ("CANCELLED", "REJECTED"):
        return False
    entry = items.get((f"ORDER#{order['orderId']}", "JE#CANCEL"), {"legs": []})
    back = sum(x["amount"] for x in entry["legs"] if x["account"].startswith("PLATFORM#PROMO"))
    # It was never paid, or the discount was paid back.
    is_paid = (f"ORDER#{order['orderId']}", "JE#CAPTURE") in items
    return not is_paid or back == order["pricing"]["discount"]


def _check_unpaid(items: Items) -> Iterator[str]:
    """Each customer's counter is the number and price of its unpaid orders."""
    expected: dict[str, list[int]] = defaultdict(list)
    for (_, sk), order in items.items():
        is_counted = sk == "METADATA" and order.get("countsAsUnpaid")
        if is_counted and order["payment"]["state"] in ("PENDING", "FAILED", "DUE"):
            expected[order["userId"]].append(order["pricing"]["total"])
    counters = {pk.removeprefix("USER#"): i for (pk, sk), i in items.items() if sk == "UNPAID"}
    for user_id in sorted(expected.keys() | counters.keys()):
        counted = counters.get(user_id, {"unpaidOrders": 0, "unpaidXaf": 0})
        actual = (counted["unpaidOrders"], counted["unpaidXaf"])
        if actual != (len(expected[user_id]), sum(expected[user_id])):
            yield f"{user_id} counts {actual} unpaid, has {expected[user_id]}"


def _check_workloads(items: Items) -> Iterator[str]:
    for (pk, sk), workload in items.items():
        if sk != "WORKLOAD":
            continue
        carried = [
            name.removeprefix("carries_") for name in workload if name.startswith("carries_")
        ]
        if workload.get("orderCount", 0) != len(carried):
            yield f"{pk} counts {workload.get('orderCount')} orders and carries {carried}"
        for order_id in carried:
            order = items[f"ORDER#{order_id}", "METADATA"]
            if order["dispatch"]["riderId"] != pk.removeprefix("RIDER#"):
                yield f"{pk} carries {order_id}, which another rider is assigned to"
