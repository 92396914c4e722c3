"""An engine that is stopped under its work and goes on after another one took over."""

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from bench.common.scenario import LAT, LNG, Scenario
from tests.e2e.fleet import fleet
from tests.e2e.offer_observer import OfferObserver, live_engines
from tests.waiting import Until

# Source: promise, another engine goes on at most 5 s after a kill; a pause looks the same.
TAKEOVER_S = 5.0
ORDERS = 6
# One customer may watch so many orders only.
CUSTOMERS = 4
ROUNDS = 2


async def place_and_assign(scenario: Scenario, first: int) -> list[asyncio.Task[None]]:
    """Orders whose vendors say yes at once; each task ends when a rider has the order."""
    tasks = []
    for number in range(first, first + ORDERS):
        customer = number % CUSTOMERS
        who = scenario.customers[customer].identity
        placed = await scenario.site.request("POST", "/orders", who, scenario.order_body(customer))
        job = scenario.add_order(placed["orderId"], customer)
        tasks.append(asyncio.ensure_future(scenario.assign(job)))
    return tasks


@pytest.mark.slow
async def test_a_paused_engine_does_no_harm_when_it_goes_on(tmp_path: Path, until: Until):
    """Every order gets one rider, nobody is asked twice at once, and one engine is left."""
    async with fleet(tmp_path, ["edge", "engine", "engine"]) as running:
        town = Scenario(running.nodes[0].site, 1)
        asked = OfferObserver(town)
        await town.add_shop(0, LAT, LNG)
        for number in range(CUSTOMERS):
            await town.add_customer(number)
        for number in range(2 * ROUNDS * ORDERS):
            await town.add_rider(number, LAT + 0.0005 * number, LNG)
        living = asyncio.create_task(town.report_periodically())
        took_s = []
        for turn in range(ROUNDS):
            [paused] = await live_engines(running)
            tasks = await place_and_assign(town, 2 * turn * ORDERS)
            began_s = time.perf_counter()
            os.kill(paused.site.pid, signal.SIGSTOP)
            await asyncio.gather(*tasks)
            took_s.append(time.perf_counter() - began_s)
            tasks = await place_and_assign(town, (2 * turn + 1) * ORDERS)
            os.kill(paused.site.pid, signal.SIGCONT)
            await asyncio.gather(*tasks)

            async def is_one() -> bool:
                return len(await live_engines(running)) == 1

            await until.eventually(is_one)
        living.cancel()
        carriers = Counter(job.assigned_rider.identity[1] for job in town.orders.values())
        town.disconnect_all()

        assert sorted(carriers.values()) == [1] * (2 * ROUNDS * ORDERS)
        assert set(asked.offer_counts.values()) == {1}
        assert asked.overlapping_offers == []
        assert max(took_s) <= 2 * TAKEOVER_S, took_s
        assert [node.log_faults for node in running.nodes] == [[]] * 3
