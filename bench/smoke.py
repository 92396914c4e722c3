"""One run over everything that must stay fast: fixes, offers, orders, settlements.

`python -m bench.smoke [--size smoke|full] [--seed N]`. bench/README.md describes each figure.
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

# Vendors who accept at the same time; with more than one, orders would wait for each other.
OFFERS_AT_ONCE = 1


class Size(NamedTuple):
    """Size of a run."""

    riders: int
    pairs: int
    relay_s: float
    # Rounds of orders: over HTTP, then by the services in this process, then on the raw engine.
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
    """All figures of one size."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        product = await stack.enter_async_context(running_product(folder / "product"))
        site = await stack.enter_async_context(running_server(folder / "server"))
        scenario = await stack.enter_async_context(
            running_scenario(site, size.pairs, size.riders, seed)
        )
        comparison = LedgerComparison(product)
        await comparison.set_up()
        placed = await _place_orders(scenario, comparison, size)
        orders = [scenario.add_order(order_id, at) for at, order_id in enumerate(placed.first)]
        await run_limited(OFFERS_AT_ONCE, [partial(scenario.assign, order) for order in orders])
        offers = _offer_figures(orders)
        scenario.are_reports_paused = True
        relayed = await measure_relay(site, orders, size.relay_s)
        scenario.are_reports_paused = False
        settled = await _settle_orders(scenario, orders)
        await comparison.deliver_orders()
        for _ in range(size.rounds):
            await comparison.settle_orders(size.orders_each // 2, are_funds_known=False)
            await comparison.settle_orders(size.orders_each // 2, are_funds_known=True)
        figures = {**relayed, **offers, **placed.figures, **settled}
        figures |= comparison.settling.figures("ledger_settle")
        figures |= comparison.settling_known_funds.figures("ledger_known_funds_settle")
        figures |= await measure_flush(product, size.flush_riders, size.flush_rounds)
        return figures


class _PlacedOrders(NamedTuple):
    """The first order of each customer, and the figures of placing all of them."""

    first: list[str]
    figures: dict[str, object]


async def _place_orders(
    scenario: Scenario, comparison: LedgerComparison, size: Size
) -> _PlacedOrders:
    """Place orders over HTTP, by the services in this process and on the raw engine, in turns."""
    customers = len(scenario.customers)
    total = max(customers, size.rounds * size.orders_each * WORKERS)
    share = -(-total // size.rounds)
    identities = [scenario.customers[number].identity for number in range(customers)]
    headers = [
        {"Authorization": f"Bearer {scenario.site.signer.sign(*identity)}"}
        for identity in identities
    ]
    latencies_s: list[float] = []
    orders: list[str] = []

    async def place(number: int) -> None:
        customer = number % customers
        began_s = time.perf_counter()
        order = await scenario.site.send_request(
            "POST", "/orders", headers[customer], scenario.order_body(customer)
        )
        latencies_s.append(time.perf_counter() - began_s)
        orders[number] = order["orderId"]

    passed_s = 0.0
    for each in range(size.rounds):
        numbers = range(each * share, (each + 1) * share)
        orders.extend("" for _ in numbers)
        began_s = time.perf_counter()
        await run_limited(WORKERS, [partial(place, number) for number in numbers])
        passed_s += time.perf_counter() - began_s
        await comparison.place_orders(size.orders_each)
    rate = len(orders) / passed_s
    placing = comparison.placing
    figures = {
        "orders_per_s": round(rate, 1),
        "orders_to_raw": round(rate / (placing.count / placing.raw_s), 3),
        **percentiles_ms("orders", latencies_s),
        **placing.figures("order_service"),
    }
    return _PlacedOrders(orders[:customers], figures)


def _offer_figures(orders: list[BenchOrder]) -> dict[str, object]:
    return {
        **percentiles_ms(
            "accept_to_offer", [order.offered_s - order.accept_sent_s for order in orders]
        ),
        **percentiles_ms(
            "accept_to_ack", [order.accept_acked_s - order.accept_sent_s for order in orders]
        ),
    }


async def _settle_orders(scenario: Scenario, orders: list[BenchOrder]) -> dict[str, object]:
    await run_limited(CONCURRENCY, [partial(scenario.bring_to_door, order) for order in orders])
    began_s = time.perf_counter()
    ends_s = await run_limited(CONCURRENCY, [partial(scenario.complete, order) for order in orders])
    latencies_s = [end_s - order.completed_s for end_s, order in zip(ends_s, orders, strict=True)]
    return {
        "settlements_per_s": round(len(orders) / (max(ends_s) - began_s), 1),
        **percentiles_ms("delivered_to_settled", latencies_s),
    }


def main() -> None:
    """Run one size and print its line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="smoke")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    size = SIZES[given.size]
    # As Ctrl-C, so that the server and the engines are stopped too.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    began_s, load_average = time.monotonic(), os.getloadavg()[0]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(measure(size, given.seed))
    parameters: dict[str, object] = {
        "size": given.size,
        "seed": given.seed,
        # The load average when the bench began.
        "load_before": round(load_average, 1),
        "seconds": round(time.monotonic() - began_s, 1),
        **size._asdict(),
    }
    print_result("smoke", parameters, figures)


if __name__ == "__main__":
    main()
