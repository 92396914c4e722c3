"""The people of the city on a miniature of the server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from city.actors import customer as customers
from city.actors import rider, vendor
from city.actors.admin import make_admin
from city.actors.population import Population, PopulationSize
from city.actors.rider import Rider
from city.client.tokens import TokenSigner
from city.demo.counters import Counters
from city.model import motion
from city.model.city import City
from city.model.clock import MachineClock
from city.model.streets import build_streets, to_metres
from tests.waiting import Until

# What the fixture of `conftest.py` yields; test folders are no packages to import from.
FakeServer = Any
WAIT_S = 20
UNTIL = Until()
# The miniature's.
SECRET = "s" * 32
SMALL = PopulationSize(riders=6, vendors=3, customers=6, orders_per_minute=600)


@pytest.fixture(autouse=True)
def fast_actors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vehicles as fast as a test is short; nobody changes his mind unless a test says so."""
    monkeypatch.setattr(motion, "WIRE_SPEED_MAX", 4_000.0)
    for module, name in (
        (customers, "CANCEL_CHANCE"),
        (vendor, "REJECT_CHANCE"),
        (rider, "BREAKDOWN_CHANCE"),
        (rider, "OUTAGE_CHANCE"),
    ):
        monkeypatch.setattr(module, name, 0.0)


@pytest_asyncio.fixture
async def city(fake_server: FakeServer) -> AsyncIterator[City]:
    """A city in a hurry on the miniature."""
    clock = MachineClock()
    async with aiohttp.ClientSession() as session:
        yield City(
            session=session,
            url=fake_server.url,
            signer=TokenSigner(SECRET, clock.now_ms),
            clock=clock,
            streets=build_streets(),
            counters=Counters(),
            seed=7,
            time_scale=200.0,
            reaction_speedup=100.0,
        )


async def run_city_until(
    city: City, is_enough: Callable[[], bool], size: PopulationSize = SMALL
) -> None:
    """Let the crowd live until something is so, and send it home."""
    crowd = Population(city, size)
    living = asyncio.create_task(crowd.run())
    try:
        async with asyncio.timeout(WAIT_S):
            await UNTIL.true(is_enough, WAIT_S)
    finally:
        living.cancel()
        await asyncio.wait({living})
    assert crowd.crashes == []


@pytest.mark.slow
async def test_orders_live_through(city: City, fake_server: FakeServer) -> None:
    """All three services are ordered, cooked, carried, paid and rated, by all ways of paying."""
    await make_admin(city).open_services()
    happened = city.counters.counts
    services = ("orders_food", "orders_mart", "orders_package", "ratings")
    # A settlement may be heard before the answer to the command that led to it.
    ends = ("orders_settled", "deliveries_completed")
    await run_city_until(
        city,
        lambda: all(happened[e] >= 25 for e in ends) and all(happened[s] for s in services),
        PopulationSize(riders=12, vendors=5, customers=20, orders_per_minute=1_200),
    )
    methods = {order["payment"]["method"] for order in fake_server.orders.values()}
    assert methods == {"WALLET", "CASH", "MOBILE_MONEY"}
    assert happened["deliveries_completed"] >= 25
    assert city.counters.settled_xaf >= 25 * 1_500
    assert {code.rpartition(":")[2] for code in city.counters.errors} <= {"offer_taken"}


@pytest.mark.slow
async def test_a_closed_service_is_counted(city: City) -> None:
    """Where MART and PACKAGE are off their orders are refused by code, and nobody falls."""
    errors = city.counters.errors
    await run_city_until(city, lambda: errors["customer.POST /orders:service_disabled"] >= 2)
    assert city.counters.counts["orders_placed"] >= 1


@pytest.mark.slow
async def test_changes_of_mind(
    city: City, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Customers who cancel at once end their orders; riders and vendors let go of them."""
    monkeypatch.setattr(customers, "CANCEL_CHANCE", 1.0)
    monkeypatch.setattr(customers, "CANCEL_WITHIN_S", 0.5)
    await run_city_until(city, lambda: city.counters.counts["orders_cancelled"] >= 5)
    states = {order["status"] for order in fake_server.orders.values()}
    assert "CANCELLED" in states
    assert fake_server.command_counts["cancel_order"] >= 5


@pytest.mark.slow
async def test_rejections(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vendor who is out of stock says so, and his customer hears it."""
    monkeypatch.setattr(vendor, "REJECT_CHANCE", 1.0)
    await run_city_until(city, lambda: city.counters.counts["orders_rejected"] >= 6)
    assert city.counters.counts["orders_accepted"] == 0


@pytest.mark.slow
async def test_breakdowns(city: City, fake_server: FakeServer) -> None:
    """A rider whose tyre is flat gives the delivery back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rider, "BREAKDOWN_CHANCE", 1.0)
        await run_city_until(city, lambda: city.counters.counts["deliveries_released"] >= 2)
    assert fake_server.command_counts["release_delivery"] >= 2


@pytest.mark.slow
async def test_holes_in_the_network(
    city: City, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rider in a hole keeps his fixes and sends them in one batch, each number once."""
    monkeypatch.setattr(rider, "OUTAGE_CHANCE", 1.0)
    monkeypatch.setattr(rider, "OUTAGE_MEDIAN_S", 60.0)
    monkeypatch.setattr(rider, "DUPLICATE_CHANCE", 0.0)
    courier = Rider(city, "rdr_1", to_metres(4.049, 9.705), interval_s=0.1)
    riding = asyncio.create_task(courier.run())
    async with asyncio.timeout(WAIT_S):
        await UNTIL.true(lambda: fake_server.batches >= 2)
    riding.cancel()
    await asyncio.wait({riding})
    numbers = [fix["seq"] for fix in fake_server.fixes["rdr_1"]]
    assert numbers == sorted(set(numbers))
    assert city.counters.counts["network_holes"] >= 2


@pytest.mark.slow
async def test_an_open_delivery_is_resumed(city: City, fake_server: FakeServer) -> None:
    """A rider whose app was restarted on the way goes on to the door and ends the delivery."""
    place = {"lat": 4.05, "lng": 9.71}
    body = {"pickup": place, "dropoff": place, "orderType": "PACKAGE", "paymentMethod": "CASH"}
    fake_server.services.add("PACKAGE")
    order = fake_server.place_order("usr_1", body)
    order["status"], order["dispatch"] = "IN_TRANSIT", {"state": "PICKED_UP", "riderId": "rdr_1"}
    riding = asyncio.create_task(Rider(city, "rdr_1", to_metres(4.049, 9.705)).run())
    async with asyncio.timeout(WAIT_S):
        await UNTIL.true(lambda: order["status"] == "FUNDS_DISTRIBUTED")
    riding.cancel()
    await asyncio.wait({riding})
    assert city.counters.counts["deliveries_resumed"] == 1
    assert not city.counters.errors


@pytest.mark.slow
async def test_a_customer_watches_again(city: City, fake_server: FakeServer) -> None:
    """A customer whose line broke asks again to see the order, and the order goes on."""
    fake_server.services.add("PACKAGE")
    customer = customers.Customer(city, "usr_1", to_metres(4.049, 9.705))
    living = asyncio.create_task(customer.run())
    async with asyncio.timeout(WAIT_S):
        await UNTIL.true(lambda: bool(customer.request_order("PACKAGE")))
        await UNTIL.true(lambda: bool(fake_server.command_counts["subscribe_order"]))
        customer.socket.simulate_outage(0.01)
        await UNTIL.true(lambda: bool(city.counters.counts["watched_again"]))
    living.cancel()
    await asyncio.wait({living})
    assert fake_server.command_counts["subscribe_order"] == 2


async def test_a_fall_is_counted_and_healed(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """An actor that falls over is counted with its cause and starts again; the others live on."""
    falls = iter([RuntimeError("stumbled")])

    async def stumble_once(self: Rider) -> None:
        for fault in falls:
            raise fault
        city.counters.count("rose_again")

    monkeypatch.setattr("city.actors.population.RESTART_PAUSE_S", 0.01)
    monkeypatch.setattr(Rider, "run", stumble_once)
    crowd = Population(city, PopulationSize(riders=1, vendors=1, customers=1, orders_per_minute=1))
    living = asyncio.create_task(crowd.run())
    async with asyncio.timeout(WAIT_S):
        await UNTIL.true(lambda: bool(city.counters.counts["rose_again"]))
    living.cancel()
    await asyncio.wait({living})
    assert city.counters.errors["rider.fell:RuntimeError"] == 1
    assert "stumbled" in crowd.crashes[0]


def test_the_seed_decides(city: City) -> None:
    """The same seed opens the same shops, another one others."""
    shops = [vendor.make_shop(city, 3, "FOOD") for _ in range(2)]
    other = vendor.make_shop(replace(city, seed=8), 3, "FOOD")
    assert shops[0] == shops[1]
    assert shops[0] != other


async def test_a_rider_spares_the_server_what_it_need_not_know(city: City) -> None:
    """Who has not moved leaves fixes out as he was told, but is not silent until he is stale."""
    him = Rider(city, "rdr_1", (0.0, 0.0))
    assert not him._may_skip_fix(2.0)
    him._last_report = (city.clock.monotonic_s(), (0.0, 0.0))
    him.on_event("tracking_policy", {"intervalMs": 15_000, "minDisplacementM": 50})
    assert him.interval_s == rider.SILENCE_MAX_S
    assert him._may_skip_fix(2.0)
    assert not him._may_skip_fix(rider.SILENCE_MAX_S)
    him._last_report = (city.clock.monotonic_s(), (51.0, 0.0))
    assert not him._may_skip_fix(2.0)
