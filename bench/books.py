"""Speed and memory of the ledger audit, and its false alarms on a ledger without faults.

`python -m bench.books [--lines N] [--seed N]`: orders are paid from wallets, delivered and settled
by the ledger's own functions into a file, by another process; then the whole file is audited.
"""

import argparse
import asyncio
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple, cast

import msgspec

from bench.common.result_line import print_result
from bench.engines.sqlite_table import SqliteTable, put_items
from ledger.core.accounts import balance_key
from ledger.core.entries import JournalEntry
from ledger.core.entry_planning import plan_entry
from ledger.core.facts import Capture, Fact, Settle, TopUp
from ledger.core.order_funds import (
    FundsState,
    OrderFunds,
    PaymentMethod,
    funds_key,
    hash_terms,
)
from ledger.core.pricing import DEFAULT_RATES, Pricing, price_goods
from ledger.dynamodb.table import Table
from ledger.posting.transaction import PostingPart, compose, wallet_legs
from ledger.records.wallets import Balance
from ledger.reporting.audit import Audit

START_MS = 1_763_000_000_000
# Orders an hour in a city, so that a large run spreads over days.
ORDER_INTERVAL_MS = 2_000
AUDIT_DELAY_MS = 60_000
USERS, VENDORS, RIDERS, SHARDS = 2_000, 200, 500, 64
# Source: bench/README.md. A line is one movement of a wallet.
LINES_PER_S, MEMORY_MB = 20_000, 256
LINES_PER_ORDER = 4
FULL_LINES = 1_000_000


class AuditRun(NamedTuple):
    """Result of one audit. Units: seconds."""

    breaks: list[str]
    lines: int
    entries: int
    elapsed_s: float
    cpu_s: float


class LedgerWriter:
    """Writes the ledger items of orders, from payment to settlement."""

    def __init__(self, table: SqliteTable, seed: int) -> None:
        self._table = table
        self._rng = random.Random(seed)
        self._balances: dict[str, Balance] = {}
        self._number = 0

    def write_order(self) -> None:
        """Write one order: a top-up, its payment and its settlement."""
        self._number += 1
        number, rng = self._number, self._rng
        now_ms = START_MS + number * ORDER_INTERVAL_MS
        user, vendor = f"u{rng.randrange(USERS)}", f"v{rng.randrange(VENDORS)}"
        pricing = price_goods(DEFAULT_RATES["FOOD"], rng.randrange(2_000, 50_000))
        order_id = f"o{number}"
        captured = _captured_funds(order_id, user, vendor, pricing)
        self._post(TopUp(user, pricing.total, "sandbox", f"p{number}"), None, now_ms)
        self._post(Capture(order_id, user, vendor, "WALLET", pricing), None, now_ms)
        rider = f"r{rng.randrange(RIDERS)}"
        delivered = msgspec.structs.replace(
            captured, funds_state=FundsState.DELIVERED, rider_id=rider
        )
        self._post(Settle(order_id), delivered, now_ms + 1)
        settled = msgspec.structs.replace(delivered, funds_state=FundsState.SETTLED, escrow=0)
        key = funds_key(order_id)
        item = {
            "PK": key.pk,
            "SK": key.sk,
            **msgspec.to_builtins(settled),
            "termsHash": hash_terms(settled),
        }
        self._table.put([item])

    def _post(self, fact: Fact, funds: OrderFunds | None, now_ms: int) -> None:
        entry = plan_entry(fact, funds, self._number % SHARDS)
        assert isinstance(entry, JournalEntry), "no fact of this bench is refused"
        legs = wallet_legs(entry)
        before = [self._balances.get(leg.account) or Balance(account=leg.account) for leg in legs]
        draft = compose(PostingPart(entry, (), ()), before, now_ms)
        self._balances |= {balance.account: balance for balance in draft.balances}
        self._table.put(item for item in put_items(draft) if item["SK"] != "BALANCE")

    def write_balances(self) -> None:
        """Write the final balances, once at the end."""
        for account, balance in self._balances.items():
            key = balance_key(account)
            self._table.put([{"PK": key.pk, "SK": key.sk, **msgspec.to_builtins(balance)}])
        self._table.flush()


def _captured_funds(order_id: str, user: str, vendor: str, pricing: Pricing) -> OrderFunds:
    return OrderFunds(
        order_id=order_id,
        funds_state=FundsState.CAPTURED,
        method=PaymentMethod.WALLET,
        user_id=user,
        vendor_id=vendor,
        pricing=pricing,
        escrow=pricing.gross,
    )


def _order_count(lines: int) -> int:
    return -(-lines // LINES_PER_ORDER)


def build_ledger(path: Path, lines: int, seed: int) -> None:
    """Write a ledger of at least so many lines into a file."""
    table = SqliteTable(path)
    table.create()
    writer = LedgerWriter(table, seed)
    for _ in range(_order_count(lines)):
        writer.write_order()
    writer.write_balances()
    table.close()


async def audit_ledger(path: Path, lines: int) -> AuditRun:
    """Audit the whole ledger, at a time one minute after its last order."""
    table = SqliteTable(path)
    ended_ms = START_MS + (_order_count(lines) + 1) * ORDER_INTERVAL_MS + AUDIT_DELAY_MS
    # The audit only reads, and this table can only be read.
    audit = Audit(cast("Table", table), lambda: ended_ms)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    breaks = [str(each) async for each in audit.find_breaks()]
    passed_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    table.close()
    return AuditRun(breaks, audit.line_count, audit.entry_count, passed_s, cpu_s)


def main() -> None:
    """Write and audit one ledger, and print the line; exit 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=20_000, help=f"{FULL_LINES} is the full size")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder) / "ledger"
        # In another process, so that the memory of writing is not counted for the audit.
        builder = multiprocessing.get_context("spawn").Process(
            target=build_ledger, args=(path, given.lines, given.seed)
        )
        builder.start()
        builder.join()
        run = asyncio.run(audit_ledger(path, given.lines))
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures: dict[str, object] = {
        "lines": run.lines,
        "entries": run.entries,
        "lines_per_s": round(run.lines / run.elapsed_s),
        "lines_per_cpu_s": round(run.lines / run.cpu_s),
        "memory_mb": round(memory_mb),
        "false_alarms": len(run.breaks),
        "first": run.breaks[:3],
    }
    print_result("books", {"lines": given.lines, "seed": given.seed}, figures)
    is_slow = given.lines >= FULL_LINES and run.lines / run.cpu_s < LINES_PER_S
    sys.exit(1 if run.breaks or is_slow or memory_mb > MEMORY_MB else 0)


if __name__ == "__main__":
    main()
