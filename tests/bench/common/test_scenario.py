"""A scenario's orders, events and periodic reports, without a server."""

import asyncio
from typing import Any

import orjson
import pytest

from bench.common.harness import BenchFailed
from bench.common.scenario import REPORT_EVERY_S, Person, Scenario
from tests import virtual_time
from tests.bench.common.stub_socket import StubSocket


def person(user_type: Any, user_id: str, socket: Any = None) -> Person:
    stub: Any = socket or StubSocket()
    return Person((user_type, user_id), 4.05, 9.72, stub)


def scenario_with_one_of_each() -> Scenario:
    site: Any = None
    scenario = Scenario(site, seed=1)
    scenario.shops = [person("VENDOR", "ven_0")]
    scenario.customers = {0: person("USER", "usr_0")}
    scenario.riders = {"rdr_0": person("RIDER", "rdr_0")}
    return scenario


def test_fixes_are_numbered():
    """Each fix has its time, its place and the next number."""
    rider = person("RIDER", "rdr_0")
    first, second = rider.fix_packet(4.1, 9.7, 1_000), rider.fix_packet(4.1, 9.7, 2_000)
    name, fix = orjson.loads(first.removeprefix(b"42/rider,"))
    assert (name, fix["lat"], fix["ts"], fix["seq"]) == ("location_update", 4.1, 1_000, 1)
    assert orjson.loads(second.removeprefix(b"42/rider,"))[1]["seq"] == 2


def test_an_order_is_for_the_customers_own_shop():
    """A customer orders two dishes at its shop, to its own door."""
    body = scenario_with_one_of_each().order_body(0)
    assert (body["vendorId"], body["items"]) == ("ven_0", [{"itemId": "ndole", "quantity": 2}])
    assert body["deliveryAddress"]["lat"] == 4.05


def test_the_first_offer_of_an_order_is_timed():
    """Offers are queued for their order, and the first one's time is kept."""
    scenario = scenario_with_one_of_each()
    order = scenario.add_order("ord_1", 0)
    for number, at_s in ((1, 5.0), (2, 6.0)):
        payload = {"orderId": "ord_1", "offerId": f"ofr_{number}"}
        scenario.on_rider_event("rdr_0", "delivery_request", payload, at_s)
    scenario.on_rider_event("rdr_0", "delivery_request", {"orderId": "other"}, 7.0)
    assert order.offered_s == 5.0
    assert [order.offers.get_nowait() for _ in range(2)] == [("rdr_0", "ofr_1"), ("rdr_0", "ofr_2")]


def test_an_order_without_a_rider_fails_the_bench():
    """Asking for the rider of an order that no rider has accepted fails."""
    with pytest.raises(BenchFailed, match="ord_1 has no rider"):
        _ = scenario_with_one_of_each().add_order("ord_1", 0).assigned_rider


def reports_after(seconds: float, *, is_paused: bool = False) -> list[int]:
    """How often each of seven riders has reported after so many virtual seconds."""

    async def run() -> list[int]:
        scenario = scenario_with_one_of_each()
        scenario.riders = {f"rdr_{n}": person("RIDER", f"rdr_{n}") for n in range(7)}
        scenario.are_reports_paused = is_paused
        task = asyncio.create_task(scenario.report_periodically())
        await virtual_time.sleep(seconds)
        task.cancel()
        return [rider.fix_count for rider in scenario.riders.values()]

    return virtual_time.run(run())


def test_every_rider_reports_in_each_interval():
    """After three intervals each rider has reported three times, or twice where it is due now."""
    assert set(reports_after(3 * REPORT_EVERY_S)) <= {2, 3}
    assert sum(reports_after(3 * REPORT_EVERY_S)) >= 20


def test_paused_reports_are_not_sent():
    """While reports are paused no rider reports."""
    assert reports_after(3 * REPORT_EVERY_S, is_paused=True) == [0] * 7
