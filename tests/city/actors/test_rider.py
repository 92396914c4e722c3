"""Riders of the simulated city on a fake server."""

from dataclasses import replace

import pytest

from city.actors.city import City
from city.actors.rider import OFFERS_WAITING_MAX, Rider
from city.model.streets import to_metres
from tests.city.actors.running import run_city_until, running, wait_until
from tests.city.fake_server import FakeServer

START = to_metres(4.049, 9.705)


@pytest.mark.slow
async def test_riders_with_a_breakdown_release_their_delivery(city: City, fake_server: FakeServer):
    """Riders who always break down release each delivery."""
    city.behaviour = replace(city.behaviour, breakdown_chance=1.0)
    await run_city_until(city, lambda: city.counters.counts["deliveries_released"] >= 2)
    assert fake_server.command_counts["release_delivery"] >= 2


@pytest.mark.slow
async def test_an_open_delivery_is_resumed(city: City, fake_server: FakeServer):
    """A rider whose app restarts during a delivery drives on to the door and completes it."""
    place = {"lat": 4.05, "lng": 9.71}
    body = {"pickup": place, "dropoff": place, "orderType": "PACKAGE", "paymentMethod": "CASH"}
    fake_server.services.add("PACKAGE")
    order = fake_server.place_order("usr_1", body)
    order["status"], order["dispatch"] = "IN_TRANSIT", {"state": "PICKED_UP", "riderId": "rdr_1"}
    async with running(Rider(city, "rdr_1", START).run()):
        await wait_until(lambda: order["status"] == "FUNDS_DISTRIBUTED")
    assert city.counters.counts["deliveries_resumed"] == 1
    assert not city.counters.errors


async def test_a_rider_announces_its_availability_after_connecting(
    city: City, fake_server: FakeServer
):
    """A rider who connects is available on the server, and again after a reconnect."""
    rider = Rider(city, "rdr_1", START)
    async with running(rider.run()):
        await wait_until(lambda: city.counters.counts["availability_announced"] == 1)
        rider.socket.simulate_outage(0.01)
        await wait_until(lambda: city.counters.counts["availability_announced"] == 2)
    assert fake_server.riders == {"rdr_1": True}


async def test_offers_beyond_the_queue_are_counted(city: City):
    """Of more offers than OFFERS_WAITING_MAX the others are counted as overflowed."""
    rider = Rider(city, "rdr_1", START)
    for number in range(OFFERS_WAITING_MAX + 2):
        rider.on_event("delivery_request", {"offerId": f"ofr_{number}", "expiresInMs": 8_000})
    assert city.counters.counts["offers_received"] == OFFERS_WAITING_MAX + 2
    assert city.counters.counts["offers_overflowed"] == 2
