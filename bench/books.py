"""How fast the books are verified, in how much memory, and whether right books are called right.

`python -m bench.books [--lines N] [--seed N]`: orders are paid from wallets, delivered and settled
by the ledger's own functions into a file, which is then verified whole, in a process of its own.
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

from bench.common.result_line import print_line
from bench.engines.sqlite_table import Shelf, items_of
from ledger.core.accounts import balance_key
from ledger.core.entries import JournalEntry
from ledger.core.facts import Capture, Fact, Settle, TopUp
from ledger.core.order_funds import (
    Fin,
    FinState,
    Method,
    fin_key,
    terms_of,
)
from ledger.core.plan import plan
from ledger.core.pricing import DEFAULT_RATES, Pricing, price_goods
from ledger.dynamodb.table import Table
from ledger.posting.transaction import compose, wallet_legs
from ledger.records.wallets import Balance
from ledger.reporting.audit import Audit

START_MS = 1_763_000_000_000
# Orders an hour in a city, so that a large run spreads over days.
APART_MS = 2_000
AFTER_MS = 60_000
USERS, VENDORS, RIDERS, LANES = 2_000, 200, 500, 64
# Source: ledger design, figures. A line is one movement of a wallet.
LINES_PER_S, MEMORY_MB = 20_000, 256
LINES_PER_ORDER = 4
FULL = 1_000_000


class Verified(NamedTuple):
    """What came of one look. Units: seconds."""

    breaks: list[str]
    lines: int
    entries: int
    took_s: float
    cpu_s: float


class Town:
    """Writes orders into a shelf, from their payment to their settlement."""

    def __init__(self, shelf: Shelf, seed: int) -> None:
        self._shelf = shelf
        self._chance = random.Random(seed)
        self._balances: dict[str, Balance] = {}
        self._number = 0

    def order(self) -> None:
        """One order: a top-up, its payment, its settlement."""
        self._number += 1
        number, chance = self._number, self._chance
        now_ms = START_MS + number * APART_MS
        user, vendor = f"u{chance.randrange(USERS)}", f"v{chance.randrange(VENDORS)}"
        pricing = price_goods(DEFAULT_RATES["FOOD"], chance.randrange(2_000, 50_000))
        order_id = f"o{number}"
        fin = _fin(order_id, user, vendor, pricing)
        self._post(TopUp(user, pricing.total, "sandbox", f"p{number}"), None, now_ms)
        self._post(Capture(order_id, user, vendor, "WALLET", pricing), None, now_ms)
        rider = f"r{chance.randrange(RIDERS)}"
        ready = msgspec.structs.replace(fin, fin_state=FinState.DELIVERED, rider_id=rider)
        self._post(Settle(order_id), ready, now_ms + 1)
        over = msgspec.structs.replace(ready, fin_state=FinState.SETTLED, escrow=0)
        key = fin_key(order_id)
        kept = {"PK": key.pk, "SK": key.sk, **msgspec.to_builtins(over), "terms": terms_of(over)}
        self._shelf.put([kept])

    def _post(self, fact: Fact, fin: Fin | None, now_ms: int) -> None:
        entry = plan(fact, fin, self._number % LANES)
        assert isinstance(entry, JournalEntry), "the town does nothing that is refused"
        legs = wallet_legs(entry)
        before = [self._balances.get(leg.account) or Balance(account=leg.account) for leg in legs]
        draft = compose(entry, (), (), before, now_ms)
        self._balances |= {balance.account: balance for balance in draft.balances}
        self._shelf.put(item for item in items_of(draft) if item["SK"] != "BALANCE")

    def close(self) -> None:
        """Write the balances, once, as they stand in the end."""
        for account, balance in self._balances.items():
            key = balance_key(account)
            self._shelf.put([{"PK": key.pk, "SK": key.sk, **msgspec.to_builtins(balance)}])
        self._shelf.flush()


def _fin(order_id: str, user: str, vendor: str, pricing: Pricing) -> Fin:
    return Fin(
        order_id=order_id,
        fin_state=FinState.CAPTURED,
        method=Method.WALLET,
        user_id=user,
        vendor_id=vendor,
        pricing=pricing,
        escrow=pricing.gross,
    )


def _orders(lines: int) -> int:
    return -(-lines // LINES_PER_ORDER)


def build(path: Path, lines: int, seed: int) -> None:
    """Write books of at least so many lines."""
    shelf = Shelf(path)
    shelf.make()
    town = Town(shelf, seed)
    for _ in range(_orders(lines)):
        town.order()
    town.close()
    shelf.close()


async def verify(path: Path, lines: int) -> Verified:
    """Look at all of it, a minute after its last order."""
    shelf = Shelf(path)
    ended_ms = START_MS + (_orders(lines) + 1) * APART_MS + AFTER_MS
    # It only reads, and a shelf is only read.
    audit = Audit(cast("Table", shelf), lambda: ended_ms)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    breaks = [str(each) async for each in audit.breaks()]
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    shelf.close()
    return Verified(breaks, audit.lines, audit.entries, took_s, cpu_s)


def main() -> None:
    """Verify one town's books and print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=20_000, help=f"Full size: {FULL}.")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="books-") as folder:
        path = Path(folder) / "books"
        # What the books were made with is not the memory of who verifies them.
        builder = multiprocessing.get_context("spawn").Process(
            target=build, args=(path, given.lines, given.seed)
        )
        builder.start()
        builder.join()
        came = asyncio.run(verify(path, given.lines))
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures: dict[str, object] = {
        "lines": came.lines,
        "entries": came.entries,
        "lines_per_s": round(came.lines / came.took_s),
        "lines_per_cpu_s": round(came.lines / came.cpu_s),
        "memory_mb": round(memory_mb),
        "false_alarms": len(came.breaks),
        "first": came.breaks[:3],
    }
    print_line("books", {"lines": given.lines, "seed": given.seed}, figures)
    slow = given.lines >= FULL and came.lines / came.cpu_s < LINES_PER_S
    sys.exit(1 if came.breaks or slow or memory_mb > MEMORY_MB else 0)


if __name__ == "__main__":
    main()
