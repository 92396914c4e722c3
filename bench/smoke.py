"""One run over everything that must stay fast: fixes, offers, orders, settlements.

`python -m bench.smoke [--size smoke|full] [--seed N]`. The README beside it says what each figure
is, and what it is not.
"""

import argparse
import asyncio
import os
import signal
import tempfile
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import uvloop

from bench.common.closed_loop import measure_relay
from bench.common.harness import percentiles_ms, run_limited, running_server
from bench.common.result_line import print_result
from bench.common.scenario import CONCURRENCY, BenchOrder, Scenario, running_scenario
from bench.engines.raw_baseline import WORKERS, LedgerComparison, running_product
from bench.flush import measure_flush

# Vendors who accept at the same moment; with more of them orders wait for one another.
OFFERS_AT_ONCE = 1


class Size(NamedTuple):
    """How much is done."""

    riders: int
    pairs: int
    relay_s: float
    # Rounds of orders: over HTTP, then by our code alone, then by the raw engine.
    rounds: int
    orders_each: int
    flush_riders: int
    flush_rounds: int


SIZES = {
    "smoke": Size(
        riders=300, pairs=40, relay_s=2.0, rounds=3, orders_each=4, flush_riders=100,
        flush_rounds=10,
    ),
    "full": Size(
        riders=2_000, pairs=500, relay_s=12.0, rounds=10, orders_each=20, flush_riders=100,
        flush_rounds=200,
    ),
}  # fmt: skip


async def measure(size: Size, seed: int) -> dict[str, object]:
    """Every figure of a size."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        ours = await stack.enter_async_context(running_product(folder / "ours"))
        site = await stack.enter_async_context(running_server(folder / "server"))
        town = await stack.enter_async_context(
            running_scenario(site, size.pairs, size.riders, seed)
        )
        books = LedgerComparison(ours)
        await books.set_up()
        placed = await _place_orders(town, books, size)
        jobs = [town.add_order(order_id, at) for at, order_id in enumerate(placed.first)]
        await run_limited(OFFERS_AT_ONCE, [partial(town.assign, job) for job in jobs])
        offers = _offer_figures(jobs)
        town.are_reports_paused = True
        relayed = await measure_relay(site, jobs, size.relay_s)
        town.are_reports_paused = False
        settled = await _settle_orders(town, jobs)
        await books.deliver_orders()
        for _ in range(size.rounds):
            await books.settle_orders(size.orders_each // 2, are_funds_known=False)
            await books.settle_orders(size.orders_each // 2, are_funds_known=True)
        figures = {**relayed, **offers, **placed.figures, **settled}
        figures |= books.settling.figures("ledger_settle")
        figures |= books.settling_known_funds.figures("ledger_believed_settle")
        figures |= await measure_flush(ours, size.flush_riders, size.flush_rounds)
        return figures


class _PlacedOrders(NamedTuple):
    """The orders of the first round of each customer, and how fast all were placed."""

    first: list[str]
    figures: dict[str, object]


async def _place_orders(
    scenario: Scenario, comparison: LedgerComparison, size: Size
) -> _PlacedOrders:
    """Place orders over HTTP, by our code alone and on the raw engine, in turns."""
    customers = len(scenario.customers)
    total = max(customers, size.rounds * size.orders_each * WORKERS)
    share = -(-total // size.rounds)
    whos = [scenario.customers[number].identity for number in range(customers)]
    badges = [{"Authorization": f"Bearer {scenario.site.signer.sign(*who)}"} for who in whos]
    took: list[float] = []
    orders: list[str] = []

    async def place(number: int) -> None:
        customer = number % customers
        began_s = time.perf_counter()
        order = await scenario.site.send_request(
            "POST", "/orders", badges[customer], scenario.order_body(customer)
        )
        took.append(time.perf_counter() - began_s)
        orders[number] = order["orderId"]

    passed_s = 0.0
    for turn in range(size.rounds):
        numbers = range(turn * share, (turn + 1) * share)
        orders.extend("" for _ in numbers)
        began_s = time.perf_counter()
        await run_limited(WORKERS, [partial(place, number) for number in numbers])
        passed_s += time.perf_counter() - began_s
        await comparison.place_orders(size.orders_each)
    rate = len(orders) / passed_s
    race = comparison.placing
    figures = {
        "orders_per_s": round(rate, 1),
        "orders_to_raw": round(rate / (race.count / race.raw_s), 3),
        **percentiles_ms("orders", took),
        **race.figures("flow_orders"),
    }
    return _PlacedOrders(orders[:customers], figures)


def _offer_figures(orders: list[BenchOrder]) -> dict[str, object]:
    return {
        **percentiles_ms("accept_to_offer", [job.offered_s - job.accept_sent_s for job in orders]),
        **percentiles_ms(
            "accept_to_ack", [job.accept_acked_s - job.accept_sent_s for job in orders]
        ),
    }


async def _settle_orders(scenario: Scenario, orders: list[BenchOrder]) -> dict[str, object]:
    await run_limited(CONCURRENCY, [partial(scenario.bring_to_door, job) for job in orders])
    began_s = time.perf_counter()
    ends_s = await run_limited(CONCURRENCY, [partial(scenario.complete, job) for job in orders])
    waits_s = [end_s - job.completed_s for end_s, job in zip(ends_s, orders, strict=True)]
    return {
        "settlements_per_s": round(len(orders) / (max(ends_s) - began_s), 1),
        **percentiles_ms("delivered_to_settled", waits_s),
    }


def main() -> None:
    """Run one size and print its line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="smoke")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    size = SIZES[asked.size]
    # Whoever ends the bench ends its server and its engines.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    began_s, busy = time.monotonic(), os.getloadavg()[0]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(measure(size, asked.seed))
    parameters: dict[str, object] = {
        "size": asked.size,
        "seed": asked.seed,
        # How many processes wanted a core when the bench began.
        "load_before": round(busy, 1),
        "seconds": round(time.monotonic() - began_s, 1),
        **size._asdict(),
    }
    print_result("smoke", parameters, figures)


if __name__ == "__main__":
    main()
