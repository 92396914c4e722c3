"""An engine that is paused, replaced by another one, and then continues."""

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from bench.common.scenario import LAT, LNG, Scenario
from tests.e2e.chaos import scan_table
from tests.e2e.fleet import fleet
from tests.e2e.offer_observer import OfferObserver, live_engines
from tests.waiting import Until

# Source: docs/promises.md, another engine takes over at most 5 s after a kill; same for a pause.
TAKEOVER_S = 5.0
ORDERS = 6
# One customer may watch only this many orders.
CUSTOMERS = 4
ROUNDS = 2


async def place_and_assign(scenario: Scenario, first: int) -> list[asyncio.Task[None]]:
    """Place orders that their vendors accept at once; each task ends when a rider has the order."""
    tasks = []
    for number in range(first, first + ORDERS):
        customer = number % CUSTOMERS
        identity = scenario.customers[customer].identity
        placed = await scenario.site.request(
            "POST", "/orders", identity, scenario.order_body(customer)
        )
        order = scenario.add_order(placed["orderId"], customer)
        tasks.append(asyncio.ensure_future(scenario.assign(order)))
    return tasks


@pytest.mark.slow
async def test_a_paused_engine_does_no_harm_when_it_goes_on(tmp_path: Path, until: Until):
    """Every order gets one rider, no rider has two offers at once, and one engine stays live."""
    async with fleet(tmp_path, ["edge", "engine", "engine"]) as servers:
        scenario = Scenario(servers.nodes[0].site, 1)
        observer = OfferObserver(scenario)
        await scenario.add_shop(0, LAT, LNG)
        for number in range(CUSTOMERS):
            await scenario.add_customer(number)
        for number in range(2 * ROUNDS * ORDERS):
            await scenario.add_rider(number, LAT + 0.0005 * number, LNG)
        reporting = asyncio.create_task(scenario.report_periodically())
        took_s = []
        for round_number in range(ROUNDS):
            [paused] = await live_engines(servers)
            tasks = await place_and_assign(scenario, 2 * round_number * ORDERS)
            began_s = time.perf_counter()
            os.kill(paused.site.pid, signal.SIGSTOP)
            await asyncio.gather(*tasks)
            took_s.append(time.perf_counter() - began_s)
            tasks = await place_and_assign(scenario, (2 * round_number + 1) * ORDERS)
            os.kill(paused.site.pid, signal.SIGCONT)
            await asyncio.gather(*tasks)

            async def is_one_live() -> bool:
                return len(await live_engines(servers)) == 1

            await until.eventually(is_one_live)
        reporting.cancel()
        carriers = Counter(order.assigned_rider.identity[1] for order in scenario.orders.values())
        scenario.disconnect_all()
        overlapping = observer.find_overlapping(await scan_table(servers))

        assert sorted(carriers.values()) == [1] * (2 * ROUNDS * ORDERS)
        assert set(observer.offer_counts.values()) == {1}
        assert overlapping == []
        assert max(took_s) <= 2 * TAKEOVER_S, took_s
        assert [node.log_faults for node in servers.nodes] == [[]] * 3
