"""Whole populations on a fake server: demand, supervision, all services."""

import pytest

from city.actors.admin import make_admin
from city.actors.city import City
from city.actors.population import Population, PopulationSize
from city.actors.rider import Rider
from tests.city.actors.running import run_city_until, running, wait_until
from tests.city.fake_server import FakeServer


@pytest.mark.slow
async def test_orders_of_all_services_are_delivered(city: City, fake_server: FakeServer):
    """All three services are ordered, prepared, carried, paid in all ways and rated."""
    await make_admin(city).open_services()
    counts = city.counters.counts
    services = ("orders_food", "orders_mart", "orders_package", "ratings")
    # A settlement may arrive before the answer to the command that led to it.
    ends = ("orders_settled", "deliveries_completed")
    await run_city_until(
        city,
        lambda: all(counts[e] >= 25 for e in ends) and all(counts[s] for s in services),
        PopulationSize(riders=12, vendors=5, customers=20, orders_per_minute=1_200),
    )
    methods = {order["payment"]["method"] for order in fake_server.orders.values()}
    assert methods == {"WALLET", "CASH", "MOBILE_MONEY"}
    assert counts["deliveries_completed"] >= 25
    assert city.counters.settled_xaf >= 25 * 1_500
    assert {code.rpartition(":")[2] for code in city.counters.errors} <= {"offer_taken"}


@pytest.mark.slow
async def test_orders_of_a_closed_service_are_counted(city: City):
    """With MART and PACKAGE off their orders are counted by error code, and no actor crashes."""
    errors = city.counters.errors
    await run_city_until(city, lambda: errors["customer.POST /orders:service_disabled"] >= 2)
    assert city.counters.counts["orders_placed"] >= 1


async def test_a_crashed_actor_is_counted_and_restarted(
    city: City, monkeypatch: pytest.MonkeyPatch
):
    """An actor that crashes is counted with its cause and started again; the others go on."""
    crashes = iter([RuntimeError("a bug")])

    async def crash_once(self: Rider) -> None:
        for fault in crashes:
            raise fault
        city.counters.count("restarted")

    monkeypatch.setattr(Rider, "run", crash_once)
    size = PopulationSize(riders=1, vendors=1, customers=1, orders_per_minute=1)
    population = Population(city, size, restart_pause_s=0.01)
    async with running(population.run()):
        await wait_until(lambda: bool(city.counters.counts["restarted"]))
    assert city.counters.errors["rider.crashed:RuntimeError"] == 1
    assert "a bug" in population.crashes[0]
