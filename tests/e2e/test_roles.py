"""Edges and engines apart: one engine lives, and what happens at one edge is seen at another."""

import asyncio
import time

import pytest
import pytest_asyncio

from bench.common.client import Phone
from bench.common.scenario import LAT, LNG, Job, Town
from tests.e2e.arguments import live_engines
from tests.e2e.fleet import Fleet, fleet
from tests.waiting import Until

# Source: promise, another engine goes on at most 5 s after a kill.
TAKEOVER_S = 5.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def running(tmp_path_factory):
    """Two edges and two engines on the same engines."""
    async with fleet(
        tmp_path_factory.mktemp("roles"), ["edge", "edge", "engine", "engine"]
    ) as all_:
        yield all_


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def town(running: Fleet):
    """The shop and the customers at the first edge, the rider at the second."""
    opened = Town(running.nodes[0].site, 1)
    await opened.open_shop(0, LAT, LNG)
    for number in range(2):
        await opened.move_in(number)
    opened.site = running.nodes[1].site
    await opened.hire(0, LAT, LNG)
    opened.site = running.nodes[0].site
    yield opened
    opened.close()


async def place(town: Town, number: int) -> Job:
    who = town.customers[number].who
    placed = await town.site.ask("POST", "/orders", who, town.basket(number))
    return town.note(placed["orderId"], number)


@pytest.mark.slow
async def test_positions_cross_from_edge_to_edge(running: Fleet, town: Town, until: Until):
    """The rider reports at one edge, his customer watches at the other; receipts count too."""
    job = await place(town, 0)
    await town.assign(job)
    seen: list[bytes] = []
    phone: Phone = job.customer.phone
    phone.on_position = seen.append

    async def is_seen() -> bool:
        job.carrier.lat += 0.00002
        job.carrier.stand()
        await asyncio.sleep(0.05)
        return len(seen) >= 3

    await until.eventually(is_seen)
    # The engine knows from the other node that the offer was shown, or it had gone elsewhere.
    assert job.offers.empty()
    await town.carry(job)
    await town.complete(job)


@pytest.mark.slow
async def test_an_engine_holds_no_sockets(running: Fleet):
    """It answers those who watch over it, and nobody else."""
    engine = running.nodes[2].site
    statuses = []
    for path in (
        "/healthz",
        "/readyz",
        "/metrics",
        "/socket.io/?EIO=4&transport=polling",
        "/api/v1/services",
    ):
        async with engine.session.get(f"{engine.url}{path}") as answer:
            statuses.append(answer.status)

    assert statuses == [200, 200, 200, 404, 404]


@pytest.mark.slow
async def test_another_engine_goes_on_after_a_kill(running: Fleet, town: Town, until: Until):
    """The live engine is killed with an order on its way; the next offer comes within 5 s."""
    [live] = await live_engines(running)
    job = await place(town, 1)
    town.riders["rdr_0"].stand()
    await live.server.kill()
    began_s = time.perf_counter()
    await job.shop.phone.call("accept_order", {"orderId": job.order_id})
    await asyncio.wait_for(job.offers.get(), 2 * TAKEOVER_S)
    took_s = time.perf_counter() - began_s
    left = await live_engines(running)

    assert took_s <= TAKEOVER_S
    assert len(left) == 1
    assert left != [live]
    assert [node.faults for node in running.nodes] == [[]] * 4
