"""Audits money: every entry balances, every wallet adds up, every order is settled once."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from tests.simulation.evidence import Evidence, Violation, decode_item, order_versions, rider_of

# Source: docs/contract.md, business rules; the platform's share of the subtotal.
COMMISSION_SHARES = {"FOOD": 0.15, "MART": 0.10}
PACKAGE_RIDER_SHARE = 0.8
# The funds state that fits each final status.
FINAL_FUNDS_STATES = {
    "FUNDS_DISTRIBUTED": {"SETTLED"},
    "CANCELLED": {"CANCELLED", "VOID"},
    "REJECTED": {"CANCELLED", "VOID"},
}
NON_NEGATIVE_OWNERS = ("USER#", "VENDOR#", "RIDER#")


def audit(evidence: Evidence) -> Iterator[Violation]:
    """All violations in the accounts."""
    items = {key: decode_item(raw) for key, raw in evidence.items.items()}
    entries = [item for (_, sk), item in items.items() if sk.startswith("JE#")]
    yield from _check_entries(entries)
    yield from _check_wallets(items, entries)
    finals = {
        order_id: versions[-1].order for order_id, versions in order_versions(evidence).items()
    }
    yield from _check_order_funds(items, entries, finals)
    yield from _check_owner_balances(evidence, items, finals)
    for record in evidence.records_of("request_answered", "ops:"):
        if record["path"] == "/admin/ledger/trial-balance" and record["data"]["total"] != 0:
            yield Violation("money", "trial balance", f"sums to {record['data']['total']}")


def _check_entries(entries: list[dict[str, Any]]) -> Iterator[Violation]:
    for entry in entries:
        total = sum(leg["amount"] for leg in entry["legs"])
        if total != 0:
            yield Violation("money", f"{entry['PK']}/{entry['SK']}", f"sums to {total}")


def _check_wallets(
    items: Mapping[tuple[str, str], dict[str, Any]], entries: list[dict[str, Any]]
) -> Iterator[Violation]:
    """A balance equals the sum of its entries, and its line count the number of its lines."""
    sums: defaultdict[str, int] = defaultdict(int)
    for entry in entries:
        for leg in entry["legs"]:
            sums[leg["account"]] += leg["amount"]
    line_counts: Counter[str] = Counter()
    for (pk, sk), item in items.items():
        if pk.startswith("WALLET#") and "balanceAfter" in item and sk != "BALANCE":
            line_counts[pk.removeprefix("WALLET#")] += 1
    for (pk, sk), item in items.items():
        if not pk.startswith("WALLET#") or sk != "BALANCE":
            continue
        account = pk.removeprefix("WALLET#")
        if item.get("posted", 0) != sums[account]:
            text = f"has {item.get('posted')}, its entries sum to {sums[account]}"
            yield Violation("money", account, text)
        if account.startswith(NON_NEGATIVE_OWNERS) and item.get("available", 0) < 0:
            yield Violation("money", account, f"is at {item['available']}")
        if item.get("seq", 0) != line_counts[account]:
            yield Violation(
                "money", account, f"has {line_counts[account]} lines, counts {item['seq']}"
            )


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
        subject, status = f"order:{order_id}", order["status"]
        funds = items.get((f"ORDER#{order_id}", "FUNDS"))
        if funds is None:
            yield Violation("money", subject, "has no funds record")
            continue
        if status in FINAL_FUNDS_STATES and funds["fundsState"] not in FINAL_FUNDS_STATES[status]:
            yield Violation("money", subject, f"{status}, its money is {funds['fundsState']}")
        if status in FINAL_FUNDS_STATES and funds.get("escrow", 0) != 0:
            yield Violation("money", subject, f"{status} with {funds['escrow']} in escrow")
        settled = kinds[order_id]["SETTLE"]
        if settled != (status == "FUNDS_DISTRIBUTED"):
            yield Violation("money", subject, f"{status}, settled {settled} times")
        if kinds[order_id]["CANCEL"] > (status in ("CANCELLED", "REJECTED")):
            yield Violation("money", subject, f"{status}, refunded")


def _check_owner_balances(
    evidence: Evidence,
    items: Mapping[tuple[str, str], dict[str, Any]],
    finals: Mapping[str, dict[str, Any]],
) -> Iterator[Violation]:
    """Each owner's balance equals what its orders and top-ups add up to."""
    expected: defaultdict[str, int] = defaultdict(int)
    amount_by_request = {
        (x["actor"], x["id"]): x["body"]["amount"]
        for x in evidence.records_of("request_sent", "user:")
        if x["path"] == "/wallet/topup"
    }
    answered = {(x["actor"], x["id"]) for x in evidence.records_of("request_answered", "user:")}
    for request in amount_by_request.keys() & answered:
        expected[f"USER#{request[0].partition(':')[2]}"] += amount_by_request[request]
    for order in finals.values():
        _add_expected_shares(order, expected)
    # A top-up without an answer may or may not have been paid.
    uncertain = {
        f"USER#{user.partition(':')[2]}" for user, _ in amount_by_request.keys() - answered
    }
    for account, amount in sorted(expected.items()):
        actual = items.get((f"WALLET#{account}", "BALANCE"), {}).get("posted", 0)
        if actual != amount and account not in uncertain:
            yield Violation("money", account, f"has {actual}, should have {amount}")


def _add_expected_shares(order: Mapping[str, Any], expected: defaultdict[str, int]) -> None:
    pricing, method, user = order["pricing"], order["payment"]["method"], order["userId"]
    if order["status"] in ("CANCELLED", "REJECTED"):
        # An order paid by mobile money is refunded to the wallet.
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
    vendor_share = 1 - COMMISSION_SHARES[order["orderType"]]
    expected[vendor] += _allow_rounding(pricing["vendorShare"], pricing["subtotal"] * vendor_share)


def _allow_rounding(share: int, exact: float) -> int:
    """The order's share, if it differs from the exact one only by rounding."""
    return share if abs(share - exact) < 1 else round(exact)
