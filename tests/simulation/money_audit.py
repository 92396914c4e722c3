"""Judges money: every entry balances, every wallet adds up, every order is settled once."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from tests.simulation.evidence import Evidence, Violation, decode_item, order_versions, rider_of

# Source: wire contract, business rules; the platform's share of the subtotal.
COMMISSION_SHARES = {"FOOD": 0.15, "MART": 0.10}
PACKAGE_RIDER_SHARE = 0.8
# How an order's money stands when the order has ended.
FINAL_FUNDS_STATES = {
    "FUNDS_DISTRIBUTED": {"SETTLED"},
    "CANCELLED": {"CANCELLED", "VOID"},
    "REJECTED": {"CANCELLED", "VOID"},
}
NON_NEGATIVE_OWNERS = ("USER#", "VENDOR#", "RIDER#")


def audit(evidence: Evidence) -> Iterator[Violation]:
    """Everything that is wrong with the money."""
    items = {place: decode_item(raw) for place, raw in evidence.items.items()}
    entries = [item for (_, sk), item in items.items() if sk.startswith("JE#")]
    yield from _check_entries(entries)
    yield from _check_wallets(items, entries)
    finals = {
        order_id: versions[-1].order for order_id, versions in order_versions(evidence).items()
    }
    yield from _check_order_funds(items, entries, finals)
    yield from _check_owner_balances(evidence, items, finals)
    for line in evidence.records_of("told", "ops:"):
        if line["path"] == "/admin/ledger/trial-balance" and line["data"]["total"] != 0:
            yield Violation("money", "trial balance", f"sums to {line['data']['total']}")


def _check_entries(entries: list[dict[str, Any]]) -> Iterator[Violation]:
    for entry in entries:
        total = sum(leg["amount"] for leg in entry["legs"])
        if total != 0:
            yield Violation("money", f"{entry['PK']}/{entry['SK']}", f"sums to {total}")


def _check_wallets(
    items: Mapping[tuple[str, str], dict[str, Any]], entries: list[dict[str, Any]]
) -> Iterator[Violation]:
    """A balance is what its entries and its lines say."""
    moved: defaultdict[str, int] = defaultdict(int)
    for entry in entries:
        for leg in entry["legs"]:
            moved[leg["account"]] += leg["amount"]
    lines: Counter[str] = Counter()
    for (pk, sk), item in items.items():
        if pk.startswith("WALLET#") and "balanceAfter" in item and sk != "BALANCE":
            lines[pk.removeprefix("WALLET#")] += 1
    for (pk, sk), item in items.items():
        if not pk.startswith("WALLET#") or sk != "BALANCE":
            continue
        account = pk.removeprefix("WALLET#")
        if item.get("posted", 0) != moved[account]:
            text = f"has {item.get('posted')}, its entries sum to {moved[account]}"
            yield Violation("money", account, text)
        if account.startswith(NON_NEGATIVE_OWNERS) and item.get("available", 0) < 0:
            yield Violation("money", account, f"is at {item['available']}")
        if item.get("seq", 0) != lines[account]:
            yield Violation("money", account, f"has {lines[account]} lines, counts {item['seq']}")


def _check_order_funds(
    items: Mapping[tuple[str, str], dict[str, Any]],
    entries: list[dict[str, Any]],
    finals: Mapping[str, dict[str, Any]],
) -> Iterator[Violation]:
    kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for entry in entries:
        if entry.get("orderId"):
            kinds[entry["orderId"]][entry["kind"]] += 1
    for order_id, order in finals.items():
        about, status = f"order:{order_id}", order["status"]
        fin = items.get((f"ORDER#{order_id}", "FUNDS"))
        if fin is None:
            yield Violation("money", about, "nobody knows of its money")
            continue
        if status in FINAL_FUNDS_STATES and fin["fundsState"] not in FINAL_FUNDS_STATES[status]:
            yield Violation("money", about, f"{status}, its money is {fin['fundsState']}")
        if status in FINAL_FUNDS_STATES and fin.get("escrow", 0) != 0:
            yield Violation("money", about, f"{status} with {fin['escrow']} in escrow")
        settled = kinds[order_id]["SETTLE"]
        if settled != (status == "FUNDS_DISTRIBUTED"):
            yield Violation("money", about, f"{status}, settled {settled} times")
        if kinds[order_id]["CANCEL"] > (status in ("CANCELLED", "REJECTED")):
            yield Violation("money", about, f"{status}, refunded")


def _check_owner_balances(
    evidence: Evidence,
    items: Mapping[tuple[str, str], dict[str, Any]],
    finals: Mapping[str, dict[str, Any]],
) -> Iterator[Violation]:
    """Each side has what the orders and top-ups that it knows of make."""
    due: defaultdict[str, int] = defaultdict(int)
    asked = {
        (x["who"], x["id"]): x["body"]["amount"]
        for x in evidence.records_of("asks", "user:")
        if x["path"] == "/wallet/topup"
    }
    told = {(x["who"], x["id"]) for x in evidence.records_of("told", "user:")}
    for request in asked.keys() & told:
        due[f"USER#{request[0].partition(':')[2]}"] += asked[request]
    for order in finals.values():
        _add_expected_shares(order, due)
    # Of one that was asked for and never told nobody knows whether it was paid.
    unsure = {f"USER#{who.partition(':')[2]}" for who, _ in asked.keys() - told}
    for account, amount in sorted(due.items()):
        has = items.get((f"WALLET#{account}", "BALANCE"), {}).get("posted", 0)
        if has != amount and account not in unsure:
            yield Violation("money", account, f"has {has}, should have {amount}")


def _add_expected_shares(order: Mapping[str, Any], expected: defaultdict[str, int]) -> None:
    pricing, method, user = order["pricing"], order["payment"]["method"], order["userId"]
    if order["status"] in ("CANCELLED", "REJECTED"):
        # What came by mobile money goes back into the wallet.
        expected[f"USER#{user}"] += pricing["total"] if method == "MOBILE_MONEY" else 0
        return
    if method == "WALLET":
        expected[f"USER#{user}"] -= pricing["total"]
    if order["status"] != "FUNDS_DISTRIBUTED":
        return
    rider, vendor = f"RIDER#{rider_of(order)}", f"VENDOR#{order.get('vendorId')}"
    if method == "CASH":
        expected[f"RIDERCASH#{rider_of(order)}"] -= pricing["total"]
    if order["orderType"] == "PACKAGE":
        expected[rider] += _allow_rounding(
            pricing["riderShare"], pricing["total"] * PACKAGE_RIDER_SHARE
        )
        return
    expected[rider] += pricing["deliveryFee"]
    kept = 1 - COMMISSION_SHARES[order["orderType"]]
    expected[vendor] += _allow_rounding(pricing["vendorShare"], pricing["subtotal"] * kept)


def _allow_rounding(share: int, exact: float) -> int:
    """A share as the order has it, where it is the rules' but for rounding."""
    return share if abs(share - exact) < 1 else round(exact)
