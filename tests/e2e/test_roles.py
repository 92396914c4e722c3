"""Edges and engines apart: one engine lives, and what happens at one edge is seen at another."""

import asyncio
import time

import pytest
import pytest_asyncio

from bench.common.client import SocketClient
from bench.common.scenario import LAT, LNG, BenchOrder, Scenario
from tests.e2e.fleet import Fleet, fleet
from tests.e2e.offer_observer import live_engines
from tests.waiting import Until

# Source: promise, another engine goes on at most 5 s after a kill.
TAKEOVER_S = 5.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def servers(tmp_path_factory):
    """Two edges and two engines on the same engines."""
    async with fleet(
        tmp_path_factory.mktemp("roles"), ["edge", "edge", "engine", "engine"]
    ) as all_:
        yield all_


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scenario(servers: Fleet):
    """The shop and the customers at the first edge, the rider at the second."""
    opened = Scenario(servers.nodes[0].site, 1)
    await opened.add_shop(0, LAT, LNG)
    for number in range(2):
        await opened.add_customer(number)
    opened.site = servers.nodes[1].site
    await opened.add_rider(0, LAT, LNG)
    opened.site = servers.nodes[0].site
    yield opened
    opened.disconnect_all()


async def place_order(scenario: Scenario, number: int) -> BenchOrder:
    who = scenario.customers[number].identity
    placed = await scenario.site.request("POST", "/orders", who, scenario.order_body(number))
    return scenario.add_order(placed["orderId"], number)


@pytest.mark.slow
async def test_positions_cross_from_edge_to_edge(servers: Fleet, scenario: Scenario, until: Until):
    """The rider reports at one edge, his customer watches at the other; receipts count too."""
    job = await place_order(scenario, 0)
    await scenario.assign(job)
    seen: list[bytes] = []
    phone: SocketClient = job.customer.socket
    phone.on_position = seen.append

    async def is_seen() -> bool:
        job.assigned_rider.lat += 0.00002
        job.assigned_rider.report_position()
        await asyncio.sleep(0.05)
        return len(seen) >= 3

    await until.eventually(is_seen)
    # The engine knows from the other node that the offer was shown, or it had gone elsewhere.
    assert job.offers.empty()
    await scenario.bring_to_door(job)
    await scenario.complete(job)


@pytest.mark.slow
async def test_an_engine_holds_no_sockets(servers: Fleet):
    """It answers those who watch over it, and nobody else."""
    engine = servers.nodes[2].site
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
async def test_another_engine_takes_over_after_a_kill(
    servers: Fleet, scenario: Scenario, until: Until
):
    """The live engine is killed with an order on its way; the next offer comes within 5 s."""
    [live] = await live_engines(servers)
    job = await place_order(scenario, 1)
    scenario.riders["rdr_0"].report_position()
    await live.server.kill()
    began_s = time.perf_counter()
    await job.shop.socket.call("accept_order", {"orderId": job.order_id})
    await asyncio.wait_for(job.offers.get(), 2 * TAKEOVER_S)
    took_s = time.perf_counter() - began_s
    left = await live_engines(servers)

    assert took_s <= TAKEOVER_S
    assert len(left) == 1
    assert left != [live]
    assert [node.log_faults for node in servers.nodes] == [[]] * 4
