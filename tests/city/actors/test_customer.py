"""Customers of the simulated city on a fake server."""

from dataclasses import replace

import pytest

from city.actors.city import City
from city.actors.customer import Customer
from city.model.streets import to_metres
from tests.city.actors.running import run_city_until, running, wait_until
from tests.city.fake_server import FakeServer

HOME = to_metres(4.049, 9.705)


@pytest.mark.slow
async def test_customers_who_cancel_end_their_orders(city: City, fake_server: FakeServer):
    """Customers who cancel at once end their orders; riders and vendors do not fail on it."""
    city.behaviour = replace(city.behaviour, cancel_chance=1.0, cancel_within_s=0.5)
    await run_city_until(city, lambda: city.counters.counts["orders_cancelled"] >= 5)
    assert "CANCELLED" in {order["status"] for order in fake_server.orders.values()}
    assert fake_server.command_counts["cancel_order"] >= 5


@pytest.mark.slow
async def test_a_customer_subscribes_again_after_a_reconnect(city: City, fake_server: FakeServer):
    """A customer whose connection broke subscribes to its order once more."""
    fake_server.services.add("PACKAGE")
    customer = Customer(city, "usr_1", HOME)
    async with running(customer.run()):
        await wait_until(lambda: bool(customer.request_order("PACKAGE")))
        await wait_until(lambda: bool(fake_server.command_counts["subscribe_order"]))
        customer.socket.simulate_outage(0.01)
        await wait_until(lambda: bool(city.counters.counts["resubscribed"]))
    assert fake_server.command_counts["subscribe_order"] == 2


async def test_a_customer_has_one_order_at_a_time(city: City):
    """A customer who is asked to order twice accepts once; a new one is busy until it runs."""
    customer = Customer(city, "usr_1", HOME)
    assert customer.request_order("FOOD") is False
    customer.is_busy = False
    assert customer.request_order("FOOD") is True
    assert customer.request_order("FOOD") is False


async def test_positions_of_the_rider_are_counted_with_their_latency(city: City):
    """Each `rider_location_update` is counted, and its latency recorded."""
    customer = Customer(city, "usr_1", HOME)
    customer.on_event("rider_location_update", {"receivedAt": city.clock.now_ms()})
    assert city.counters.counts["positions_seen"] == 1
    assert city.counters.durations()["fix_to_watcher"]["count"] == 1
