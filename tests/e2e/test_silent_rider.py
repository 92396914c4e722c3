"""A rider whose connection stays open but sends nothing, as after a network failure."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bench.common.scenario import LAT, LNG, Scenario
from tests.e2e.fleet import fleet
from tests.waiting import Until

# A fifth of the usual times, so that the test is short.
SETTINGS = {
    "FIX_FRESH_MS": "3000", "FIX_LOST_MS": "9000", "PING_INTERVAL_S": "2", "PING_TIMEOUT_S": "2",
}  # fmt: skip
OFFLINE_TIMEOUT_S = 12.0
# The limit of 10 s, what Redis may lag, and a check; twice that on a shared machine.
GOODS_SILENT_S_MAX = 40.0


class RaisedAlerts:
    """The alerts that an operator has got: kind and order."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def on_event(self, name: str, body: dict[str, Any], _at_s: float) -> None:
        if name == "alert":
            self.seen.append((body["kind"], body["orderId"]))

    async def has(self, alert: tuple[str, str]) -> bool:
        await asyncio.sleep(0.1)
        return alert in self.seen


@pytest.mark.slow
async def test_a_black_holed_rider_gets_no_offers_and_then_is_gone(tmp_path: Path, until: Until):
    """Such a rider becomes stale, gets no offer, and is then offline."""
    async with fleet(tmp_path, ["all"], **SETTINGS) as servers:
        scenario = Scenario(servers.nodes[0].site, 1)
        await scenario.add_shop(0, LAT, LNG)
        await scenario.add_customer(0)
        silent = await scenario.add_rider(0, LAT, LNG)
        other = await scenario.add_rider(1, LAT + 0.008, LNG)

        async def list_nearby() -> dict[str, Any]:
            path = f"/admin/riders/nearby?lat={LAT}&lng={LNG}&radiusKm=3"
            other.report_position()
            page = await scenario.site.request("GET", path, ("ADMIN", "adm_1"))
            return {each["riderId"]: each["state"] for each in page["items"]}

        await until.eventually(
            lambda: _equals_soon(list_nearby, {"rdr_0": "live", "rdr_1": "live"})
        )
        # No FIN, no answer to any ping, no fix.
        silent.socket.stop_reading()
        await until.eventually(
            lambda: _equals_soon(list_nearby, {"rdr_0": "stale", "rdr_1": "live"})
        )
        placed = await scenario.site.request(
            "POST", "/orders", scenario.customers[0].identity, scenario.order_body(0)
        )
        order = scenario.add_order(placed["orderId"], 0)
        await scenario.assign(order)
        await until.eventually(
            lambda: _equals_soon(list_nearby, {"rdr_1": "live"}), deadline_s=OFFLINE_TIMEOUT_S
        )
        scenario.disconnect_all()

        assert order.assigned_rider is other
        assert servers.nodes[0].log_faults == []


async def _equals_soon(read, expected) -> bool:
    await asyncio.sleep(0.1)
    return await read() == expected


@pytest.mark.slow
async def test_goods_that_vanish_with_their_rider_are_raised(tmp_path: Path, until: Until):
    """Operators learn that the rider with the goods is silent, and where it completed."""
    async with fleet(tmp_path, ["all"]) as servers:
        scenario, alerts = Scenario(servers.nodes[0].site, 1), RaisedAlerts()
        policy = {"goodsSilentMs": 10_000}
        await scenario.site.request("PUT", "/admin/config/offers/food", ("ADMIN", "adm_1"), policy)

        await scenario.site.connect(("ADMIN", "adm_1"), alerts.on_event)
        await scenario.add_shop(0, LAT, LNG)
        await scenario.add_customer(0)
        await scenario.add_rider(0, LAT, LNG)
        placed = await scenario.site.request(
            "POST", "/orders", scenario.customers[0].identity, scenario.order_body(0)
        )
        order = scenario.add_order(placed["orderId"], 0)
        await scenario.assign(order)
        await scenario.bring_to_door(order)
        order.assigned_rider.socket.close()
        silent = ("goods_silent", order.order_id)
        await until.eventually(lambda: alerts.has(silent), deadline_s=GOODS_SILENT_S_MAX)

        # The door is 1.1 km from the shop, where the rider was seen last.
        order.rider = await scenario.add_rider(0, LAT, LNG)
        await scenario.complete(order)
        far = ("completed_far", order.order_id)
        await until.eventually(lambda: alerts.has(far))
        scenario.disconnect_all()

        assert alerts.seen == [silent, far]
        assert servers.nodes[0].log_faults == []
