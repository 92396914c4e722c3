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
from city.actors.admin import hire
from city.actors.population import Crowd, Size
from city.actors.rider import Rider
from city.client.tokens import BadgeOffice
from city.demo.counters import Tally
from city.model import motion
from city.model.city import World
from city.model.clock import MachineClock
from city.model.streets import lay_streets, to_metres
from tests.waiting import Until

# What the fixture of `conftest.py` yields; test folders are no packages to import from.
Miniature = Any
WAIT_S = 20
UNTIL = Until()
# The miniature's.
SECRET = "s" * 32
SMALL = Size(riders=6, vendors=3, customers=6, orders_per_minute=600)


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vehicles as fast as a test is short; nobody changes his mind unless a test says so."""
    monkeypatch.setattr(motion, "WIRE_SPEED_MAX", 4_000.0)
    for module, name in (
        (customers, "CANCELS"),
        (vendor, "REJECTS"),
        (rider, "BREAKS_DOWN"),
        (rider, "HOLE_CHANCE"),
    ):
        monkeypatch.setattr(module, name, 0.0)


@pytest_asyncio.fixture
async def world(miniature: Miniature) -> AsyncIterator[World]:
    """A city in a hurry on the miniature."""
    clock = MachineClock()
    async with aiohttp.ClientSession() as session:
        yield World(
            session=session,
            url=miniature.url,
            office=BadgeOffice(SECRET, clock.now_ms),
            clock=clock,
            streets=lay_streets(),
            tally=Tally(),
            seed=7,
            time_scale=200.0,
            haste=100.0,
        )


async def live_until(world: World, is_enough: Callable[[], bool], size: Size = SMALL) -> None:
    """Let the crowd live until something is so, and send it home."""
    crowd = Crowd(world, size)
    living = asyncio.create_task(crowd.run())
    try:
        async with asyncio.timeout(WAIT_S):
            await UNTIL.true(is_enough, WAIT_S)
    finally:
        living.cancel()
        await asyncio.wait({living})
    assert crowd.falls == []


@pytest.mark.slow
async def test_orders_live_through(world: World, miniature: Miniature) -> None:
    """All three services are ordered, cooked, carried, paid and rated, by all ways of paying."""
    await hire(world).open_services()
    happened = world.tally.happened
    services = ("orders_food", "orders_mart", "orders_package", "ratings")
    # A settlement may be heard before the answer to the command that led to it.
    ends = ("orders_settled", "deliveries_completed")
    await live_until(
        world,
        lambda: all(happened[e] >= 25 for e in ends) and all(happened[s] for s in services),
        Size(riders=12, vendors=5, customers=20, orders_per_minute=1_200),
    )
    methods = {order["payment"]["method"] for order in miniature.orders.values()}
    assert methods == {"WALLET", "CASH", "MOBILE_MONEY"}
    assert happened["deliveries_completed"] >= 25
    assert world.tally.settled_xaf >= 25 * 1_500
    assert {code.rpartition(":")[2] for code in world.tally.errors} <= {"offer_taken"}


@pytest.mark.slow
async def test_a_closed_service_is_counted(world: World) -> None:
    """Where MART and PACKAGE are off their orders are refused by code, and nobody falls."""
    errors = world.tally.errors
    await live_until(world, lambda: errors["customer.POST /orders:service_disabled"] >= 2)
    assert world.tally.happened["orders_placed"] >= 1


@pytest.mark.slow
async def test_changes_of_mind(
    world: World, miniature: Miniature, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Customers who cancel at once end their orders; riders and vendors let go of them."""
    monkeypatch.setattr(customers, "CANCELS", 1.0)
    monkeypatch.setattr(customers, "CANCEL_WITHIN_S", 0.5)
    await live_until(world, lambda: world.tally.happened["orders_cancelled"] >= 5)
    states = {order["status"] for order in miniature.orders.values()}
    assert "CANCELLED" in states
    assert miniature.said["cancel_order"] >= 5


@pytest.mark.slow
async def test_rejections(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vendor who is out of stock says so, and his customer hears it."""
    monkeypatch.setattr(vendor, "REJECTS", 1.0)
    await live_until(world, lambda: world.tally.happened["orders_rejected"] >= 6)
    assert world.tally.happened["orders_accepted"] == 0


@pytest.mark.slow
async def test_breakdowns(world: World, miniature: Miniature) -> None:
    """A rider whose tyre is flat gives the delivery back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rider, "BREAKS_DOWN", 1.0)
        await live_until(world, lambda: world.tally.happened["deliveries_released"] >= 2)
    assert miniature.said["release_delivery"] >= 2


@pytest.mark.slow
async def test_holes_in_the_network(
    world: World, miniature: Miniature, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rider in a hole keeps his fixes and sends them in one batch, each number once."""
    monkeypatch.setattr(rider, "HOLE_CHANCE", 1.0)
    monkeypatch.setattr(rider, "HOLE_MEDIAN_S", 60.0)
    monkeypatch.setattr(rider, "TWICE_CHANCE", 0.0)
    courier = Rider(world, "rdr_1", to_metres(4.049, 9.705), interval_s=0.1)
    riding = asyncio.create_task(courier.run())
    async with asyncio.timeout(WAIT_S):
        await UNTIL.true(lambda: miniature.batches >= 2)
    riding.cancel()
    await asyncio.wait({riding})
    numbers = [fix["seq"] for fix in miniature.fixes["rdr_1"]]
    assert numbers == sorted(set(numbers))
    assert world.tally.happened["network_holes"] >= 2


@pytest.mark.slow
async def test_an_open_delivery_is_resumed(world: World, miniature: Miniature) -> None:
    """A rider whose app was restarted on the way goes on to the door and ends the delivery."""
    place = {"lat": 4.05, "lng": 9.71}
    body = {"pickup": place, "dropoff": place, "orderType": "PACKAGE", "paymentMethod": "CASH"}
    miniature.services.add("PACKAGE")
    order = miniature.place("usr_1", body)
    order["status"], order["dispatch"] = "IN_TRANSIT", {"state": "PICKED_UP", "riderId": "rdr_1"}
    riding = asyncio.create_task(Rider(world, "rdr_1", to_metres(4.049, 9.705)).run())
    async with asyncio.timeout(WAIT_S):
        await UNTIL.true(lambda: order["status"] == "FUNDS_DISTRIBUTED")
    riding.cancel()
    await asyncio.wait({riding})
    assert world.tally.happened["deliveries_resumed"] == 1
    assert not world.tally.errors


@pytest.mark.slow
async def test_a_customer_watches_again(world: World, miniature: Miniature) -> None:
    """A customer whose line broke asks again to see the order, and the order goes on."""
    miniature.services.add("PACKAGE")
    customer = customers.Customer(world, "usr_1", to_metres(4.049, 9.705))
    living = asyncio.create_task(customer.run())
    async with asyncio.timeout(WAIT_S):
        await UNTIL.true(lambda: bool(customer.wish("PACKAGE")))
        await UNTIL.true(lambda: bool(miniature.said["subscribe_order"]))
        customer.line.lose(0.01)
        await UNTIL.true(lambda: bool(world.tally.happened["watched_again"]))
    living.cancel()
    await asyncio.wait({living})
    assert miniature.said["subscribe_order"] == 2


async def test_a_fall_is_counted_and_healed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An actor that falls over is counted with its cause and starts again; the others live on."""
    falls = iter([RuntimeError("stumbled")])

    async def stumble_once(self: Rider) -> None:
        for fault in falls:
            raise fault
        world.tally.count("rose_again")

    monkeypatch.setattr("city.actors.population.FALL_PAUSE_S", 0.01)
    monkeypatch.setattr(Rider, "run", stumble_once)
    crowd = Crowd(world, Size(riders=1, vendors=1, customers=1, orders_per_minute=1))
    living = asyncio.create_task(crowd.run())
    async with asyncio.timeout(WAIT_S):
        await UNTIL.true(lambda: bool(world.tally.happened["rose_again"]))
    living.cancel()
    await asyncio.wait({living})
    assert world.tally.errors["rider.fell:RuntimeError"] == 1
    assert "stumbled" in crowd.falls[0]


def test_the_seed_decides(world: World) -> None:
    """The same seed opens the same shops, another one others."""
    shops = [vendor.open_shop(world, 3, "FOOD") for _ in range(2)]
    other = vendor.open_shop(replace(world, seed=8), 3, "FOOD")
    assert shops[0] == shops[1]
    assert shops[0] != other


async def test_a_rider_spares_the_server_what_it_need_not_know(world: World) -> None:
    """Who has not moved leaves fixes out as he was told, but is not silent until he is stale."""
    him = Rider(world, "rdr_1", (0.0, 0.0))
    assert not him._may_be_silent(2.0)
    him._reported = (world.clock.monotonic_s(), (0.0, 0.0))
    him.on_event("tracking_policy", {"intervalMs": 15_000, "minDisplacementM": 50})
    assert him.interval_s == rider.SILENT_S_MAX
    assert him._may_be_silent(2.0)
    assert not him._may_be_silent(rider.SILENT_S_MAX)
    him._reported = (world.clock.monotonic_s(), (51.0, 0.0))
    assert not him._may_be_silent(2.0)
