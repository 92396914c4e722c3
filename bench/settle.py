"""Settlements: throughput of the ledger, and the cost of its code over the bare transaction.

`python -m bench.settle [--size smoke|full] [--seed N]`. bench/README.md describes each figure.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from bench.common.result_line import print_result
from bench.engines.minimal_dynamodb_client import AwsKeys, MinimalDynamoClient
from bench.engines.raw_baseline import WORKERS, LedgerComparison, running_product
from concurrency import backoff
from ledger.core.facts import Capture, Settle, TopUp
from ledger.core.order_funds import OrderFunds, mark_delivered
from ledger.core.pricing import DEFAULT_RATES, price_goods
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.fake import FakeDynamo, Latencies
from ledger.dynamodb.schema import ensure_table
from ledger.dynamodb.table import TableUnavailable
from ledger.posting.ledger import Ledger
from tests import virtual_time

TABLE = "bench"
# Platform account shards of all processes together. Source: handlers.app.setup.orders.
SHARDS = 64
VENDORS, RIDERS = 100, 100
# Settlements before those that count.
WARM_UP_ORDERS = 200
# The embedded engine accepts any credentials.
KEYS = AwsKeys("local", "local", "eu-west-1")
PRICING = price_goods(DEFAULT_RATES["FOOD"], 11_999)
# Source: bench/README.md.
GOALS = {"shards_per_s": 1_000.0, "shards_attempts": 1.05, "to_raw": 0.85}


class Size(NamedTuple):
    """Size of a run."""

    # On the fake: settlements in the largest load, in each other load, and concurrent callers.
    many: int
    few: int
    callers: int
    # On the embedded engine: rounds, and settlements of each worker in a round.
    rounds: int
    each: int


SIZES = {
    "smoke": Size(many=400, few=80, callers=64, rounds=2, each=4),
    "full": Size(many=4_000, few=500, callers=64, rounds=8, each=15),
}


class Load(NamedTuple):
    """Settlements on the fake DynamoDB: how many, by how many processes, of how many vendors.

    Without `are_funds_known` each settlement first reads the order's funds, and is not grouped.
    """

    orders: int
    shards: int = SHARDS
    processes: int = 1
    vendors: int = VENDORS
    are_funds_known: bool = True


class LoadResult(NamedTuple):
    """Result of a load; `attempts` are transactions for each settlement. Units: virtual seconds."""

    elapsed_s: float
    attempts: float
    failures: int

    def figures(self, name: str, count: int) -> dict[str, object]:
        """Settlements a second, attempts for each, and the number that failed."""
        return {
            f"{name}_per_s": round(count / self.elapsed_s, 1),
            f"{name}_attempts": round(self.attempts, 3),
            f"{name}_failures": self.failures,
        }


# On the fake DynamoDB, in virtual time.


class CountingDynamo(FakeDynamo):
    """A fake DynamoDB that counts the transactions sent to it."""

    writes = 0

    async def transact_write_items(self, **request: Any) -> dict[str, Any]:
        """TransactWriteItems."""
        self.writes += 1
        return await super().transact_write_items(**request)


def run_on_fake(load: Load, callers: int, seed: int) -> LoadResult:
    """Settle a load as fast as so many concurrent callers can; the same seed, the same result."""
    rng = random.Random(seed)
    # Seeded jitter, so that a run can be repeated.
    with backoff.jitter_from(rng):
        return virtual_time.run(_run_on_fake(load, callers, rng))


async def _run_on_fake(load: Load, callers: int, rng: random.Random) -> LoadResult:
    clock = virtual_time.clock()
    fake = CountingDynamo(clock.monotonic_s, clock.sleep, Latencies(round_trip_s=0.0, hold_s=0.0))
    table = DynamoTable(fake, TABLE)
    await ensure_table(table)
    shards = max(1, load.shards // load.processes)
    ledgers = [
        Ledger(table, clock.now_ms, shards, number * shards if load.shards > 1 else 0)
        for number in range(load.processes)
    ]
    funds = await _deliver_orders(load, ledgers[0], table, clock)
    fake.latencies = Latencies(spread=0.2)
    fake.faults.rng = rng
    # The first movement of an account is a different write from all that follow.
    await _settle(ledgers, funds[:WARM_UP_ORDERS], callers, are_funds_known=True)
    before = fake.writes
    began_s = clock.monotonic_s()
    failures = await _settle(
        ledgers, funds[WARM_UP_ORDERS:], callers, are_funds_known=load.are_funds_known
    )
    elapsed_s = clock.monotonic_s() - began_s
    return LoadResult(elapsed_s, (fake.writes - before) / load.orders, failures)


async def _deliver_orders(
    load: Load, ledger: Ledger, table: DynamoTable, clock: virtual_time.VirtualClock
) -> list[OrderFunds]:
    """Capture and deliver the orders of a load; their funds."""
    captured: list[OrderFunds] = []
    for number in range(load.orders + WARM_UP_ORDERS):
        order_id, user_id, vendor_id = f"o{number}", f"u{number}", f"v{number % load.vendors}"
        await ledger.post(TopUp(user_id, PRICING.total, "sandbox", f"p{number}"))
        await ledger.post(Capture(order_id, user_id, vendor_id, "WALLET", PRICING))
        delivered = mark_delivered(order_id, f"r{number % RIDERS}", clock.now_ms())
        await table.transact(delivered.writes)
        funds = await ledger.get_funds(order_id)
        assert funds is not None, "the order was captured"
        captured.append(funds)
    return captured


async def _settle(
    ledgers: Sequence[Ledger], funds: Sequence[OrderFunds], callers: int, *, are_funds_known: bool
) -> int:
    """Settle the orders by so many callers at a time; the number that failed."""
    waiting = iter(funds)
    failures = 0

    async def work(ledger: Ledger) -> None:
        nonlocal failures
        for order in waiting:
            try:
                await ledger.post(
                    Settle(order.order_id), expected_funds=order if are_funds_known else None
                )
            except TableUnavailable:
                failures += 1

    async with asyncio.TaskGroup() as group:
        for number in range(callers):
            group.create_task(work(ledgers[number % len(ledgers)]))
    return failures


def measure_on_fake(size: Size, seed: int) -> dict[str, object]:
    """Throughput with many vendors or one, with and without shards, by one process or four."""
    loads = {
        "shards": Load(size.many),
        "shards_of_four": Load(size.few, processes=4),
        "one_platform_item": Load(size.few, shards=1),
        "one_platform_item_of_four": Load(size.few, shards=1, processes=4),
        "one_vendor": Load(size.few, vendors=1),
        "one_vendor_one_by_one": Load(size.few, vendors=1, are_funds_known=False),
    }
    figures: dict[str, object] = {}
    for name, load in loads.items():
        figures |= run_on_fake(load, size.callers, seed).figures(name, load.orders)
    return figures


# On the embedded DynamoDB, in real time.


async def measure_on_engine(size: Size) -> dict[str, object]:
    """Settlements by the ledger, the same transactions raw, and raw through a minimal client."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with running_product(Path(folder)) as product:
            endpoint = product.table.client.meta.endpoint_url
            async with MinimalDynamoClient(endpoint, KEYS) as client:
                comparison = LedgerComparison(product, lean_client=client)
                await comparison.set_up()
                await comparison.place_orders(size.rounds * size.each)
                await comparison.deliver_orders()
                for _ in range(size.rounds):
                    await comparison.settle_orders(size.each, are_funds_known=True)
    settling = comparison.settling_known_funds
    return {**settling.figures("settle"), **settling.costs("settle")}


def missed_goals(figures: dict[str, object], *, timed: bool) -> list[str]:
    """The goals that were missed; that of real time only where `timed`, at full size."""
    held = {
        "shards_per_s": _number(figures, "shards_per_s") >= GOALS["shards_per_s"],
        "shards_attempts": _number(figures, "shards_attempts") <= GOALS["shards_attempts"],
        "shards_failures": not figures["shards_failures"],
        "settle_to_raw": not timed or _number(figures, "settle_to_raw") >= GOALS["to_raw"],
    }
    return [name for name, is_held in held.items() if not is_held]


def _number(figures: dict[str, object], name: str) -> float:
    value = figures[name]
    assert isinstance(value, int | float), "a figure is a number"
    return value


def main() -> None:
    """Run one size and print its line; exit 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="smoke")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    size = SIZES[given.size]
    figures = measure_on_fake(size, given.seed) | uvloop.run(measure_on_engine(size))
    figures["missed"] = missed_goals(figures, timed=given.size == "full")
    parameters = {"size": given.size, "seed": given.seed, "workers": WORKERS, **size._asdict()}
    print_result("settle", parameters, figures)
    sys.exit(1 if figures["missed"] else 0)


if __name__ == "__main__":
    main()
