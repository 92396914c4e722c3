"""Separate edges and engines: one engine is live, and events cross from edge to edge."""

import asyncio
import time

import pytest
import pytest_asyncio

from bench.common.client import SocketClient
from bench.common.scenario import LAT, LNG, BenchOrder, Scenario
from tests.e2e.fleet import Fleet, fleet
from tests.e2e.offer_observer import live_engines
from tests.waiting import Until

# Source: docs/promises.md, another engine takes over at most 5 s after a kill.
TAKEOVER_S = 5.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def servers(tmp_path_factory):
    """Two edges and two engines on the same stores."""
    async with fleet(
        tmp_path_factory.mktemp("roles"), ["edge", "edge", "engine", "engine"]
    ) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scenario(servers: Fleet):
    """Shop and customers at the first edge, the rider at the second."""
    created = Scenario(servers.nodes[0].site, 1)
    await created.add_shop(0, LAT, LNG)
    for number in range(2):
        await created.add_customer(number)
    created.site = servers.nodes[1].site
    await created.add_rider(0, LAT, LNG)
    created.site = servers.nodes[0].site
    yield created
    created.disconnect_all()


async def place_order(scenario: Scenario, number: int) -> BenchOrder:
    identity = scenario.customers[number].identity
    placed = await scenario.site.request("POST", "/orders", identity, scenario.order_body(number))
    return scenario.add_order(placed["orderId"], number)


@pytest.mark.slow
async def test_positions_cross_from_edge_to_edge(servers: Fleet, scenario: Scenario, until: Until):
    """A customer at one edge sees a rider at another; the display receipt crosses as well."""
    order = await place_order(scenario, 0)
    await scenario.assign(order)
    seen: list[bytes] = []
    client: SocketClient = order.customer.socket
    client.on_position = seen.append

    async def is_seen() -> bool:
        order.assigned_rider.lat += 0.00002
        order.assigned_rider.report_position()
        await asyncio.sleep(0.05)
        return len(seen) >= 3

    await until.eventually(is_seen)
    # Without the display receipt from the other node the engine would have withdrawn the offer.
    assert order.offers.empty()
    await scenario.bring_to_door(order)
    await scenario.complete(order)


@pytest.mark.slow
async def test_an_engine_holds_no_sockets(servers: Fleet):
    """An engine serves health, readiness and metrics, but neither sockets nor the API."""
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
    """After the live engine is killed another one makes the next offer within 5 s."""
    [live] = await live_engines(servers)
    order = await place_order(scenario, 1)
    scenario.riders["rdr_0"].report_position()
    await live.server.kill()
    began_s = time.perf_counter()
    await order.shop.socket.call("accept_order", {"orderId": order.order_id})
    await asyncio.wait_for(order.offers.get(), 2 * TAKEOVER_S)
    took_s = time.perf_counter() - began_s
    remaining = await live_engines(servers)

    assert took_s <= TAKEOVER_S
    assert len(remaining) == 1
    assert remaining != [live]
    assert [node.log_faults for node in servers.nodes] == [[]] * 4
