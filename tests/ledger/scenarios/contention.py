"""Many callers settle the same orders at once while the table conflicts and loses replies.

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

# Callers of one process share its locks and its memory.
PROCESSES = 8
VENDORS, RIDERS = 20, 50
# Orders whose callers may be far apart; inside such a group each caller has an order of his own.
GROUP_ORDERS = 8
# Writers at once while the orders are made; nothing goes wrong yet.
WRITERS_AT_ONCE = 16
PRICING = price_goods(DEFAULT_RATES["FOOD"], 11_999)


class ContentionSize(msgspec.Struct, frozen=True):
    """How large a storm is."""

    callers: int
    orders: int
    conflicts: float
    lost: float


class ContentionResult(msgspec.Struct, frozen=True):
    """What came of one seed. Units: virtual seconds."""

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
    ledger: Ledger, orders: list[str], chance: random.Random
) -> tuple[dict[str, PostedEntry], int]:
    """One caller: settle every order, asking again where the table did not know."""
    told: dict[str, PostedEntry] = {}
    unavailable = 0
    for start in range(0, len(orders), GROUP_ORDERS):
        group = orders[start : start + GROUP_ORDERS]
        for order_id in chance.sample(group, len(group)):
            while order_id not in told:
                try:
                    told[order_id] = await ledger.post(Settle(order_id))
                except TableUnavailable:
                    unavailable += 1
    return told, unavailable


def _comparable(posted: PostedEntry) -> object:
    return posted.entry_id, sorted(posted.lines.items()), posted.total


async def _run_contention(
    seed: int, size: ContentionSize, chance: random.Random
) -> ContentionResult:
    shop = ServerCluster(Latencies(spread=0.5, index_lag_s=1.0))
    orders = await _make_orders(await shop.start(), size.orders)
    rates = {Fault.CONFLICT: size.conflicts, Fault.LOSE_REPLY: size.lost}
    shop.inject_faults(FaultInjector(seed, rates))
    began_s = shop.clock.monotonic_s()
    nodes = [shop.add_node() for _ in range(min(PROCESSES, size.callers))]
    results = await asyncio.gather(
        *(
            _settle_all(nodes[i % len(nodes)].ledger, orders, random.Random(chance.random()))
            for i in range(size.callers)
        )
    )
    first = results[0][0]
    items = shop.items()
    return ContentionResult(
        entries=sum(sk == "JE#SETTLE" for _, sk in items),
        equal_answers=sum(
            _comparable(told[order_id]) == _comparable(first[order_id])
            for told, _ in results
            for order_id in orders
        ),
        unavailable=sum(unavailable for _, unavailable in results),
        breaks=find_breaks(items),
        attempts=sum(node.table.counts.attempts for node in nodes),
        faults={fault.value: count for fault, count in _fault_counts(shop.fake).items()},
        duration_s=round(shop.clock.monotonic_s() - began_s, 1),
    )


def _fault_counts(fake: FakeDynamo) -> Counter[Fault]:
    return fake.faults.counts


def run_contention(seed: int, size: ContentionSize) -> ContentionResult:
    """One storm on virtual time; the same seed makes the same storm."""
    with seed_randomness(seed) as chance:
        return virtual_time.run(_run_contention(seed, size, chance))


def is_consistent(size: ContentionSize, result: ContentionResult) -> bool:
    """Whether every order was settled once and every caller was told the same."""
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
    storms = {number: run_contention(number, size) for number in range(seed, seed + seeds)}
    broken = [number for number, came in storms.items() if not is_consistent(size, came)]
    figures: dict[str, object] = {
        "entries": [came.entries for came in storms.values()],
        "equal_answers": sum(came.equal_answers for came in storms.values()),
        "asked_again": sum(came.unavailable for came in storms.values()),
        "attempts": sum(came.attempts for came in storms.values()),
        "faults": dict(sum((Counter(came.faults) for came in storms.values()), Counter())),
        "virtual_s": [came.duration_s for came in storms.values()],
        "broken_seeds": broken,
        "flaws": [flaw for came in storms.values() for flaw in came.breaks][:10],
        "wall_s": round(time.perf_counter() - began_s, 1),
    }
    print_result(
        "ledger_storm", {**msgspec.to_builtins(size), "seed": seed, "seeds": seeds}, figures
    )
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
