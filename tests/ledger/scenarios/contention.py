"""Contention: many callers settle the same orders while the table conflicts and loses replies.

Full size: `python -m tests.ledger.scenarios.contention --callers 64 --orders 1000 --seeds 10`.
"""

import asyncio
import random
import sys
import time
from collections import Counter

import click
import msgspec

from bench.common.result_line import print_result
from ledger.core.facts import Capture, Settle, TopUp
from ledger.core.order_funds import mark_delivered
from ledger.core.pricing import DEFAULT_RATES, price_goods
from ledger.dynamodb.fake import FakeDynamo, Fault, FaultInjector, Latencies
from ledger.dynamodb.table import TableUnavailable
from ledger.posting.ledger import Ledger
from ledger.posting.transaction import PostedEntry
from tests import virtual_time
from tests.ledger.scenarios.auditor import find_breaks
from tests.ledger.scenarios.cluster import ServerCluster, ServerNode, silence_logs
from tests.ledger.scenarios.seeded_randomness import seed_randomness

# Nodes; callers of one node share its locks and caches.
PROCESSES = 8
VENDORS, RIDERS = 20, 50
# Callers work through the orders in groups of so many, each in an order of its own.
GROUP_ORDERS = 8
# Concurrent writers while the orders are created, before faults are injected.
WRITERS_AT_ONCE = 16
PRICING = price_goods(DEFAULT_RATES["FOOD"], 11_999)


class ContentionSize(msgspec.Struct, frozen=True):
    """Size of a run."""

    callers: int
    orders: int
    conflicts: float
    lost: float


class ContentionResult(msgspec.Struct, frozen=True):
    """Result of one seed. Units: virtual seconds."""

    entries: int
    equal_answers: int
    unavailable: int
    breaks: list[str]
    attempts: int
    faults: dict[str, int]
    duration_s: float


async def _make_order(node: ServerNode, number: int) -> str:
    order_id = f"o{number}"
    user_id = f"u{number}"
    await node.ledger.post(TopUp(user_id, PRICING.total, "sandbox", f"p{number}"))
    vendor_id = f"v{number % VENDORS}"
    await node.ledger.post(Capture(order_id, user_id, vendor_id, "WALLET", PRICING))
    delivered = mark_delivered(order_id, f"r{number % RIDERS}", node.clock.now_ms())
    await node.table.transact(delivered.writes)
    return order_id


async def _make_orders(node: ServerNode, count: int) -> list[str]:
    made: list[str] = []
    for start in range(0, count, WRITERS_AT_ONCE):
        numbers = range(start, min(start + WRITERS_AT_ONCE, count))
        made += await asyncio.gather(*(_make_order(node, number) for number in numbers))
    return made


async def _settle_all(
    ledger: Ledger, orders: list[str], rng: random.Random
) -> tuple[dict[str, PostedEntry], int]:
    """One caller: settles every order, and repeats where the table was unavailable."""
    posted: dict[str, PostedEntry] = {}
    unavailable = 0
    for start in range(0, len(orders), GROUP_ORDERS):
        group = orders[start : start + GROUP_ORDERS]
        for order_id in rng.sample(group, len(group)):
            while order_id not in posted:
                try:
                    posted[order_id] = await ledger.post(Settle(order_id))
                except TableUnavailable:
                    unavailable += 1
    return posted, unavailable


def _comparable(posted: PostedEntry) -> object:
    return posted.entry_id, sorted(posted.lines.items()), posted.total


async def _run_contention(seed: int, size: ContentionSize, rng: random.Random) -> ContentionResult:
    cluster = ServerCluster(Latencies(spread=0.5, index_lag_s=1.0))
    orders = await _make_orders(await cluster.start(), size.orders)
    rates = {Fault.CONFLICT: size.conflicts, Fault.LOSE_REPLY: size.lost}
    cluster.inject_faults(FaultInjector(seed, rates))
    began_s = cluster.clock.monotonic_s()
    nodes = [cluster.add_node() for _ in range(min(PROCESSES, size.callers))]
    results = await asyncio.gather(
        *(
            _settle_all(nodes[i % len(nodes)].ledger, orders, random.Random(rng.random()))
            for i in range(size.callers)
        )
    )
    first = results[0][0]
    items = cluster.items()
    return ContentionResult(
        entries=sum(sk == "JE#SETTLE" for _, sk in items),
        equal_answers=sum(
            _comparable(posted[order_id]) == _comparable(first[order_id])
            for posted, _ in results
            for order_id in orders
        ),
        unavailable=sum(unavailable for _, unavailable in results),
        breaks=find_breaks(items),
        attempts=sum(node.table.counts.attempts for node in nodes),
        faults={fault.value: count for fault, count in _fault_counts(cluster.fake).items()},
        duration_s=round(cluster.clock.monotonic_s() - began_s, 1),
    )


def _fault_counts(fake: FakeDynamo) -> Counter[Fault]:
    return fake.faults.counts


def run_contention(seed: int, size: ContentionSize) -> ContentionResult:
    """One run on virtual time; the same seed gives the same run."""
    with seed_randomness(seed) as rng:
        return virtual_time.run(_run_contention(seed, size, rng))


def is_consistent(size: ContentionSize, result: ContentionResult) -> bool:
    """Whether every order was settled once and every caller got the same answer."""
    wanted = (size.orders, size.orders * size.callers, [])
    return (result.entries, result.equal_answers, result.breaks) == wanted


@click.command()
@click.option("--callers", default=16, show_default=True, help="Full size: 64.")
@click.option("--orders", default=100, show_default=True, help="Full size: 1000.")
@click.option("--seeds", default=2, show_default=True, help="Full size: 10.")
@click.option("--seed", default=1, show_default=True, help="The first seed.")
@click.option("--conflicts", default=0.20, show_default=True, help="Share of transactions.")
@click.option("--lost", default=0.05, show_default=True, help="Share of replies.")
def main(
    *, callers: int, orders: int, seeds: int, seed: int, conflicts: float, lost: float
) -> None:
    """Settle every order from every caller at once; each must be settled exactly once."""
    silence_logs()
    size = ContentionSize(callers, orders, conflicts, lost)
    began_s = time.perf_counter()
    results = {number: run_contention(number, size) for number in range(seed, seed + seeds)}
    broken = [number for number, result in results.items() if not is_consistent(size, result)]
    figures: dict[str, object] = {
        "entries": [result.entries for result in results.values()],
        "equal_answers": sum(result.equal_answers for result in results.values()),
        "retries": sum(result.unavailable for result in results.values()),
        "attempts": sum(result.attempts for result in results.values()),
        "faults": dict(sum((Counter(result.faults) for result in results.values()), Counter())),
        "virtual_s": [result.duration_s for result in results.values()],
        "broken_seeds": broken,
        "breaks": [each for result in results.values() for each in result.breaks][:10],
        "wall_s": round(time.perf_counter() - began_s, 1),
    }
    print_result(
        "ledger_contention", {**msgspec.to_builtins(size), "seed": seed, "seeds": seeds}, figures
    )
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
